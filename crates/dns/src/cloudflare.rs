//! Cloudflare's API v4 with an API token.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::client::{Answer, Call, Client, encode};
use crate::created::Created;
use crate::form::{Form, bearer};
use crate::{BoxFuture, DnsProvider, Error, Field, Kind, Options, Zone};

pub(crate) const KIND: Kind = Kind {
    id: "cloudflare",
    title: "Cloudflare",
    help: "An API token with the permissions Zone / Zone / Read and Zone / DNS / Edit for the zones that are to be found.",
    fields: &[
        Field::secret(
            "api_token",
            "API token",
            "Cloudflare dashboard: My Profile, API Tokens; not the global API key",
        ),
        Field::endpoint(),
    ],
    build,
};

const ENDPOINT: &str = "https://api.cloudflare.com/client/v4";
/// The most that a page of zones may have.
const ZONES_PER_PAGE: usize = 50;
const RECORDS_PER_PAGE: usize = 100;
/// A listing that goes on after this is not believed.
const MAX_PAGES: usize = 1_000;
/// The shortest that every plan allows.
const TTL: u32 = 60;
/// "An identical record already exists" and its older relative.
const EXISTS: [u32; 2] = [81057, 81058];
/// What is said of a token that is malformed, unknown or of the wrong form: with status 400, not 401.
const BAD_TOKEN: [u32; 5] = [6003, 6111, 9106, 9109, 10000];
/// "Record does not exist."
const ABSENT: u32 = 81044;

struct Cloudflare {
    client: Client,
    created: Created,
}

fn build(mut form: Form<'_>, options: Options) -> Result<Arc<dyn DnsProvider>, Error> {
    let token = form.credential("api_token");
    let endpoint = form.endpoint(ENDPOINT);
    let endpoint = form.finish(endpoint)?;
    let headers: HeaderMap = bearer(&token).map(|it| (AUTHORIZATION, it)).into_iter().collect();
    let client = Client::new(KIND.id, endpoint, headers, vec![token], options)?;
    Ok(Arc::new(Cloudflare { client, created: Created::default() }))
}

impl DnsProvider for Cloudflare {
    fn kind(&self) -> &'static str {
        KIND.id
    }

    fn zones(&self) -> BoxFuture<'_, Result<Vec<Zone>, Error>> {
        Box::pin(async {
            let call = |page| {
                Call::new(Method::GET, "/zones")
                    .query("page", page)
                    .query("per_page", ZONES_PER_PAGE)
            };
            let zones: Vec<ZoneItem> = self.pages(call).await?;
            // An internal zone is not in the public DNS, where an authority looks.
            let public = zones.into_iter().filter(|it| it.kind.as_deref() != Some("internal"));
            Ok(public.map(|it| Zone::new(it.id, &it.name)).collect())
        })
    }

    fn append_txt<'a>(
        &'a self,
        zone: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let body =
                json!({"type": "TXT", "name": name, "content": format!("\"{value}\""), "ttl": TTL});
            let answer =
                self.client.send(&Call::new(Method::POST, records(zone)).body(body)).await?;
            match self.result::<Record>(&answer) {
                Ok(envelope) => {
                    let created = envelope.result.map(|it| it.id).unwrap_or_default();
                    self.created.remember(&zone.id, name, value, &created);
                    Ok(())
                }
                Err(Failed::Codes(codes, _)) if codes.iter().any(|it| EXISTS.contains(it)) => {
                    Ok(())
                }
                Err(failed) => Err(failed.into_error()),
            }
        })
    }

    fn remove_txt<'a>(
        &'a self,
        zone: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let call = |page| {
                let call =
                    Call::new(Method::GET, records(zone)).query("type", "TXT").query("name", name);
                call.query("page", page).query("per_page", RECORDS_PER_PAGE)
            };
            let listed: Vec<Record> = self.pages(call).await?;
            let ours = listed
                .into_iter()
                .filter(|it| it.name.eq_ignore_ascii_case(name) && unquote(&it.content) == value);
            for id in self.created.with(&zone.id, name, value, ours.map(|it| it.id)) {
                self.delete(zone, &id).await?;
                self.created.forget(&id);
            }
            Ok(())
        })
    }
}

impl Cloudflare {
    async fn pages<T: for<'de> Deserialize<'de>>(
        &self,
        call: impl Fn(usize) -> Call,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let answer = self.client.send(&call(page)).await?;
            let envelope: Envelope<Vec<T>> = self.result(&answer).map_err(Failed::into_error)?;
            let (Some(items), Some(info)) = (envelope.result, envelope.result_info) else {
                return Err(self.client.nonsense("a page without its number"));
            };
            all.extend(items);
            if page >= info.total_pages {
                return Ok(all);
            }
        }
        Err(self.client.nonsense("a listing without an end"))
    }

    async fn delete(&self, zone: &Zone, id: &str) -> Result<(), Error> {
        let path = format!("{}/{}", records(zone), encode(id));
        let answer = self.client.send(&Call::new(Method::DELETE, path)).await?;
        match self.result::<serde::de::IgnoredAny>(&answer) {
            Ok(_) => Ok(()),
            Err(Failed::Codes(codes, _)) if codes.contains(&ABSENT) => Ok(()),
            Err(_) if answer.status == StatusCode::NOT_FOUND => Ok(()),
            Err(failed) => Err(failed.into_error()),
        }
    }

    /// The envelope of a success, or what the provider says is wrong.
    fn result<T: for<'de> Deserialize<'de>>(&self, answer: &Answer) -> Result<Envelope<T>, Failed> {
        if answer.status.is_success() {
            let envelope: Envelope<T> = self.client.json(answer).map_err(Failed::Other)?;
            if envelope.success {
                return Ok(envelope);
            }
        }
        // A proxy in between may answer without an envelope.
        let envelope = self.client.json::<Envelope<serde::de::IgnoredAny>>(answer);
        let faults: Vec<Fault> = envelope.map(|it| it.errors).unwrap_or_default();
        let faults = faults.iter().flat_map(|it| std::iter::once(it).chain(&it.error_chain));
        let (codes, words): (Vec<_>, Vec<_>) =
            faults.map(|it| (it.code, it.message.as_str())).unzip();
        let words = words.join("; ");
        let error = match self.client.refusal(answer, &words) {
            Error::Refused { provider, message }
                if codes.iter().any(|it| BAD_TOKEN.contains(it)) =>
            {
                Error::Credentials { provider, message }
            }
            other => other,
        };
        Err(Failed::Codes(codes, error))
    }
}

/// Why a call failed; with the provider's codes, some of which are no failure to the caller.
enum Failed {
    Codes(Vec<u32>, Error),
    Other(Error),
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Self::Codes(_, error) | Self::Other(error) => error,
        }
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    success: bool,
    #[serde(default)]
    errors: Vec<Fault>,
    result: Option<T>,
    result_info: Option<PageInfo>,
}

#[derive(Deserialize)]
struct Fault {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error_chain: Vec<Fault>,
}

#[derive(Deserialize)]
struct PageInfo {
    total_pages: usize,
}

#[derive(Deserialize)]
struct ZoneItem {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    name: String,
    content: String,
}

fn records(zone: &Zone) -> String {
    format!("/zones/{}/dns_records", encode(&zone.id))
}

/// TXT contents are shown as they were written: with quotation marks, or without.
fn unquote(content: &str) -> &str {
    content.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(content)
}
