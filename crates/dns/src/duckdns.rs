//! Duck DNS: one call that sets the one TXT value of a domain, which every name below the domain shows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, Method};
use model::Secret;

use crate::client::{Call, Client};
use crate::form::Form;
use crate::suffix::below;
use crate::{BoxFuture, DnsProvider, Error, Field, Kind, Options, Zone};

pub(crate) const KIND: Kind = Kind {
    id: "duckdns",
    title: "Duck DNS",
    help: "The account's token. A domain has one TXT value in all, so proofs for x and *.x are given one after the other, and no \
           other program may use that value. The token is proved by the first proof: nothing can be listed.",
    fields: &[
        Field::secret("token", "Token", "Shown on top of the page after the login at duckdns.org"),
        Field::text(
            "domains",
            "Domains",
            "Those of the account, separated by commas: with or without .duckdns.org",
        ),
        Field::endpoint(),
    ],
    build,
};

const ENDPOINT: &str = "https://www.duckdns.org";
const PARENT: &str = "duckdns.org";

struct DuckDns {
    client: Client,
    token: Secret<String>,
    zones: Vec<Zone>,
    /// The value that this process last set in a zone: another that came after is not ours to clear.
    standing: Mutex<BTreeMap<String, String>>,
}

fn build(mut form: Form<'_>, options: Options) -> Result<Arc<dyn DnsProvider>, Error> {
    let token = form.credential("token");
    let zones = form.names("domains").into_iter().map(|name| match below(&name, PARENT) {
        Some(_) => name,
        None => format!("{name}.{PARENT}"),
    });
    let zones: Vec<_> = zones.map(|name| Zone { id: name.clone(), name }).collect();
    for zone in &zones {
        if below(&zone.name, PARENT).is_some_and(|it| it.contains('.')) {
            form.fault("domains", format!("{} is below a domain of Duck DNS, not one", zone.name));
        }
    }
    let endpoint = form.endpoint(ENDPOINT);
    let endpoint = form.finish(endpoint)?;
    let client = Client::new(KIND.id, endpoint, HeaderMap::new(), vec![token.clone()], options)?;
    Ok(Arc::new(DuckDns { client, token, zones, standing: Mutex::default() }))
}

impl DnsProvider for DuckDns {
    fn kind(&self) -> &'static str {
        KIND.id
    }

    fn holds_one_value(&self) -> bool {
        true
    }

    /// Those of the settings: there is no listing, and no call that would prove the token without changing something.
    fn zones(&self) -> BoxFuture<'_, Result<Vec<Zone>, Error>> {
        Box::pin(async { Ok(self.zones.clone()) })
    }

    fn append_txt<'a>(
        &'a self,
        zone: &'a Zone,
        _name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.update(zone, value, false).await?;
            self.standing().insert(zone.id.clone(), value.to_owned());
            Ok(())
        })
    }

    fn remove_txt<'a>(
        &'a self,
        zone: &'a Zone,
        _name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if self.standing().get(&zone.id).is_some_and(|it| it != value) {
                return Ok(());
            }
            self.update(zone, value, true).await?;
            self.standing().remove(&zone.id);
            Ok(())
        })
    }
}

impl DuckDns {
    fn standing(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets or clears the value. `txt` is always there: without it the call would set the domain's address.
    async fn update(&self, zone: &Zone, value: &str, clear: bool) -> Result<(), Error> {
        let domain = below(&zone.name, PARENT).unwrap_or(&zone.name);
        let call = Call::new(Method::GET, "/update")
            .query("domains", domain)
            .query("token", self.token.expose())
            .query("txt", value);
        let call = if clear { call.query("clear", true) } else { call };
        let answer = self.client.send(&call).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let text = text.trim();
        match text {
            _ if !answer.status.is_success() => Err(self.client.refusal(&answer, text)),
            "OK" => Ok(()),
            "KO" => Err(Error::Credentials {
                provider: KIND.id,
                message: format!("KO: the token is wrong, or {domain} is not of this account"),
            }),
            other => Err(self.client.nonsense(&self.client.words(other))),
        }
    }
}
