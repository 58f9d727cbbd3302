//! A small HTTP client for the REST API: one request per connection, plain HTTP.

use std::time::Duration;

use anyhow::{Context, bail};
use api::types::Problem;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use model::Secret;
use runtime::Tasks;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::failure::Failure;

/// Longer than any wait that the API grants.
const TIMEOUT: Duration = Duration::from_secs(90);
/// No answer is longer.
const LONGEST: usize = 64 << 20;

/// A client of one API.
pub(crate) struct Client {
    authority: Authority,
    token: Option<Secret<String>>,
}

impl Client {
    /// A client of the API at this URL.
    ///
    /// # Errors
    /// When it is no `http://` URL.
    pub(crate) fn new(url: &str, token: Option<Secret<String>>) -> Result<Self, Failure> {
        let authority =
            authority(url).with_context(|| format!("the API's URL {url:?} can't be used"))?;
        Ok(Self { authority, token })
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        Ok(serde_json::from_slice(&self.send(Method::GET, path, None).await?)?)
    }

    /// Asks for a text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let body = self.send(Method::GET, path, None).await?;
        Ok(String::from_utf8(body.into()).context("the answer is no text")?)
    }

    /// Sends something and reads the answer.
    pub(crate) async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)?;
        Ok(serde_json::from_slice(&self.send(method, path, Some(body)).await?)?)
    }

    /// Sends a request that may have a body; the answer's body if it is a success.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, Failure> {
        let request = self.request(method, path, body).context("making the request")?;
        let exchanged = tokio::time::timeout(TIMEOUT, self.exchange(request)).await;
        let (status, body) = exchanged
            .context("no answer in time")
            .and_then(|outcome| outcome)
            .with_context(|| format!("the API at http://{} does not answer", self.authority))?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(Failure::Refused(Box::new(problem))),
            Err(_) => Err(anyhow::anyhow!(
                "http://{}{path} answers {status}: is this the API?",
                self.authority
            )
            .into()),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(HOST, self.authority.as_str());
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        Ok(request.body(Full::new(Bytes::from(body.unwrap_or_default())))?)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        let host = self.authority.host().trim_matches(['[', ']']);
        let port = self.authority.port_u16().unwrap_or(80);
        let stream = TcpStream::connect((host, port)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let tasks = Tasks::new();
        tasks.spawn("connection", async move {
            // What went wrong is told by the request.
            let _ = connection.await;
        });
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body =
            Limited::new(body, LONGEST).collect().await.map_err(anyhow::Error::from_boxed)?;
        Ok((head.status, body.to_bytes()))
    }
}

fn authority(url: &str) -> anyhow::Result<Authority> {
    let parts = url.parse::<Uri>()?.into_parts();
    match parts.scheme.as_ref().map(http::uri::Scheme::as_str) {
        Some("http") => {}
        Some("https") => {
            bail!("only http:// is spoken yet: use an SSH tunnel to reach an API elsewhere")
        }
        _ => bail!("it does not begin with http://"),
    }
    if parts.path_and_query.is_some_and(|path| path != "/") {
        bail!("it has a path");
    }
    parts.authority.context("it has no host")
}

/// A part of a path, percent-encoded where it must be.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'*' => {
                out.push(byte.into());
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in ["http://127.0.0.1:3000", "http://[::1]:3000/", "http://api.test"] {
            assert!(authority(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:3000", "https://x", "http://x/api", "ftp://x"] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn segments_keep_their_place() {
        assert_eq!(segment("*.Example.test"), "*.Example.test");
        assert_eq!(segment("a/../b?c#d%"), "a%2F..%2Fb%3Fc%23d%25");
        assert_eq!(segment("bücher.test"), "b%C3%BCcher.test");
    }
}
