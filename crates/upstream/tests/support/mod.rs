//! A raw origin that a test scripts byte by byte, and the request side to go with it.
#![allow(dead_code, unreachable_pub, reason = "each test binary is a crate and uses its own part")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use model::UpstreamTls;
use runtime::Tasks;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use upstream::{Answer, BoxError, Endpoint, Error, ExchangeKind, Outgoing, Settings, Upstreams};

pub const BOTH: [ExchangeKind; 2] = [ExchangeKind::Codec, ExchangeKind::Hyper];

/// Runs a test as a worker would be run; a test that hangs fails.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    run_unwatched(async {
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs")
    })
}

/// As [`run`], for tests that turn the clock.
pub fn run_unwatched<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(test)
}

pub fn upstreams(kind: ExchangeKind) -> Rc<Upstreams> {
    upstreams_with(kind, |_| {})
}

pub fn upstreams_with(kind: ExchangeKind, change: impl FnOnce(&mut Settings)) -> Rc<Upstreams> {
    upstreams_and_tasks(kind, change).0
}

pub fn upstreams_and_tasks(
    kind: ExchangeKind,
    change: impl FnOnce(&mut Settings),
) -> (Rc<Upstreams>, Tasks) {
    let mut settings = Settings { exchange: kind, ..Settings::default() };
    change(&mut settings);
    let tasks = Tasks::new();
    (Upstreams::new(settings, tasks.clone()), tasks)
}

pub struct Origin {
    listener: TcpListener,
}

impl Origin {
    pub async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn endpoint(&self) -> Endpoint {
        let address = self.listener.local_addr().unwrap().to_string();
        Endpoint::new(address.parse().unwrap(), UpstreamTls::Off)
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub async fn accept(&self) -> Conn<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        Conn::new(stream)
    }
}

/// One connection, seen from the origin.
pub struct Conn<S> {
    pub stream: S,
    buffer: Vec<u8>,
}

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
    pub chunked: bool,
}

impl Received {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// A whole request; none when the connection ends first.
    pub async fn request(&mut self) -> Option<Received> {
        let head = self.head().await?;
        let mut received = Received { head, ..Received::default() };
        if let Some(length) = received.all("content-length").first() {
            let length = length.parse().unwrap();
            received.body = self.exactly(length).await?;
        } else if received.all("transfer-encoding") == ["chunked"] {
            received.chunked = true;
            loop {
                let size = self.through(b"\r\n").await?;
                let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
                if size == 0 {
                    break;
                }
                received.body.extend(self.exactly(size).await?);
                assert_eq!(self.exactly(2).await?, b"\r\n");
            }
            loop {
                let line = self.through(b"\r\n").await?;
                if line == "\r\n" {
                    break;
                }
                received.trailers.push_str(&line);
            }
        }
        Some(received)
    }

    /// A request's head; what follows stays to be read.
    pub async fn head(&mut self) -> Option<String> {
        self.through(b"\r\n\r\n").await
    }

    pub async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Waits for the other end to close, and says what came before.
    pub async fn end(&mut self) -> Vec<u8> {
        while self.fill().await.is_some() {}
        std::mem::take(&mut self.buffer)
    }

    async fn through(&mut self, mark: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                let taken = self.buffer.drain(..at + mark.len()).collect();
                return Some(String::from_utf8(taken).unwrap());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Option<()> {
        let mut piece = vec![0; 65536];
        match self.stream.read(&mut piece).await {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Some(())
            }
        }
    }
}

/// A request body made of frames, with a pause before each if `slow`.
#[derive(Debug, Default)]
pub struct Frames {
    pub frames: VecDeque<Frame<Bytes>>,
    pub exact: Option<u64>,
    pub slow: bool,
    paused: bool,
}

impl Frames {
    pub fn chunked(pieces: &[&[u8]]) -> Self {
        let frames = pieces.iter().map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
        Self { frames: frames.collect(), ..Self::default() }
    }

    pub fn exact(pieces: &[&[u8]]) -> Self {
        let exact = Some(pieces.iter().map(|piece| piece.len() as u64).sum());
        Self { exact, ..Self::chunked(pieces) }
    }

    pub fn slow(mut self) -> Self {
        self.slow = true;
        self
    }

    pub fn trailers(mut self, trailers: HeaderMap) -> Self {
        self.frames.push_back(Frame::trailers(trailers));
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.slow && !std::mem::replace(&mut self.paused, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.paused = false;
        let frame = self.frames.pop_front();
        let length = frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        self.exact = self.exact.map(|exact| exact.saturating_sub(length));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.exact == Some(0) || self.frames.is_empty() && !self.slow
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or(SizeHint::new(), SizeHint::with_exact)
    }
}

/// A request body fed by the test; dropping the sender ends it.
pub struct Fed {
    receiver: tokio::sync::mpsc::Receiver<Result<Bytes, BoxError>>,
    exact: Option<u64>,
}

pub type Feeder = tokio::sync::mpsc::Sender<Result<Bytes, BoxError>>;

pub fn fed(exact: Option<u64>) -> (Feeder, Fed) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    (sender, Fed { receiver, exact })
}

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.receiver.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or(SizeHint::new(), SizeHint::with_exact)
    }
}

pub fn outgoing<B>(method: Method, path: &str, body: B) -> Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut headers = HeaderMap::new();
    headers.insert("host", "app.example.com".parse().unwrap());
    Outgoing::new(method, path.parse().unwrap(), headers, body)
}

pub fn get(path: &str) -> Outgoing<Frames> {
    outgoing(Method::GET, path, Frames::default())
}

/// What became of an exchange, in a form that can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub status: u16,
    /// Sorted.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// What went wrong, before the head or in the body.
    pub error: Option<&'static str>,
    pub interims: Vec<u16>,
}

pub fn kind(error: &Error) -> &'static str {
    match error {
        Error::Connect { .. } => "connect",
        Error::ConnectTimeout { .. } => "connect timeout",
        Error::ResponseTimeout { .. } => "response timeout",
        Error::ClosedBeforeAnswer { .. } => "closed",
        Error::BadResponse { .. } => "bad",
        Error::Truncated { .. } => "truncated",
        Error::RequestBody { .. } => "request body",
        _ => "other",
    }
}

/// Sends, and reads the answer to its end.
pub async fn fetch<B>(
    upstreams: &Upstreams,
    endpoint: &Endpoint,
    outgoing: &mut Outgoing<B>,
) -> Outcome
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut outcome = Outcome::default();
    let interims = &mut outcome.interims;
    let sent = upstreams.send(endpoint, outgoing, |status, _| interims.push(status.as_u16())).await;
    let response = match sent {
        Ok(Answer::Response(response)) => response,
        Ok(Answer::Upgraded(response, _)) => {
            outcome.status = response.status().as_u16();
            return outcome;
        }
        Err(error) => {
            outcome.error = Some(kind(&error));
            return outcome;
        }
    };
    let (parts, mut body) = response.into_parts();
    outcome.status = parts.status.as_u16();
    outcome.headers = sorted(&parts.headers);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) if frame.is_trailers() => {
                outcome.trailers = sorted(frame.trailers_ref().unwrap());
            }
            Ok(frame) => outcome.body.extend_from_slice(frame.data_ref().unwrap()),
            Err(error) => {
                outcome.error = Some(kind(&error));
                break;
            }
        }
    }
    outcome
}

fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut all: Vec<_> = headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect();
    all.sort();
    all
}
