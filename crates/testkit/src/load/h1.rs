//! A small HTTP/1.1 client on the bare socket: hyper can't say whether the peer had read a request that got no answer.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;

use super::{Ending, Record, Schedule, pause};
use crate::client::{self, Front};

/// How long the kernel of a peer on this machine may take to answer bytes for a closed socket with a reset.
const RESET: Duration = Duration::from_millis(250);
/// No test's answer takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where to.
pub(super) enum Target {
    Plain(SocketAddr),
    Tls(Box<Front>),
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Sends by `schedule` until stopped or until no connection can be opened.
pub(super) async fn run(
    target: Target,
    mut schedule: Schedule,
    mut stopped: watch::Receiver<bool>,
) -> Vec<Record> {
    let mut records = Vec::new();
    'connections: loop {
        let (mut id, mut due) = schedule.next();
        if !pause(due, &mut stopped).await {
            return records;
        }
        let mut stream = match open(&target, &schedule.plan.host).await {
            Ok(stream) => stream,
            Err(Refused::Connect) => return records,
            Err(Refused::Handshake) => {
                let latency = due.elapsed();
                records.push(Record { id, latency, at: Instant::now(), ending: Ending::Abandoned });
                continue;
            }
        };
        let mut sent = 0;
        loop {
            let (ending, keep) = exchange(&mut stream, &schedule, &id, sent == 0).await;
            records.push(Record { id, latency: due.elapsed(), at: Instant::now(), ending });
            sent += 1;
            if !keep || sent == schedule.plan.per_connection {
                continue 'connections;
            }
            (id, due) = schedule.next();
            if !pause(due, &mut stopped).await {
                return records;
            }
        }
    }
}

enum Refused {
    Connect,
    Handshake,
}

async fn open(target: &Target, host: &str) -> Result<Stream, Refused> {
    match target {
        Target::Plain(addr) => {
            let stream = TcpStream::connect(addr).await.map_err(|_| Refused::Connect)?;
            let _ = stream.set_nodelay(true);
            Ok(Stream::Plain(stream))
        }
        Target::Tls(front) => match client::tls(front, host, &["http/1.1"]).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Refused::Connect),
            Err(_) => Err(Refused::Handshake),
        },
    }
}

/// One request and its answer: how it ended, and whether the connection serves another.
async fn exchange(
    stream: &mut Stream,
    schedule: &Schedule,
    id: &str,
    fresh: bool,
) -> (Ending, bool) {
    let (host, path) = (&schedule.plan.host, &schedule.plan.path);
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nx-test-id: {id}\r\n\r\n");
    let answered = async {
        match stream {
            Stream::Plain(stream) => answer(stream, request.as_bytes()).await,
            Stream::Tls(stream) => answer(stream, request.as_bytes()).await,
        }
    };
    let answered = tokio::time::timeout(PATIENCE, answered).await.unwrap_or(Answered::Cut);
    match answered {
        Answered::Whole { status, keep } => (Ending::Whole(status), keep),
        Answered::Cut => (Ending::Cut, false),
        Answered::Nothing { reset } => {
            let unread = reset || later_reset(stream).await;
            let ending = match (unread, fresh) {
                (true, true) => Ending::Abandoned,
                (true, false) => Ending::Unread,
                (false, _) => Ending::Swallowed,
            };
            (ending, false)
        }
    }
}

enum Answered {
    Whole { status: u16, keep: bool },
    Cut,
    Nothing { reset: bool },
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> Answered {
    if stream.write_all(request).await.is_err() {
        // The socket was closed before: whatever the answer, it is not to this.
        return Answered::Nothing { reset: true };
    }
    let mut buffer = Vec::with_capacity(4096);
    loop {
        match parse(&buffer) {
            Parsed::Whole { status, keep } => return Answered::Whole { status, keep },
            Parsed::Broken => return Answered::Cut,
            Parsed::Partial => {}
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) if buffer.is_empty() => return Answered::Nothing { reset: false },
            Err(_) if buffer.is_empty() => return Answered::Nothing { reset: true },
            Ok(0) | Err(_) => return Answered::Cut,
            Ok(_) => {}
        }
    }
}

enum Parsed {
    Whole { status: u16, keep: bool },
    Partial,
    Broken,
}

/// Understands what the test apps send: a head with `Content-Length`, or a chunked body with its last chunk.
fn parse(buffer: &[u8]) -> Parsed {
    let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") else {
        return Parsed::Partial;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let body = &buffer[end + 4..];
    let Some(status) = head.get(9..12).and_then(|it| it.parse().ok()) else {
        return Parsed::Broken;
    };
    let field = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    let keep = field("connection") != Some("close");
    let whole = match field("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) if body.len() > length => return Parsed::Broken,
        Some(Ok(length)) => body.len() == length,
        Some(Err(_)) => return Parsed::Broken,
        None => body.ends_with(b"0\r\n\r\n"),
    };
    if whole { Parsed::Whole { status, keep } } else { Parsed::Partial }
}

/// After a clean end of the stream: whether the kernel then refuses what was sent, which it does exactly when the
/// peer's socket was closed before the bytes came.
async fn later_reset(stream: &mut Stream) -> bool {
    let Stream::Plain(stream) = stream else { return true };
    let start = Instant::now();
    while start.elapsed() < RESET {
        if !matches!(stream.take_error(), Ok(None)) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::{Load, Plan};
    use super::*;
    use crate::{RawOrigin, until};

    fn plan(rate: u32) -> Plan {
        Plan {
            label: "t",
            rate,
            connections: 1,
            host: "a.test".into(),
            path: "/".into(),
            per_connection: 0,
        }
    }

    async fn first_ending(origin: &RawOrigin, number: usize) -> Ending {
        let load = Load::h1(origin.addr(), &plan(100));
        until("requests", PATIENCE, async || (origin.received().len() > number + 1).then_some(()))
            .await;
        load.finish().await.records[number].ending
    }

    #[tokio::test]
    async fn a_request_that_was_read_and_not_answered_is_told_from_one_that_was_not_read() {
        let reads = RawOrigin::start(|mut it| async move {
            it.read_head().await;
        });
        assert_eq!(first_ending(&reads, 0).await, Ending::Swallowed);

        let ignores = RawOrigin::start(|mut it| async move {
            let _ = it.stream().readable().await;
        });
        assert_eq!(first_ending(&ignores, 0).await, Ending::Abandoned);

        let cuts = RawOrigin::start(|mut it| async move {
            it.read_head().await;
            it.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok").await;
        });
        assert_eq!(first_ending(&cuts, 0).await, Ending::Cut);
    }

    #[tokio::test]
    async fn a_connection_closed_between_requests_leaves_them_unread() {
        let origin = RawOrigin::start(|mut it| async move {
            it.read_head().await;
            it.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        });
        let load = Load::h1(origin.addr(), &plan(100));
        until("requests", PATIENCE, async || (origin.received().len() > 2).then_some(())).await;
        let report = load.finish().await;
        assert_eq!(report.records[0].ending, Ending::Whole(200));
        assert_eq!(report.records[1].ending, Ending::Unread);
        assert!(report.except(&[Ending::Whole(200), Ending::Unread]).is_empty(), "{report}");
    }
}
