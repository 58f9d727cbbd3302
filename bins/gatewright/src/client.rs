//! A small HTTP client for the REST API: one request per connection, plain HTTP.

use std::fs::File;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, bail};
use api::types::Problem;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use model::Secret;
use runtime::Tasks;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::failure::Failure;

/// Longer than any wait that the API grants.
const TIMEOUT: Duration = Duration::from_secs(90);
/// How long a whole store may take.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(3600);
/// No answer is longer, but for a backup.
const LONGEST: usize = 64 << 20;
/// How much of a file is sent at once.
const PIECE: usize = 64 << 10;

type Out = UnsyncBoxBody<Bytes, io::Error>;

/// A page of a list, or all of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) results: Vec<T>,
    pub(crate) next: Option<String>,
}

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

    /// Asks for all pages of a list.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Page<T>, Failure> {
        let mut all = Page { results: Vec::new(), next: None };
        let mut after = String::new();
        loop {
            let page: Page<T> = self.get(&format!("{path}?limit=500{after}")).await?;
            all.results.extend(page.results);
            let Some(next) = page.next else { return Ok(all) };
            after = format!("&after={}", segment(&next));
        }
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
        let kind = body.is_some().then_some("application/json");
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        let request = self.request(method, path, kind, body).context("making the request")?;
        let (status, body) = self.in_time(TIMEOUT, self.exchange(request)).await?;
        Self::success(&self.authority, path, status, body)
    }

    /// Sends a file and gives the body of the answer if it is a success.
    pub(crate) async fn upload(&self, path: &str, file: File) -> Result<Bytes, Failure> {
        let body = FileBody(file).boxed_unsync();
        let kind = Some("application/x-ndjson");
        let request = self.request(Method::POST, path, kind, body).context("making the request")?;
        let (status, body) = self.in_time(BACKUP_TIMEOUT, self.exchange(request)).await?;
        Self::success(&self.authority, path, status, body)
    }

    /// Writes the body of an answer somewhere as it comes; gives its last line.
    pub(crate) async fn download(&self, path: &str, to: &mut dyn Write) -> Result<String, Failure> {
        let body = Full::default().map_err(|never| match never {}).boxed_unsync();
        let request = self.request(Method::GET, path, None, body).context("making the request")?;
        let copying = async {
            let (_tasks, head, mut body) = self.begin(request).await?;
            if !head.status.is_success() {
                let body = Limited::new(body, LONGEST).collect().await;
                let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
                return Ok((head.status, body, String::new()));
            }
            let mut last = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                to.write_all(&data).context("writing the file")?;
                last.extend_from_slice(&data);
                let ended = last.strip_suffix(b"\n").unwrap_or(&last);
                if let Some(at) = ended.iter().rposition(|byte| *byte == b'\n') {
                    last.drain(..=at);
                }
            }
            Ok((head.status, Bytes::new(), String::from_utf8_lossy(&last).into_owned()))
        };
        let (status, body, last) = self.in_time(BACKUP_TIMEOUT, copying).await?;
        Self::success(&self.authority, path, status, body).map(|_| last)
    }

    async fn in_time<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let outcome = tokio::time::timeout(limit, work).await;
        outcome
            .context("no answer in time")
            .and_then(|outcome| outcome)
            .with_context(|| format!("the API at http://{} does not answer", self.authority))
    }

    fn success(
        authority: &Authority,
        path: &str,
        status: StatusCode,
        body: Bytes,
    ) -> Result<Bytes, Failure> {
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(Failure::Refused(Box::new(problem))),
            Err(_) => {
                Err(anyhow::anyhow!("http://{authority}{path} answers {status}: is this the API?")
                    .into())
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Out,
    ) -> anyhow::Result<Request<Out>> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(HOST, self.authority.as_str());
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        Ok(request.body(body)?)
    }

    async fn exchange(&self, request: Request<Out>) -> anyhow::Result<(StatusCode, Bytes)> {
        let (_tasks, head, body) = self.begin(request).await?;
        let body =
            Limited::new(body, LONGEST).collect().await.map_err(anyhow::Error::from_boxed)?;
        Ok((head.status, body.to_bytes()))
    }

    /// Sends a request and waits for the head of its answer; the tasks carry the connection.
    async fn begin(
        &self,
        request: Request<Out>,
    ) -> anyhow::Result<(Tasks, http::response::Parts, Incoming)> {
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
        Ok((tasks, head, body))
    }
}

/// A file as a body.
struct FileBody(File);

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut piece = vec![0; PIECE];
        Poll::Ready(match self.0.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some(Ok(Frame::data(piece.into())))
            }
            Err(error) => Some(Err(error)),
        })
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
