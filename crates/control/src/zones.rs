//! Which provider has the zone of a name; and the task that keeps what is known of zones true.

use std::net::SocketAddr;
use std::time::Duration;

use dns::{BoxFuture, Directory, Found, Zone};
use runtime::{BackgroundTask, BoxError};
use store::{DnsProviderRecord, Domain};

use crate::dns_providers::built;
use crate::mirror::for_each;
use crate::{Control, Error};

/// How often every provider is asked for its zones.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// How long the lock lasts when its holder dies.
const LOCK: Duration = Duration::from_secs(5 * 60);

impl Directory for Control {
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Found>, dns::Error>> {
        Box::pin(async move {
            self.refresh().await.map_err(unreadable)?;
            let found =
                self.tables().zone_of(name).map(|(zone, id)| (zone.to_owned(), id.to_owned()));
            match found {
                Some((zone, id)) => self.found(&id, &zone).await.map_err(unreadable),
                None => Ok(None),
            }
        })
    }

    fn by_id<'a>(
        &'a self,
        provider: &'a str,
        zone: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, dns::Error>> {
        Box::pin(async move { self.found(provider, zone).await.map_err(unreadable) })
    }
}

impl Control {
    async fn found(&self, id: &str, zone: &str) -> Result<Option<Found>, Error> {
        let Some(record) = self.store().get::<DnsProviderRecord>(id).await? else {
            return Ok(None);
        };
        let domain = self.store().get::<Domain>(&Domain::id_of(id, zone)).await?;
        // A zone that is gone from the list may still hold what was put there.
        let zone_id = domain.map_or_else(|| zone.to_owned(), |found| found.value.zone_id);
        let provider = built(&record.value)?;
        let nameservers: Vec<SocketAddr> = record.value.nameservers;
        let zone = Zone { id: zone_id, name: zone.to_owned() };
        Ok(Some(Found { id: id.to_owned(), provider, zone, nameservers }))
    }
}

fn unreadable(error: Error) -> dns::Error {
    dns::Error::Unreachable {
        provider: "the shared state",
        message: "what is kept of DNS providers can't be read".to_owned(),
        source: Some(error.into()),
    }
}

/// Asks every provider for its zones from time to time. What can't be asked stays as it was.
pub(crate) struct Zones(pub(crate) Control);

impl Zones {
    pub(crate) const PERIOD: Duration = EVERY;
}

impl BackgroundTask for Zones {
    fn name(&self) -> &'static str {
        "DNS zones"
    }

    async fn activate(&mut self) -> Result<String, BoxError> {
        let control = &self.0;
        let backend = control.store().backend().clone();
        let Some(lease) = backend.acquire("dns-zones", control.instance(), LOCK).await? else {
            return Ok("another replica does it".to_owned());
        };
        let outcome = synchronise(control).await;
        backend.release(&lease).await?;
        outcome
    }
}

async fn synchronise(control: &Control) -> Result<String, BoxError> {
    let mut records = Vec::new();
    for_each::<DnsProviderRecord>(control.store(), |record| records.push(record)).await?;
    let (count, mut failed) = (records.len(), Vec::new());
    for record in records {
        let id = record.id.clone();
        let asked = async {
            let zones =
                built(&record)?.zones().await.map_err(|error| Error::Upstream(error.into()))?;
            control.note_zones(&id, zones).await
        };
        if let Err(error) = asked.await {
            tracing::warn!(provider = id, %error, "the zones of a DNS provider are as they were");
            failed.push(id);
        }
    }
    if failed.is_empty() {
        Ok(format!("asked {count} providers"))
    } else {
        Err(format!("could not ask: {}", failed.join(", ")).into())
    }
}
