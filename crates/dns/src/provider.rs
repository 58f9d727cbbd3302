use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::Error;

/// A future that a [`DnsProvider`] returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An account at a hosted DNS provider, or name servers of one's own.
///
/// Every call has its own timeouts and retries and ends by itself. Calls may be made at once.
pub trait DnsProvider: Send + Sync + 'static {
    /// Its kind: `cloudflare`, `rfc2136`, …
    fn kind(&self) -> &'static str;

    /// Whether a name can hold a single TXT value, so that a second takes the place of the first. Proofs for `x` and `*.x`, which
    /// share a name, are then to be given one after the other.
    fn holds_one_value(&self) -> bool {
        false
    }

    /// All zones of the account, every page of them, or an error: never a part. Also what proves the credentials.
    fn zones(&self) -> BoxFuture<'_, Result<Vec<Zone>, Error>>;

    /// Adds a TXT value at a name beside those that stand there. One that is there already is no error.
    fn append_txt<'a>(
        &'a self,
        zone: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes this one TXT value and no other. One that is not there is no error.
    fn remove_txt<'a>(
        &'a self,
        zone: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// A zone of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// What the provider calls it in requests.
    pub id: String,
    /// Its name: lower case, A-labels, no dot at the end.
    pub name: String,
}

impl Zone {
    /// One that a provider listed, its name brought into the form that is used here.
    pub(crate) fn new(id: String, name: &str) -> Self {
        let parsed = name.parse::<model::Hostname>();
        let name = parsed.map_or_else(|_| name.to_ascii_lowercase(), |it| it.as_str().to_owned());
        Self { id, name }
    }
}

/// Where providers are found. Implemented by what keeps them.
pub trait Directory: Send + Sync + 'static {
    /// The provider that has the zone of a name: the longest suffix of it that is a zone of any provider. `None` when there is none.
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Found>, Error>>;

    /// The provider of this id and its zone of this name, to clear up what was left there.
    fn by_id<'a>(
        &'a self,
        provider: &'a str,
        zone: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, Error>>;
}

/// A provider and the zone in which a name is.
#[derive(Clone)]
pub struct Found {
    /// The id of the provider's record.
    pub id: String,
    /// How to talk to it.
    pub provider: Arc<dyn DnsProvider>,
    /// The zone.
    pub zone: Zone,
    /// The name servers to ask whether a value has arrived; empty: those that the zone's NS records name.
    pub nameservers: Vec<SocketAddr>,
}
