use std::error::Error as StdError;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{CONTENT_TYPE, DATE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::Secret;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::endpoint::Endpoint;
use crate::{Error, Options};

/// The largest answer that is read: a page of zones is far below.
const MAX_BODY: usize = 4 << 20;
/// How much of a provider's own words goes into an error.
const MAX_WORDS: usize = 300;
/// How long one address may take to accept a connection: an address of the wrong family must not use up the request's time.
const CONNECT: Duration = Duration::from_secs(3);

/// A second since 1970.
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

type Failure = Box<dyn StdError + Send + Sync>;

/// Requests to one provider's API: each on a connection of its own, with a timeout, and tried again when that can help.
pub(crate) struct Client {
    provider: &'static str,
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    headers: HeaderMap,
    secrets: Vec<Secret<String>>,
    options: Options,
}

/// An answer, of any status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What is asked; a body is JSON.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Below the endpoint.
    pub(crate) path: String,
    /// Encoded; apart from the path, since it may hold a credential and the path is logged.
    pub(crate) query: String,
    pub(crate) body: Option<serde_json::Value>,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: String::new(), body: None }
    }

    /// Adds a parameter to the query.
    pub(crate) fn query(mut self, name: &str, value: impl fmt::Display) -> Self {
        let separator = if self.query.is_empty() { "" } else { "&" };
        self.query += &format!("{separator}{name}={}", encode(&value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: serde_json::Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl Client {
    /// `headers` go with every request; none of `secrets` gets into an error, whatever the provider says.
    pub(crate) fn new(
        provider: &'static str,
        endpoint: Endpoint,
        headers: HeaderMap,
        secrets: Vec<Secret<String>>,
        options: Options,
    ) -> Result<Self, Error> {
        let tls = if endpoint.tls { Some(tls()?) } else { None };
        Ok(Self { provider, endpoint, tls, headers, secrets, options })
    }

    /// Sends a call and gives the answer once it is neither a server error nor a short rate limit, or after the last try.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no answer came at the last try, too.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, Error> {
        let mut tried = 1;
        loop {
            let last = tried >= self.options.attempts.max(1);
            let answered = timeout(self.options.timeout, self.try_once(call)).await;
            let answered = answered.unwrap_or_else(|_| Err("it did not answer in time".into()));
            let pause = match &answered {
                _ if last => None,
                Ok(answer) => self.pause_after(answer, tried),
                Err(_) => Some(self.options.backoff(tried)),
            };
            let outcome = match &answered {
                Ok(answer) => answer.status.as_str().to_owned(),
                Err(error) => error.to_string(),
            };
            let Call { method, path, .. } = call;
            tracing::debug!(provider = self.provider, %method, path, outcome, tried, "asked");
            let Some(pause) = pause else {
                return answered.map_err(|source| Error::Unreachable {
                    provider: self.provider,
                    message: format!("{method} {path} at {}", self.endpoint.authority),
                    source: Some(source),
                });
            };
            tokio::time::sleep(pause).await;
            tried += 1;
        }
    }

    /// The provider's own words, cut, in one line, and without any of our secrets.
    pub(crate) fn words(&self, text: &str) -> String {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let clean = self
            .secrets
            .iter()
            .filter(|it| !it.expose().is_empty())
            .fold(line, |line, secret| line.replace(secret.expose().as_str(), "[secret]"));
        clean.trim().chars().take(MAX_WORDS).collect()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when it is not what was expected.
    pub(crate) fn json<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        serde_json::from_slice(&answer.body).map_err(|source| Error::Unreachable {
            provider: self.provider,
            message: format!("its answer ({}) is not the JSON that it documents", answer.status),
            source: Some(source.into()),
        })
    }

    /// The error for an answer that is JSON and yet not what is documented.
    pub(crate) fn nonsense(&self, what: &str) -> Error {
        let message = format!("its answer is not what it documents: {what}");
        Error::Unreachable { provider: self.provider, message, source: None }
    }

    /// The error for an answer with this status and these words of the provider.
    pub(crate) fn refusal(&self, answer: &Answer, words: &str) -> Error {
        let provider = self.provider;
        let words = self.words(words);
        let message = match words.as_str() {
            "" => format!("HTTP {}", answer.status),
            _ if answer.status.is_server_error() => format!("HTTP {}: {words}", answer.status),
            _ => words,
        };
        match answer.status {
            StatusCode::TOO_MANY_REQUESTS => {
                Error::RateLimited { provider, message, retry_after: retry_after(answer) }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::Credentials { provider, message }
            }
            status if status.is_server_error() => {
                Error::Unreachable { provider, message, source: None }
            }
            _ => Error::Refused { provider, message },
        }
    }

    /// How long to wait before the same call may succeed; `None` when it won't, or not soon.
    fn pause_after(&self, answer: &Answer, tried: u32) -> Option<Duration> {
        let limited = answer.status == StatusCode::TOO_MANY_REQUESTS;
        if !limited && !answer.status.is_server_error() {
            return None;
        }
        match retry_after(answer) {
            Some(wait) => {
                (wait <= self.options.longest_wait).then_some(wait + self.options.jitter())
            }
            None if limited => None,
            None => Some(self.options.backoff(tried)),
        }
    }

    async fn try_once(&self, call: &Call) -> Result<Answer, Failure> {
        let stream = self.connect().await?;
        match &self.tls {
            None => self.exchange(stream, call).await,
            Some(tls) => {
                let name = ServerName::try_from(self.endpoint.host.clone())?;
                let stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
                self.exchange(stream, call).await
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let mut failure = Failure::from(format!("{host} has no address"));
        for addr in lookup_host((host.as_str(), *port)).await? {
            match timeout(CONNECT, TcpStream::connect(addr)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error.into(),
                Err(_) => failure = format!("{addr} does not accept connections").into(),
            }
        }
        Err(failure)
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = self.request(call)?;
        let answer = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        match select(pin!(answer), connection).await {
            Either::Left((answer, _)) => answer,
            // It ends first when the server closes behind its answer, which is still to be read.
            Either::Right((ended, answer)) => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(error.into()),
            },
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, http::Error> {
        let separator = if call.query.is_empty() { "" } else { "?" };
        let path = format!("{}{}{separator}{}", self.endpoint.base, call.path, call.query);
        let body = call.body.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut request =
            Request::builder().method(&call.method).uri(path).body(Full::from(body))?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(HOST, HeaderValue::try_from(&self.endpoint.authority)?);
        headers.insert("user-agent", HeaderValue::from_static("gatewright"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if call.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }
}

/// Percent-encoded for a part of a path or a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

/// `Retry-After` in seconds, or as a date compared with the answer's own (RFC 9110 §10.2.3), so that no clock of ours is needed.
/// Without it the second at which DigitalOcean's hourly limit ends.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = |name| answer.headers.get(name).and_then(|it: &HeaderValue| it.to_str().ok());
    let now = || httpdate::parse_http_date(text(DATE)?).ok();
    let Some(value) = text(RETRY_AFTER).map(str::trim) else {
        let reset = text(RESET)?.trim().parse().ok()?;
        return (UNIX_EPOCH + Duration::from_secs(reset)).duration_since(now()?).ok();
    };
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    let now = now()?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// The authorities that the machine trusts.
fn tls() -> Result<Arc<ClientConfig>, Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|it| it.with_platform_verifier());
    let config = config.map_err(|error| Error::Settings {
        field: "endpoint",
        message: format!("https needs the machine's certificate authorities: {error}"),
    })?;
    Ok(Arc::new(config.with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(secrets: &[&str]) -> Client {
        let endpoint = Endpoint::parse("http://127.0.0.1:1").unwrap();
        let secrets = secrets.iter().map(|it| Secret::new((*it).to_owned())).collect();
        Client::new("test", endpoint, HeaderMap::new(), secrets, Options::default()).unwrap()
    }

    fn answer(status: u16, headers: &[(HeaderName, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: headers.collect(), body: Bytes::new() }
    }

    #[test]
    fn a_provider_that_repeats_the_credentials_does_not_get_them_into_an_error() {
        let words = client(&["hunter2", ""]).words(" no\nsuch key: hunter2! ");
        assert_eq!(words, "no such key: [secret]!");
        assert_eq!(client(&[]).words(&"x".repeat(1000)).len(), MAX_WORDS);
    }

    #[test]
    fn only_what_may_soon_succeed_is_tried_again() {
        let client = client(&[]);
        let pause = |answer: &Answer| client.pause_after(answer, 1);
        assert!(pause(&answer(200, &[])).is_none());
        assert!(pause(&answer(403, &[])).is_none());
        assert!(pause(&answer(500, &[])).is_some());
        assert!(pause(&answer(429, &[])).is_none(), "nobody knows for how long");
        assert!(pause(&answer(429, &[(RETRY_AFTER, "2")])).unwrap() >= Duration::from_secs(2));
        assert!(pause(&answer(429, &[(RETRY_AFTER, "300")])).is_none());
        assert!(pause(&answer(503, &[(RETRY_AFTER, "300")])).is_none());
    }

    #[test]
    fn retry_after_may_be_a_date() {
        let (date, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:51:07 GMT");
        let after = |headers: &[(HeaderName, &str)]| retry_after(&answer(429, headers));
        assert_eq!(after(&[(RETRY_AFTER, later), (DATE, date)]), Some(Duration::from_secs(90)));
        assert_eq!(after(&[(RETRY_AFTER, date), (DATE, later)]), Some(Duration::ZERO));
        assert_eq!(after(&[(RETRY_AFTER, "soon")]), None);
        assert_eq!(after(&[(RESET, "784111867"), (DATE, date)]), Some(Duration::from_secs(90)));
    }

    #[test]
    fn what_is_asked_is_encoded() {
        let call = Call::new(Method::GET, "/x").query("a", "b c&d").query("e", 1);
        assert_eq!(call.query, "a=b%20c%26d&e=1");
    }
}
