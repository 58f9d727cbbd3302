//! Porkbun's JSON API v3: everything is a POST that carries both keys.

use std::sync::Arc;

use http::{HeaderMap, Method};
use model::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Call, Client, encode};
use crate::created::Created;
use crate::form::Form;
use crate::suffix::below;
use crate::{BoxFuture, DnsProvider, Error, Field, Kind, Options, Zone};

pub(crate) const KIND: Kind = Kind {
    id: "porkbun",
    title: "Porkbun",
    help: "An API key and its secret. API access is also switched on for each domain by itself, in the domain's details.",
    fields: &[
        Field::secret("api_key", "API key", "Porkbun: Account, API Access; begins with pk1_"),
        Field::secret(
            "secret_api_key",
            "Secret API key",
            "Shown once beside the API key; begins with sk1_",
        ),
        Field::endpoint(),
    ],
    build,
};

const ENDPOINT: &str = "https://api.porkbun.com/api/json/v3";
/// Domains in one answer of `domain/listAll`, by the documentation.
const CHUNK: usize = 1_000;
/// A listing that goes on after this is not believed.
const MAX_CHUNKS: usize = 100;
/// The shortest that is taken.
const TTL: u32 = 600;

struct Porkbun {
    client: Client,
    key: Secret<String>,
    secret: Secret<String>,
    created: Created,
}

fn build(mut form: Form<'_>, options: Options) -> Result<Arc<dyn DnsProvider>, Error> {
    let [key, secret] = ["api_key", "secret_api_key"].map(|it| form.credential(it));
    let endpoint = form.endpoint(ENDPOINT);
    let endpoint = form.finish(endpoint)?;
    let secrets = vec![key.clone(), secret.clone()];
    let client = Client::new(KIND.id, endpoint, HeaderMap::new(), secrets, options)?;
    Ok(Arc::new(Porkbun { client, key, secret, created: Created::default() }))
}

impl DnsProvider for Porkbun {
    fn kind(&self) -> &'static str {
        KIND.id
    }

    fn zones(&self) -> BoxFuture<'_, Result<Vec<Zone>, Error>> {
        Box::pin(async {
            let mut all: Vec<Domain> = Vec::new();
            for _ in 0..MAX_CHUNKS {
                let start = all.len().to_string();
                let chunk: Domains = self.call("/domain/listAll", json!({"start": start})).await?;
                let last = chunk.domains.len() < CHUNK;
                all.extend(chunk.domains);
                if last {
                    return Ok(all
                        .into_iter()
                        .map(|it| Zone::new(it.domain.clone(), &it.domain))
                        .collect());
                }
            }
            Err(self.client.nonsense("a listing without an end"))
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
            let below = below(name, &zone.name).unwrap_or_default();
            let body = json!({"type": "TXT", "name": below, "content": value, "ttl": TTL});
            let path = format!("/dns/create/{}", encode(&zone.id));
            let answer: Value = self.call(&path, body).await?;
            self.created.remember(&zone.id, name, value, &text(&answer["id"]));
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
                let path = format!("/dns/delete/{}/{}", encode(&zone.id), encode(&id));
                match self.call::<Value>(&path, json!({})).await {
                    Err(Error::Refused { message, .. }) if is_absent(&message) => {}
                    done => drop(done?),
                }
                self.created.forget(&id);
            }
            Ok(())
        })
    }
}

impl Porkbun {
    /// The ids of the records with this value.
    async fn listed(&self, zone: &Zone, name: &str, value: &str) -> Result<Vec<String>, Error> {
        // The whole zone, which has no pages.
        let path = format!("/dns/retrieve/{}", encode(&zone.id));
        let records: Records = self.call(&path, json!({})).await?;
        let ours = records.records.into_iter().filter(|it| {
            it.kind == "TXT" && it.name.eq_ignore_ascii_case(name) && it.content == value
        });
        Ok(ours.map(|it| text(&it.id)).collect())
    }

    async fn call<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        mut body: Value,
    ) -> Result<T, Error> {
        body["apikey"] = self.key.expose().as_str().into();
        body["secretapikey"] = self.secret.expose().as_str().into();
        let answer = self.client.send(&Call::new(Method::POST, path).body(body)).await?;
        let status: Result<Status, _> = self.client.json(&answer);
        match status {
            Ok(status) if answer.status.is_success() && status.status == "SUCCESS" => {
                self.client.json(&answer)
            }
            Err(error) if answer.status.is_success() => Err(error),
            status => {
                let words = status.map(|it| it.message.unwrap_or_default()).unwrap_or_default();
                let error = self.client.refusal(&answer, &words);
                Err(if answer.status.is_client_error() { by_words(error) } else { error })
            }
        }
    }
}

/// Wrong keys and missing rights come with status 400 like everything else; only the words differ.
fn by_words(error: Error) -> Error {
    match error {
        Error::Refused { provider, message } => {
            let lower = message.to_ascii_lowercase();
            if lower.contains("api key") || lower.contains("api access") {
                Error::Credentials { provider, message }
            } else if lower.contains("rate limit") {
                Error::RateLimited { provider, message, retry_after: None }
            } else {
                Error::Refused { provider, message }
            }
        }
        other => other,
    }
}

fn is_absent(message: &str) -> bool {
    message.to_ascii_lowercase().contains("invalid record id")
}

/// Ids are numbers in one answer and text in another.
fn text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

#[derive(Deserialize)]
struct Status {
    status: String,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Domains {
    domains: Vec<Domain>,
}

#[derive(Deserialize)]
struct Domain {
    domain: String,
}

#[derive(Deserialize)]
struct Records {
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    id: Value,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    content: String,
}
