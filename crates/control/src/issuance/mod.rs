//! Certificates of authorities elsewhere: got at a host's creation or on demand, renewed in time, dropped with their host.
//!
//! [`plan`] says what is due, [`driver`] does it for many names at once, [`attempt`] does it for one, under the lease of
//! that name and with the [`journal`] that the issuer remembers with; the [`ledger`] counts orders for all replicas.

mod attempt;
mod driver;
mod journal;
mod ledger;
pub(crate) mod plan;

use std::fmt;
use std::sync::Arc;

use certs::{Issuer, KeyKind};

pub(crate) use driver::Driver;
pub use ledger::OrderLimits;

/// By whom certificates are issued, and under which rules.
#[derive(Clone)]
pub struct Lifecycle {
    /// Who makes them.
    pub issuer: Arc<dyn Issuer>,
    /// The kind of their keys.
    pub key_kind: KeyKind,
    /// Limits of authorities, by the URLs of their directories; for others see [`OrderLimits::of_directory`].
    pub limits: Vec<(String, OrderLimits)>,
}

impl Lifecycle {
    fn limits(&self, directory: &str) -> OrderLimits {
        let set = self.limits.iter().find(|(known, _)| known == directory);
        set.map_or_else(|| OrderLimits::of_directory(directory), |(_, limits)| *limits)
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").field("limits", &self.limits).finish_non_exhaustive()
    }
}
