//! Where in the DNS a proof belongs, and whether it has arrived there.

use certs::{Failure, TxtValue, codes};
use dns::Found;
use tokio::time::Instant;

use crate::AcmeIssuer;
use crate::failure::At;

impl AcmeIssuer {
    /// The whole name of the TXT value for a name, CNAMEs followed, and the provider that has its zone.
    pub(crate) async fn place(&self, name: &str) -> Result<Option<(String, Found)>, dns::Error> {
        let target = dns::challenge_target(&self.resolver, name).await?;
        Ok(self.dns.find(&target).await?.map(|found| (target, found)))
    }

    pub(crate) fn no_provider(&self, at: At<'_>, name: &str) -> Failure {
        let challenge = dns::challenge_name(name);
        let detail = format!(
            "{name}: no DNS provider has the zone of {challenge}; add one that has it, or point a CNAME of \
             that name into a zone of one that is there"
        );
        at.failure(codes::NO_PROVIDER, detail)
    }

    /// Waits until every authoritative name server shows the values.
    pub(crate) async fn propagated(
        &self,
        at: At<'_>,
        places: &[(TxtValue, Found)],
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + self.settings.timeouts.propagation;
        let mut names: Vec<&(TxtValue, Found)> = Vec::new();
        for place in places {
            if names.iter().all(|known| known.0.name != place.0.name) {
                names.push(place);
            }
        }
        for (at_name, found) in names {
            let values = places.iter().filter(|(value, _)| value.name == at_name.name);
            let values: Vec<_> = values.map(|(value, _)| value.value.as_str()).collect();
            let waiting = self.propagation.wait(
                &at_name.zone,
                &found.nameservers,
                &at_name.name,
                &values,
                deadline,
            );
            let failed = |detail| at.failure(codes::PROPAGATION, detail);
            let report = waiting.await.map_err(|error| {
                let failure = failed(format!("{}: {error}", at.name));
                Failure { source: Some(error.into()), ..failure }
            })?;
            if !report.arrived() {
                return Err(failed(format!("{}: {report}", at.name)));
            }
        }
        Ok(())
    }
}
