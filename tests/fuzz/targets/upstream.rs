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

/// Whether what follows the first head has what the codec refuses on purpose and hyper bears: lines of trailers that end in LF
/// alone, control characters in an extension of a chunk. (They may be data as well; then the two are not compared.)
fn is_loose_in_body(data: &[u8]) -> bool {
    // The lines of a head may end so: only what follows its first empty line counts.
    let empty = |at: &usize| {
        data[*at] == b'\n' && matches!(data[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..])
    };
    let head = (0..data.len()).find(empty).unwrap_or(0);
    let body = head + if data[head..].starts_with(b"\n\r") { 2 } else { 1 };
    let body = &data[body.min(data.len())..];
    let controls = |byte: &u8| byte.is_ascii_control() && !b"\t\r\n".contains(byte);
    body.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n') || body.iter().any(controls)
}
