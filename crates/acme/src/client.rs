use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use runtime::Clock;
use rustls::ClientConfig;

use crate::Error;
use crate::connection::Connection;

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("gatewright/", env!("CARGO_PKG_VERSION")));

/// Speaks HTTP with one authority, for one piece of work after the other, and remembers the last answer: what the ACME
/// library makes of it leaves out when to come back and most of what was wrong.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    tls: Arc<ClientConfig>,
    patience: Duration,
    clock: Clock,
    directory: String,
    idle: Mutex<Option<Connection>>,
    last: Mutex<Option<Seen>>,
    index: Mutex<Option<Bytes>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new(
        directory: &str,
        tls: Arc<ClientConfig>,
        patience: Duration,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            tls,
            patience,
            clock,
            directory: directory.to_owned(),
            idle: Mutex::default(),
            last: Mutex::default(),
            index: Mutex::default(),
        }))
    }

    /// The last answer; `None` when the last request got none.
    pub(crate) fn last(&self) -> Option<Seen> {
        lock(&self.0.last).clone()
    }

    /// The directory document as it came last.
    pub(crate) fn index(&self) -> Option<Bytes> {
        lock(&self.0.index).clone()
    }

    /// Fetches a document that needs no signature.
    pub(crate) async fn get(&self, url: &str) -> Result<Seen, Error> {
        let insecure = |_| Error::Insecure { url: url.to_owned() };
        let request = Request::get(url).body(Bytes::new()).map_err(insecure)?;
        let (parts, body) = self.send(request).await?.into_parts();
        let retry_after = retry_after(parts.headers.get(RETRY_AFTER), self.0.clock.now());
        Ok(Seen { status: parts.status, retry_after, body })
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        lock(&self.0.last).take();
        request.headers_mut().insert(USER_AGENT, AGENT);
        let is_index = request.method() == Method::GET && *request.uri() == *self.0.directory;
        let answer = self.send_once_or_twice(request).await?;
        let now = self.0.clock.now();
        let retry_after = retry_after(answer.headers().get(RETRY_AFTER), now);
        tracing::trace!(status = answer.status().as_u16(), ?retry_after, "the authority answered");
        *lock(&self.0.last) =
            Some(Seen { status: answer.status(), retry_after, body: answer.body().clone() });
        if is_index && answer.status().is_success() {
            *lock(&self.0.index) = Some(answer.body().clone());
        }
        Ok(answer)
    }

    /// A kept connection may be closed by the other side as we send, which says nothing: then a new one is tried. A signed
    /// request is safe to repeat: its nonce is good once.
    async fn send_once_or_twice(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let uri = request.uri().clone();
        tracing::trace!(method = %request.method(), %uri, "asking the authority");
        let kept = lock(&self.0.idle).take();
        if let Some(mut kept) = kept
            && kept.serves(&uri)
        {
            match kept.exchange(request.clone(), self.0.patience).await {
                Ok((answer, kept)) => {
                    *lock(&self.0.idle) = kept;
                    return Ok(answer);
                }
                Err(Error::Unreachable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let opening = Connection::open(&uri, self.0.tls.clone());
        let silent = || Error::Silent {
            host: uri.authority().map(ToString::to_string).unwrap_or_default(),
            after: self.0.patience,
        };
        let connection =
            tokio::time::timeout(self.0.patience, opening).await.map_err(|_| silent())??;
        let (answer, kept) = connection.exchange(request, self.0.patience).await?;
        *lock(&self.0.idle) = kept;
        Ok(answer)
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let answer = client.send(Request::from_parts(parts, body)).await;
            let answer = answer.map_err(|error| instant_acme::Error::Other(error.into()))?;
            let (parts, body) = answer.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(value: Option<&HeaderValue>, now: SystemTime) -> Option<Duration> {
    let text = value?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// A poisoned lock is as good as a sound one here: what it guards is only ever replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Mon, 21 Sep 2026 14:14:20 GMT", Some(60)),
            ("Mon, 21 Sep 2026 14:12:20 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            let expected = expected.map(Duration::from_secs);
            assert_eq!(retry_after(Some(&value), now), expected, "{text:?}");
        }
        assert_eq!(retry_after(None, now), None);
    }
}
