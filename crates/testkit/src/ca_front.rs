use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::Pebble;
use crate::client::{self, Front};
use crate::server::Server;
use crate::tls_files::TlsFiles;

/// An HTTPS front of a [`Pebble`] with what that lacks: profiles, renewal information, and faults on order.
///
/// It passes `Host` and bytes through, so that signatures and URLs stay good, and rewrites the directory, the `profile` and
/// `replaces` of a new order's answer, and nothing else; renewal information it serves itself.
pub struct CaFront {
    server: Server,
    state: Arc<Shared>,
    tls: TlsFiles,
    _dir: TempDir,
}

/// What of an authority is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The directory.
    Directory,
    /// A nonce.
    NewNonce,
    /// An account.
    NewAccount,
    /// An order.
    NewOrder,
    /// How an order stands.
    Order,
    /// How an authorisation stands.
    Authorization,
    /// That a challenge is ready.
    Challenge,
    /// A certificate request.
    Finalize,
    /// A certificate.
    Certificate,
    /// When to renew.
    RenewalInfo,
}

/// What a front does instead of passing a request on.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this status and no problem document.
    Status(u16),
    /// Answers 429 `rateLimited`, to come back after so many seconds.
    RateLimited(u64),
    /// Answers 400 `badNonce`.
    BadNonce,
    /// Answers 403 and this kind of problem.
    Refused(&'static str),
    /// Takes a challenge for ready and never has it looked at.
    NeverValid,
}

struct Shared {
    pebble: SocketAddr,
    pebble_root: String,
    faults: Mutex<HashMap<Endpoint, (Fault, usize)>>,
    seen: Mutex<Vec<(Endpoint, Value)>>,
    profiles: Mutex<Vec<String>>,
    windows: Mutex<Option<(String, String, u64)>>,
}

impl CaFront {
    /// Starts one before this Pebble.
    pub fn start(pebble: &Pebble) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let tls = TlsFiles::make(dir.path(), "front", &["localhost", "127.0.0.1"]);
        let acceptor = tls.acceptor();
        let pebble_root = std::fs::read_to_string(pebble.api_root()).expect("it was written");
        let state = Arc::new(Shared {
            pebble: pebble.addr(),
            pebble_root,
            faults: Mutex::default(),
            seen: Mutex::default(),
            profiles: Mutex::default(),
            windows: Mutex::default(),
        });
        let shared = state.clone();
        let server =
            Server::start(move |_, stream| serve(shared.clone(), acceptor.clone(), stream));
        Self { server, state, tls, _dir: dir }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.server.addr())
    }

    /// The root of the certificate that it serves with, PEM, in a file.
    pub fn root(&self) -> PathBuf {
        self.tls.ca.clone()
    }

    /// Offers these profiles.
    pub fn offer_profiles(&self, names: &[&str]) {
        *self.state.profiles.lock().unwrap() = names.iter().map(ToString::to_string).collect();
    }

    /// Has every certificate renewed between these times (RFC 3339), to be asked again after so many seconds. Before that there
    /// is no renewal information.
    pub fn renew_between(&self, start: &str, end: &str, ask_again: u64) {
        *self.state.windows.lock().unwrap() = Some((start.to_owned(), end.to_owned(), ask_again));
    }

    /// Does this instead of passing on the next `count` requests of a kind.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault, count: usize) {
        self.state.faults.lock().unwrap().insert(endpoint, (fault, count));
    }

    /// Passes everything on again.
    pub fn heal(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// How many requests of a kind came, faults included.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.state.seen.lock().unwrap().iter().filter(|(of, _)| *of == endpoint).count()
    }

    /// The payloads of all requests of a kind.
    pub fn payloads(&self, endpoint: Endpoint) -> Vec<Value> {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|(of, _)| *of == endpoint).map(|(_, payload)| payload.clone()).collect()
    }
}

async fn serve(state: Arc<Shared>, acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| {
        let state = state.clone();
        async move { Ok::<_, std::convert::Infallible>(state.answer(request).await) }
    });
    // How it ended shows at the client.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let endpoint = endpoint(head.uri.path());
        let payload = payload(&body);
        if let Some(endpoint) = endpoint {
            self.seen.lock().unwrap().push((endpoint, payload.clone()));
            if let Some(fault) = self.fault(endpoint) {
                return fault.answer(head.uri.path());
            }
        }
        if endpoint == Some(Endpoint::RenewalInfo) {
            return self.renewal_info();
        }
        let host = head.headers.get(header::HOST).cloned();
        let Some(answer) = self.pass(Request::from_parts(head, client::full(body))).await else {
            return plain(StatusCode::BAD_GATEWAY, "");
        };
        let answer = match endpoint {
            Some(Endpoint::Directory) => self.directory(answer, host.as_ref()),
            Some(Endpoint::NewOrder) => reflect(answer, &payload),
            _ => answer,
        };
        answer.map(Full::new)
    }

    fn fault(&self, endpoint: Endpoint) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let (fault, left) = faults.get_mut(&endpoint)?;
        *left = left.checked_sub(1)?;
        Some(fault.clone())
    }

    async fn pass(&self, mut request: Request<client::Body>) -> Option<Response<Bytes>> {
        let path = request.uri().path_and_query()?.as_str();
        // In origin form, under the `Host` that the client sent.
        *request.uri_mut() = path.parse().ok()?;
        let front = Front {
            http: self.pebble,
            https: self.pebble,
            ca_pem: self.pebble_root.clone(),
            ca_file: PathBuf::new(),
        };
        client::h1(&front, "localhost").await.ok()?.fetch(request).await.ok()
    }

    fn directory(&self, answer: Response<Bytes>, host: Option<&HeaderValue>) -> Response<Bytes> {
        let mut directory: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let profiles = self.profiles.lock().unwrap();
        if !profiles.is_empty() {
            let described = profiles.iter().map(|name| (name.clone(), json!("of the test")));
            directory["meta"]["profiles"] = Value::Object(described.collect());
        }
        if self.windows.lock().unwrap().is_some() {
            let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
            directory["renewalInfo"] = json!(format!("https://{host}/renewal-info"));
        }
        replaced(answer, &directory)
    }

    fn renewal_info(&self) -> Response<Full<Bytes>> {
        let Some((start, end, ask_again)) = self.windows.lock().unwrap().clone() else {
            return plain(StatusCode::NOT_FOUND, "");
        };
        let window = json!({ "suggestedWindow": { "start": start, "end": end } });
        let mut answer = plain(StatusCode::OK, &window.to_string());
        answer.headers_mut().insert(header::RETRY_AFTER, ask_again.into());
        answer
    }
}

impl Fault {
    fn answer(self, path: &str) -> Response<Full<Bytes>> {
        let problem = |kind: &str, status: u16| {
            let kind = format!("urn:ietf:params:acme:error:{kind}");
            json!({ "type": kind, "detail": "as the test wants it", "status": status }).to_string()
        };
        match self {
            Self::Status(status) => {
                plain(StatusCode::from_u16(status).expect("a status"), "out of order")
            }
            Self::RateLimited(seconds) => {
                let body = problem("rateLimited", 429);
                let mut answer = plain(StatusCode::TOO_MANY_REQUESTS, &body);
                answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                answer
            }
            Self::BadNonce => plain(StatusCode::BAD_REQUEST, &problem("badNonce", 400)),
            Self::Refused(kind) => plain(StatusCode::FORBIDDEN, &problem(kind, 403)),
            Self::NeverValid => {
                let url = format!("https://localhost{path}");
                let challenge = json!({
                    "type": "http-01", "url": url, "token": "t", "status": "processing"
                });
                plain(StatusCode::OK, &challenge.to_string())
            }
        }
    }
}

/// Says of a new order what was asked of it, as an authority must that takes it.
fn reflect(answer: Response<Bytes>, payload: &Value) -> Response<Bytes> {
    if !answer.status().is_success() {
        return answer;
    }
    let mut order: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    for field in ["profile", "replaces"] {
        if payload[field].is_string() {
            order[field] = payload[field].clone();
        }
    }
    replaced(answer, &order)
}

fn replaced(answer: Response<Bytes>, body: &Value) -> Response<Bytes> {
    let (mut head, _) = answer.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Bytes::from(body.to_string()))
}

fn plain(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_owned())));
    *answer.status_mut() = status;
    answer
}

/// The endpoint behind one of Pebble's paths.
fn endpoint(path: &str) -> Option<Endpoint> {
    let first = path.split('/').nth(1)?;
    Some(match first {
        "dir" => Endpoint::Directory,
        "nonce-plz" => Endpoint::NewNonce,
        "sign-me-up" => Endpoint::NewAccount,
        "order-plz" => Endpoint::NewOrder,
        "my-order" => Endpoint::Order,
        "authZ" => Endpoint::Authorization,
        "chalZ" => Endpoint::Challenge,
        "finalize-order" => Endpoint::Finalize,
        "certZ" => Endpoint::Certificate,
        "renewal-info" => Endpoint::RenewalInfo,
        _ => return None,
    })
}

/// What a signed request says; null when it is none.
fn payload(body: &[u8]) -> Value {
    let signed: Value = serde_json::from_slice(body).unwrap_or_default();
    let payload = signed["payload"].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
}
