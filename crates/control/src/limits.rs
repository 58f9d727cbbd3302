use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Username;
use store::Backend;

use crate::Error;

/// The time within which attempts are counted.
const WINDOW: Duration = Duration::from_secs(60);
const PER_ACCOUNT: usize = 5;
const PER_ADDRESS: usize = 20;

/// Limits login attempts over all replicas.
///
/// An attempt takes one of a few numbered leases that nobody gives back; each ends by itself a minute later. So any
/// minute has at most that many attempts, the store needs no counter, and what it keeps is bounded by the limits.
#[derive(Debug)]
pub(crate) struct LoginLimits {
    instance: String,
    attempts: AtomicU64,
}

impl LoginLimits {
    /// `instance` tells this replica from the others.
    pub(crate) fn new(instance: String) -> Self {
        Self { instance, attempts: AtomicU64::new(0) }
    }

    /// Counts an attempt from an address; IPv6 counts by /64, which is what one customer gets.
    pub(crate) async fn address(
        &self,
        backend: &dyn Backend,
        address: IpAddr,
    ) -> Result<(), Error> {
        let address = match address.to_canonical() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                format!("{a:x}-{b:x}-{c:x}-{d:x}")
            }
        };
        self.take(backend, &format!("login-address-{address}"), PER_ADDRESS).await
    }

    /// Counts an attempt on an account, existing or not.
    pub(crate) async fn account(
        &self,
        backend: &dyn Backend,
        name: &Username,
    ) -> Result<(), Error> {
        self.take(backend, &format!("login-account-{name}"), PER_ACCOUNT).await
    }

    async fn take(&self, backend: &dyn Backend, name: &str, limit: usize) -> Result<(), Error> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let holder = format!("{}-{attempt}", self.instance);
        for slot in 0..limit {
            if backend.acquire(&format!("{name}-{slot}"), &holder, WINDOW).await?.is_some() {
                return Ok(());
            }
        }
        Err(Error::RateLimited { retry_after: WINDOW })
    }
}
