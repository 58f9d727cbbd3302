//! DigitalOcean's API v2 with a personal access token.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Answer, Call, Client, encode};
use crate::created::Created;
use crate::form::{Form, bearer};
use crate::suffix::below;
use crate::{BoxFuture, DnsProvider, Error, Field, Kind, Options, Zone};

pub(crate) const KIND: Kind = Kind {
    id: "digitalocean",
    title: "DigitalOcean",
    help: "A personal access token with the scopes domain:read, domain:create and domain:delete.",
    fields: &[
        Field::secret("api_token", "API token", "DigitalOcean control panel: API, Tokens"),
        Field::endpoint(),
    ],
    build,
};

const ENDPOINT: &str = "https://api.digitalocean.com/v2";
/// The most that a page may have.
const PER_PAGE: usize = 200;
/// A listing that goes on after this is not believed.
const MAX_PAGES: usize = 1_000;
const TTL: u32 = 60;

struct DigitalOcean {
    client: Client,
    created: Created,
}

fn build(mut form: Form<'_>, options: Options) -> Result<Arc<dyn DnsProvider>, Error> {
    let token = form.credential("api_token");
    let endpoint = form.endpoint(ENDPOINT);
    let endpoint = form.finish(endpoint)?;
    let headers: HeaderMap = bearer(&token).map(|it| (AUTHORIZATION, it)).into_iter().collect();
    let client = Client::new(KIND.id, endpoint, headers, vec![token], options)?;
    Ok(Arc::new(DigitalOcean { client, created: Created::default() }))
}

impl DnsProvider for DigitalOcean {
    fn kind(&self) -> &'static str {
        KIND.id
    }

    fn zones(&self) -> BoxFuture<'_, Result<Vec<Zone>, Error>> {
        Box::pin(async {
            let call = || Call::new(Method::GET, "/domains");
            let domains: Vec<Domain> = self.pages("domains", call).await?;
            Ok(domains.into_iter().map(|it| Zone::new(it.name.clone(), &it.name)).collect())
        })
    }

    fn append_txt<'a>(
        &'a self,
        zone: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // It would make a second record of the same value.
            if !self.listed(zone, name, value).await?.is_empty() {
                return Ok(());
            }
            let below = below(name, &zone.name).unwrap_or("@");
            let body = json!({"type": "TXT", "name": below, "data": value, "ttl": TTL});
            let answer =
                self.client.send(&Call::new(Method::POST, records(zone)).body(body)).await?;
            let created: CreatedRecord = self.result(&answer)?;
            let id = created.domain_record.id.to_string();
            self.created.remember(&zone.id, name, value, &id);
            Ok(())
        })
    }

    fn remove_txt<'a>(
        &'a self,
        zone: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let listed = self.listed(zone, name, value).await?;
            for id in self.created.with(&zone.id, name, value, listed.into_iter()) {
                let path = format!("{}/{}", records(zone), encode(&id));
                let answer = self.client.send(&Call::new(Method::DELETE, path)).await?;
                if answer.status != StatusCode::NOT_FOUND {
                    self.accept(&answer)?;
                }
                self.created.forget(&id);
            }
            Ok(())
        })
    }
}

impl DigitalOcean {
    /// The ids of the records with this value.
    async fn listed(&self, zone: &Zone, name: &str, value: &str) -> Result<Vec<String>, Error> {
        // The filter takes the whole name; what it returns is compared again.
        let call =
            || Call::new(Method::GET, records(zone)).query("type", "TXT").query("name", name);
        let all: Vec<Record> = self.pages("domain_records", call).await?;
        let below = below(name, &zone.name).unwrap_or("@");
        let ours = all.into_iter().filter(|it| it.name == below && it.data == value);
        Ok(ours.map(|it| it.id.to_string()).collect())
    }

    async fn pages<T: for<'de> Deserialize<'de>>(
        &self,
        field: &str,
        call: impl Fn() -> Call,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let call = call().query("page", page).query("per_page", PER_PAGE);
            let mut body: Value = self.result(&self.client.send(&call).await?)?;
            let items = serde_json::from_value::<Vec<T>>(body[field].take());
            all.extend(items.map_err(|_| self.client.nonsense(field))?);
            // The link to the next page names the real host; the number of the page is all that is needed.
            if body["links"]["pages"]["next"].is_null() {
                return Ok(all);
            }
        }
        Err(self.client.nonsense("a listing without an end"))
    }

    fn result<T: for<'de> Deserialize<'de>>(&self, answer: &Answer) -> Result<T, Error> {
        self.accept(answer)?;
        self.client.json(answer)
    }

    fn accept(&self, answer: &Answer) -> Result<(), Error> {
        if answer.status.is_success() {
            return Ok(());
        }
        let fault: Result<Fault, _> = self.client.json(answer);
        Err(self.client.refusal(answer, &fault.map(|it| it.message).unwrap_or_default()))
    }
}

#[derive(Deserialize)]
struct Domain {
    name: String,
}

#[derive(Deserialize)]
struct CreatedRecord {
    domain_record: Record,
}

#[derive(Deserialize)]
struct Record {
    id: u64,
    name: String,
    data: String,
}

#[derive(Deserialize)]
struct Fault {
    message: String,
}

fn records(zone: &Zone) -> String {
    format!("/domains/{}/records", encode(&zone.id))
}
