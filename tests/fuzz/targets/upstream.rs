//! What an app sends back, to both ways of speaking HTTP to it: they must tell the same story.
//!
//! The input is all that the app ever sends on its connection, which then ends.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Empty};
use model::UpstreamTls;
use runtime::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use upstream::{Answer, Endpoint, ExchangeKind, Outgoing, Settings, Upstreams};

/// Below every limit of lengths, which the two have in different places.
const MAX_ANSWER: usize = 4096;
/// Fewer interim responses than the codec bears.
const MAX_INTERIMS: usize = 8;

struct Origin {
    runtime: LocalRuntime,
    listener: TcpListener,
    endpoint: Endpoint,
}

thread_local! {
    static ORIGIN: Origin = Origin::start();
}

/// What became of an exchange.
#[derive(Debug, Default, PartialEq, Eq)]
struct Story {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
    interims: Vec<u16>,
    is_broken: bool,
}

pub(crate) fn run(data: &[u8]) {
    if data.len() > MAX_ANSWER
        || data.windows(6).filter(|it| it == b"HTTP/1").count() > MAX_INTERIMS
    {
        return;
    }
    ORIGIN.with(|origin| {
        let codec = origin.answers(ExchangeKind::Codec, data);
        if codec.is_broken && is_loose_in_body(data) {
            return;
        }
        let hyper = origin.answers(ExchangeKind::Hyper, data);
        assert_eq!(codec, hyper, "the codec's story and hyper's");
    });
}

impl Origin {
    fn start() -> Self {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_all().build_local(LocalOptions::default()).expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let endpoint = Endpoint::new(address.parse().expect("an upstream"), UpstreamTls::Off);
        Self { runtime, listener, endpoint }
    }

    /// One GET, by this way of speaking, to an app that answers so.
    fn answers(&self, kind: ExchangeKind, data: &[u8]) -> Story {
        self.runtime.block_on(async {
            let settings = Settings { exchange: kind, ..Settings::default() };
            let upstreams = Upstreams::new(settings, Tasks::new());
            let app = async {
                let (mut stream, _) = self.listener.accept().await.expect("a connection");
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(data).await;
            };
            tokio::join!(self.ask(&upstreams), app).0
        })
    }

    async fn ask(&self, upstreams: &Rc<Upstreams>) -> Story {
        let mut story = Story::default();
        let mut headers = HeaderMap::new();
        headers.insert("host", "app.example".parse().expect("a name"));
        let body = Empty::<Bytes>::new();
        let mut request = Outgoing::new(Method::GET, "/".parse().expect("a path"), headers, body);
        let interims = &mut story.interims;
        let interim = |status: http::StatusCode, _: HeaderMap| interims.push(status.as_u16());
        let response = match upstreams.send(&self.endpoint, &mut request, interim).await {
            Ok(Answer::Response(response)) => response,
            Ok(Answer::Upgraded(..)) => panic!("no upgrade was asked for"),
            Err(_) => return Story { is_broken: true, ..Story::default() },
        };
        let (head, mut body) = response.into_parts();
        story.status = head.status.as_u16();
        story.headers = sorted(&head.headers);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                // How far a damaged body is believed differs, not that it is damaged.
                (story.body, story.trailers, story.is_broken) = (Vec::new(), Vec::new(), true);
                break;
            };
            match frame.trailers_ref() {
                Some(trailers) => story.trailers = sorted(trailers),
                None => story.body.extend(frame.into_data().expect("the other kind")),
            }
        }
        story
    }
}

fn sorted(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.as_bytes().to_vec())
    };
    let mut all: Vec<_> = headers.iter().map(field).collect();
    all.sort();
    all
}

/// Whether what follows the heads has what the codec refuses on purpose and hyper bears: lines of trailers that end in LF alone,
/// control characters in an extension of a chunk.
fn is_loose_in_body(data: &[u8]) -> bool {
    let mut at = 0;
    while data[at..].starts_with(b"HTTP/") {
        at = end_of_head(data, at);
    }
    let body = &data[at..];
    // The byte before is the last one of the heads.
    let bare = data[at.saturating_sub(1)..].windows(2).any(|it| it[0] != b'\r' && it[1] == b'\n');
    bare || has_control_in_extension(body)
}

/// Where the head that begins at `from` ends: after its empty line. The lines of a head may end in LF alone.
fn end_of_head(data: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(line) = data[at..].iter().position(|byte| *byte == b'\n') {
        let is_empty = matches!(&data[at..at + line], b"" | b"\r");
        at += line + 1;
        if is_empty {
            return at;
        }
    }
    data.len()
}

fn has_control_in_extension(mut body: &[u8]) -> bool {
    while let Some(end) = body.windows(2).position(|it| it == b"\r\n") {
        let (line, after) = (&body[..end], &body[end + 2..]);
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if line[digits..].iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return true;
        }
        let digits = std::str::from_utf8(&line[..digits]).unwrap_or_default();
        match usize::from_str_radix(digits, 16) {
            Ok(size @ 1..=MAX_ANSWER) if after.len() > size + 2 => body = &after[size + 2..],
            _ => return false,
        }
    }
    false
}
