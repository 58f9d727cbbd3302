//! Scripted APIs of hosted DNS providers: the JSON that the real ones document and were recorded to speak, with a state that can be
//! looked at, faults on demand, and a hook by which a real name server follows.

mod cloudflare;
mod digitalocean;
mod duckdns;
mod porkbun;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::server::Server;

/// The credential that every scripted API accepts, and no other; for searches of what must not hold it, too.
pub const CREDENTIAL: &str = "canary-5f1d7c2e9b";

/// Whose API is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `api.cloudflare.com/client/v4`
    Cloudflare,
    /// `api.digitalocean.com/v2`
    DigitalOcean,
    /// `api.porkbun.com/api/json/v3`
    Porkbun,
    /// `www.duckdns.org`
    DuckDns,
}

/// What is done to requests instead of, or before, answering them.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: this request is answered, and the next fault is for the one after it.
    Nothing,
    /// The status and body of a server error.
    ServerError,
    /// The provider's rate limit, in its words, with its header of seconds.
    RateLimit(Option<u64>),
    /// Status 200 and something that is not JSON.
    Garbage,
    /// An answer only after this long.
    Slow(Duration),
    /// The connection is closed without an answer.
    Close,
}

/// A TXT value in a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txt {
    /// The zone.
    pub zone: String,
    /// The whole name.
    pub name: String,
    /// The value, without quotation marks.
    pub value: String,
}

/// Called with a zone, a name in it and all its values whenever they change, before the change is acknowledged.
type Hook = Arc<dyn Fn(&str, &str, &[String]) + Send + Sync>;

/// A scripted API on a free port; ends with its value.
pub struct DnsApi {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    dialect: Dialect,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    zones: Vec<String>,
    records: Vec<Record>,
    next_id: u64,
    faults: VecDeque<Fault>,
    requests: Vec<String>,
    /// How many listings a new record stays out of.
    lag: u32,
    hook: Option<Hook>,
}

struct Record {
    id: u64,
    txt: Txt,
    /// Listings that it still stays out of.
    hidden: u32,
}

impl DnsApi {
    /// Starts one with an account that has these zones.
    pub fn start(dialect: Dialect, zones: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let zones = zones.into_iter().map(Into::into).collect();
        let state = Mutex::new(State { zones, next_id: 1_000, ..State::default() });
        let shared = Arc::new(Shared { dialect, state });
        let api = shared.clone();
        let server = Server::start(move |_, stream| serve(api.clone(), stream));
        Self { server, shared }
    }

    /// The settings with which a provider of ours talks to it: those of a form, credentials included.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let base = match self.shared.dialect {
            Dialect::Cloudflare => "/client/v4",
            Dialect::DigitalOcean => "/v2",
            Dialect::Porkbun => "/api/json/v3",
            Dialect::DuckDns => "",
        };
        let endpoint = format!("http://{}{base}", self.server.addr());
        let mut settings = vec![("endpoint", endpoint)];
        let credential = CREDENTIAL.to_owned();
        match self.shared.dialect {
            Dialect::Cloudflare | Dialect::DigitalOcean => settings.push(("api_token", credential)),
            Dialect::Porkbun => {
                settings.push(("api_key", credential.clone()));
                settings.push(("secret_api_key", credential));
            }
            Dialect::DuckDns => {
                settings.push(("token", credential));
                settings.push(("domains", self.state().zones.join(",")));
            }
        }
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The values at a name, in the order in which they were added.
    pub fn values(&self, name: &str) -> Vec<String> {
        self.state().values(name)
    }

    /// Every TXT value there is.
    pub fn records(&self) -> Vec<Txt> {
        self.state().records.iter().map(|it| it.txt.clone()).collect()
    }

    /// Adds a value that somebody else put there.
    pub fn plant(&self, zone: &str, name: &str, value: &str) {
        self.state().create(zone, name, value);
    }

    /// Adds zones to the account.
    pub fn add_zones(&self, zones: impl IntoIterator<Item = impl Into<String>>) {
        self.state().zones.extend(zones.into_iter().map(Into::into));
    }

    /// Does this to the next requests, one each, in this order.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Takes back the next fault that was injected and has not happened yet.
    pub fn take_fault(&self) -> Option<Fault> {
        self.state().faults.pop_front()
    }

    /// From now on a new record is shown by no listing but from the `listings + 1`st on: eventual consistency.
    pub fn lag(&self, listings: u32) {
        self.state().lag = listings;
    }

    /// Method and path of every request, without the query.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Calls `hook` with a zone, a name and all its values after each change and before the change is acknowledged, so that a
    /// name server can follow. It may block.
    pub fn on_change(&self, hook: impl Fn(&str, &str, &[String]) + Send + Sync + 'static) {
        self.state().hook = Some(Arc::new(hook));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no holder panics")
    }
}

impl fmt::Debug for DnsApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.shared.dialect, self.server.addr())
    }
}

impl State {
    fn values(&self, name: &str) -> Vec<String> {
        let of_name = self.records.iter().filter(|it| it.txt.name == name);
        of_name.map(|it| it.txt.value.clone()).collect()
    }

    fn create(&mut self, zone: &str, name: &str, value: &str) -> u64 {
        self.next_id += 1;
        let txt = Txt { zone: zone.into(), name: name.into(), value: value.into() };
        self.records.push(Record { id: self.next_id, txt, hidden: self.lag });
        self.changed(zone, name);
        self.next_id
    }

    /// False when there is no such record.
    fn delete(&mut self, zone: &str, id: &str) -> bool {
        let at = self.records.iter().position(|it| it.id.to_string() == id && it.txt.zone == zone);
        let Some(at) = at else { return false };
        let Record { txt, .. } = self.records.remove(at);
        self.changed(&txt.zone, &txt.name);
        true
    }

    /// What a listing of some names of a zone shows now; counts as one for each of their records.
    fn list(&mut self, zone: &str, of: impl Fn(&str) -> bool) -> Vec<(u64, Txt)> {
        let mut shown = Vec::new();
        for record in &mut self.records {
            if record.txt.zone != zone || !of(&record.txt.name) {
                continue;
            }
            match record.hidden.checked_sub(1) {
                Some(left) => record.hidden = left,
                None => shown.push((record.id, record.txt.clone())),
            }
        }
        shown
    }

    fn changed(&self, zone: &str, name: &str) {
        if let Some(hook) = &self.hook {
            hook(zone, name, &self.values(name));
        }
    }
}

/// A request as the dialects want it.
struct Asked {
    method: http::Method,
    /// The parts of the path below the base.
    path: Vec<String>,
    query: BTreeMap<String, String>,
    authorization: String,
    body: Value,
}

impl Asked {
    /// A number of the query.
    fn number(&self, name: &str, default: usize) -> usize {
        self.query.get(name).and_then(|it| it.parse().ok()).unwrap_or(default)
    }

    fn route(&self) -> (&str, Vec<&str>) {
        (self.method.as_str(), self.path.iter().map(String::as_str).collect())
    }
}

/// An answer of a dialect: status, body and `Retry-After`.
struct Told(u16, String, Option<u64>);

fn told(status: u16, body: &Value) -> Told {
    Told(status, body.to_string(), None)
}

async fn serve(api: Arc<Shared>, stream: TcpStream) {
    let service = service_fn(|request| answer(api.clone(), request));
    // A test that breaks off a request is no fault.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    api: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let asked = read(request).await;
    let fault = {
        let mut state = api.state.lock().expect("no holder panics");
        state.requests.push(format!("{} /{}", asked.method, asked.path.join("/")));
        state.faults.pop_front()
    };
    let Told(status, body, retry_after) = match fault {
        Some(Fault::ServerError) => Told(500, "<h1>upstream is gone</h1>".into(), None),
        Some(Fault::RateLimit(seconds)) => {
            let Told(status, body, _) = match api.dialect {
                Dialect::Cloudflare => cloudflare::rate_limit(),
                Dialect::DigitalOcean => digitalocean::rate_limit(),
                Dialect::Porkbun => porkbun::rate_limit(),
                Dialect::DuckDns => Told(429, "slow down".into(), None),
            };
            Told(status, body, seconds)
        }
        Some(Fault::Garbage) => Told(200, "<html>welcome".into(), None),
        Some(Fault::Close) => return Err(std::io::ErrorKind::ConnectionAborted.into()),
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            dispatch(&api, &asked)
        }
        Some(Fault::Nothing) | None => dispatch(&api, &asked),
    };
    let mut response =
        Response::builder().status(status).header("content-type", "application/json");
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    Ok(response.body(Full::from(body)).expect("a response"))
}

fn dispatch(api: &Shared, asked: &Asked) -> Told {
    let mut state = api.state.lock().expect("no holder panics");
    match api.dialect {
        Dialect::Cloudflare => cloudflare::answer(&mut state, asked),
        Dialect::DigitalOcean => digitalocean::answer(&mut state, asked),
        Dialect::Porkbun => porkbun::answer(&mut state, asked),
        Dialect::DuckDns => duckdns::answer(&mut state, asked),
    }
}

async fn read(request: Request<Incoming>) -> Asked {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|it| it.to_bytes()).unwrap_or_default();
    let path = head.uri.path().trim_matches('/').split('/').map(decode).collect();
    let query = head.uri.query().unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    let authorization = head.headers.get("authorization").and_then(|it| it.to_str().ok());
    Asked {
        method: head.method,
        path,
        query: query.map(|(name, value)| (decode(name), decode(value))).collect(),
        authorization: authorization.unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%');
        let hex = hex.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(*first));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
