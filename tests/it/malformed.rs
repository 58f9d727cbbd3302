//! Malformed requests never reach an app, never change what a good neighbour gets, and never hurt the proxy.
//!
//! Each case goes over plain TCP and over TLS, as the first request of a connection and behind a good one, and always
//! with a good request pipelined behind it. The judge is an origin that keeps every byte: it may see the good first
//! request and nothing else, well-formed to the last byte, or the beginning of an upload whose end never comes.

mod cases;
mod h2;
mod record;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use testkit::client::{self, Front};
use testkit::{RawOrigin, System, shared, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use cases::Case;

const HOST: &str = "bad.localhost";
/// Connections at a time.
const PARALLEL: usize = 24;
/// From the last byte sent to the end of the connection.
const DEADLINE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_reach_nobody_by_our_codec() {
    malformed_requests_reach_nobody("codec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_reach_nobody_by_hypers_client() {
    malformed_requests_reach_nobody("hyper").await;
}

async fn malformed_requests_reach_nobody(exchange: &str) {
    let _turn = shared().await;
    let origin = RawOrigin::recording();
    let mut system = System::builder().set("UPSTREAM_EXCHANGE", exchange).start().await;
    system.api.route(HOST, origin.addr()).await;
    let front: Front = (*system.proxies[0]).clone();

    let runs = runs();
    assert!(runs.len() >= 4 * 60, "{} runs", runs.len());
    let mut complaints = converse(&runs, &front).await;
    complaints.extend(judge(&runs, &origin));

    let process = &mut system.proxies[0].process;
    assert!(process.ended().is_none(), "the proxy ended");
    assert!(!process.stderr().contains("panicked"), "{}", process.stderr());
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    println!("{} runs of {} cases", runs.len(), runs.len() / 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_reaches_nobody() {
    let _turn = shared().await;
    let origin = RawOrigin::recording();
    let mut system = System::start().await;
    system.api.route(HOST, origin.addr()).await;
    let front: Front = (*system.proxies[0]).clone();

    let mut conversations = JoinSet::new();
    for case in cases::tls() {
        let front = front.clone();
        conversations.spawn(async move {
            let mut stream = TcpStream::connect(front.https).await.unwrap();
            let answer =
                within(&case.name, DEADLINE, exchange(&mut stream, &case.bytes, case.cut)).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(!answer.contains("HTTP/1.1 200"), "{}: {answer}", case.name);
            alive(&front, &case.name).await;
        });
    }
    conversations.join_all().await;
    let seen: Vec<_> =
        origin.received().iter().map(|bytes| record::requests(bytes).unwrap()).collect();
    assert!(
        seen.iter().flatten().all(|request| request.path == "/alive" && request.complete),
        "{seen:?}"
    );
    let process = &mut system.proxies[0].process;
    assert!(process.ended().is_none(), "the proxy ended");
    assert!(!process.stderr().contains("panicked"), "{}", process.stderr());
}

/// Over HTTP/2 a request may come to an error or to one well-formed request, but never to two, nor to half of one that
/// another completes.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_over_http_2_reach_nobody() {
    let _turn = shared().await;
    let origin = RawOrigin::recording();
    let mut system = System::start().await;
    system.api.route(HOST, origin.addr()).await;
    let front: Front = (*system.proxies[0]).clone();

    let mut conversations = JoinSet::new();
    for (id, case) in h2::cases().into_iter().enumerate() {
        let front = front.clone();
        conversations.spawn(async move {
            h2::converse(&case, &front, &format!("/run-{id}-bad")).await;
            alive(&front, case.name).await;
        });
    }
    conversations.join_all().await;
    let mut seen: HashMap<String, usize> = HashMap::new();
    for bytes in origin.received() {
        for request in record::requests(&bytes).unwrap() {
            *seen.entry(request.path).or_default() += 1;
        }
    }
    seen.remove("/alive");
    seen.remove("/good-on-h2");
    let (known, strange): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(path, count)| {
        path.starts_with("/run-") && path.ends_with("-bad") && *count == 1
    });
    assert!(strange.is_empty(), "the origin saw {strange:?}");
    println!("{} cases, of which {known:?} reached the origin, well-formed", h2::cases().len());
    let process = &mut system.proxies[0].process;
    assert!(process.ended().is_none(), "the proxy ended");
    assert!(!process.stderr().contains("panicked"), "{}", process.stderr());
}

/// One case in one setting.
struct Run {
    /// In the paths of its requests.
    id: usize,
    case: Arc<Case>,
    tls: bool,
    /// Whether a good request comes first.
    second: bool,
}

impl Run {
    fn name(&self) -> String {
        let place = if self.second { "second" } else { "first" };
        let transport = if self.tls { "tls" } else { "plain" };
        format!("{} ({transport}, {place})", self.case.name)
    }

    fn path(&self, part: &str) -> String {
        format!("/run-{}-{part}", self.id)
    }

    /// Everything the client sends, in one piece.
    fn bytes(&self) -> Vec<u8> {
        let good =
            |part| format!("GET {} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", self.path(part)).into_bytes();
        let mut bytes = if self.second { good("first") } else { Vec::new() };
        for &byte in &self.case.bytes {
            match byte {
                b'@' => bytes.extend(self.path("bad").bytes()),
                _ => bytes.push(byte),
            }
        }
        if !self.case.cut {
            bytes.extend(good("next"));
        }
        bytes
    }
}

fn runs() -> Vec<Run> {
    let mut runs = Vec::new();
    for case in cases::http().into_iter().map(Arc::new) {
        for (tls, second) in [(false, false), (false, true), (true, false), (true, true)] {
            runs.push(Run { id: runs.len(), case: case.clone(), tls, second });
        }
    }
    runs
}

/// Has all conversations, each followed by a good one; what was wrong with what the clients read.
async fn converse(runs: &[Run], front: &Front) -> Vec<String> {
    let slots = Arc::new(Semaphore::new(PARALLEL));
    let mut conversations = JoinSet::new();
    for run in runs {
        let (name, bytes, cut) = (run.name(), run.bytes(), run.case.cut);
        let (tls, second, front, slots) = (run.tls, run.second, front.clone(), slots.clone());
        conversations.spawn(async move {
            let _slot = slots.acquire().await;
            let answer = within(&name, DEADLINE, async {
                if tls {
                    let mut stream = client::tls(&front, HOST, &["http/1.1"]).await.unwrap();
                    exchange(&mut stream, &bytes, cut).await
                } else {
                    let mut stream = TcpStream::connect(front.http).await.unwrap();
                    exchange(&mut stream, &bytes, cut).await
                }
            });
            let answer = answer.await;
            alive(&front, &name).await;
            let statuses = statuses(&answer);
            let (good, bad) = statuses.split_at(usize::from(second).min(statuses.len()));
            let refused = match bad {
                [] => true,
                [status] => matches!(status, 400..=499 | 501 | 505),
                _ => false,
            };
            let answered =
                good.len() == usize::from(second) && good.iter().all(|&status| status == 200);
            (!refused || !answered).then(|| format!("{name}: the client read {statuses:?}"))
        });
    }
    conversations.join_all().await.into_iter().flatten().collect()
}

/// Sends all while reading all, until the other side closes.
async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    bytes: &[u8],
    cut: bool,
) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let write = async {
        // The other side may have had enough before the end.
        let _ = writer.write_all(bytes).await;
        let _ = writer.flush().await;
        if cut {
            let _ = writer.shutdown().await;
        }
    };
    // A reset is a close as well; what came before it counts.
    let _ = tokio::join!(write, reader.read_to_end(&mut answer));
    answer
}

/// A good request on a connection of its own is answered.
async fn alive(front: &Front, after: &str) {
    let status = within(after, DEADLINE, good_request(front.http)).await;
    assert_eq!(status, [200], "after {after}");
}

async fn good_request(addr: SocketAddr) -> Vec<u16> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET /alive HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    statuses(&exchange(&mut stream, request.as_bytes(), false).await)
}

/// The statuses of the answers on a connection; an interim one is skipped.
fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status = head.strip_prefix("http/1.1 ").or(head.strip_prefix("http/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no answer: {head:?}"));
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        bytes = &bytes[end + 4..];
        if status >= 200 {
            statuses.push(status);
            bytes = &bytes[length.unwrap_or(bytes.len()).min(bytes.len())..];
        }
    }
    statuses
}

/// What was wrong with what the origin saw.
fn judge(runs: &[Run], origin: &RawOrigin) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complete: HashMap<String, usize> = HashMap::new();
    for bytes in origin.received() {
        match record::requests(&bytes) {
            Ok(requests) => {
                for request in requests.iter().filter(|request| request.complete) {
                    *complete.entry(request.path.clone()).or_default() += 1;
                }
                let cut = requests
                    .iter()
                    .filter(|request| !request.complete && !request.path.ends_with("-bad"));
                complaints
                    .extend(cut.map(|request| format!("the origin saw half of {}", request.path)));
            }
            Err(error) => complaints.push(format!("the origin saw {error}")),
        }
    }
    for run in runs {
        let seen = complete.remove(&run.path("first")).unwrap_or_default();
        if seen != usize::from(run.second) {
            complaints.push(format!("{}: the origin saw {seen} first requests", run.name()));
        }
    }
    complete.remove("/alive");
    for path in complete.keys() {
        let id = path.split('-').nth(1).and_then(|id| id.parse::<usize>().ok());
        let run = id.and_then(|id| runs.get(id)).map_or_else(String::new, Run::name);
        complaints.push(format!("{run}: the origin saw {path:?}"));
    }
    complaints
}
