//! The guard under hyper: what a client reads, and what the service was asked.

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::violation::Violation;
use super::super::{Guarded, Handle};

const GET: &str = "GET /get HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE: &str =
    "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
const DECLINED: &str =
    "GET /declined HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

/// What came of a connection.
#[derive(Debug)]
struct Outcome {
    /// `path length` or `path error` for each request.
    requests: Vec<String>,
    /// All the client read.
    answers: String,
    violation: Option<Violation>,
    /// All that came behind an accepted upgrade.
    opaque: Vec<u8>,
}

impl Outcome {
    fn statuses(&self) -> Vec<&str> {
        self.answers
            .match_indices("HTTP/1.1 ")
            .map(|(at, _)| &self.answers[at + 9..at + 12])
            .collect()
    }
}

/// Serves one connection whose client sends `input` through a pipe of `pipe` bytes and then ends its side, or not.
async fn converse(input: &[u8], pipe: usize, end: bool) -> Outcome {
    let (mut client, server) = duplex(pipe);
    let guarded = Guarded::new(server);
    let handle = guarded.handle();
    let requests = RefCell::new(Vec::new());
    let service = service_fn(|request| answer(request, &requests, &handle));
    let served = async {
        let mut builder = http1::Builder::new();
        builder.half_close(true).header_read_timeout(None);
        let mut http = builder.serve_connection(TokioIo::new(guarded), service);
        let _ = (&mut http).await;
        let mut parts = http.into_parts();
        assert!(parts.read_buf.is_empty(), "nothing of an upgraded stream has passed early");
        let mut opaque = Vec::new();
        if requests.borrow().iter().any(|request| request.starts_with("/upgrade")) {
            parts.io.inner_mut().read_to_end(&mut opaque).await.unwrap();
        }
        opaque
    };
    let (opaque, answers) = tokio::join!(served, talk(&mut client, input, end));
    Outcome { requests: requests.take(), answers, violation: handle.violation(), opaque }
}

async fn talk(client: &mut DuplexStream, input: &[u8], end: bool) -> String {
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut answers = Vec::new();
    let write = async {
        // The server may close before it has read everything.
        let _ = writer.write_all(input).await;
        if end {
            let _ = writer.shutdown().await;
        }
    };
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut answers));
    read.unwrap();
    String::from_utf8(answers).unwrap()
}

async fn answer(
    request: Request<Incoming>,
    requests: &RefCell<Vec<String>>,
    handle: &Handle,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let switch = path == "/upgrade";
    if switch {
        handle.upgraded();
    }
    let (note, status) = match request.into_body().collect().await {
        Ok(body) => (body.to_bytes().len().to_string(), StatusCode::OK),
        Err(_) => {
            ("error".to_owned(), handle.violation().map_or(StatusCode::OK, Violation::status))
        }
    };
    requests.borrow_mut().push(format!("{path} {note}"));
    let status = if switch { StatusCode::SWITCHING_PROTOCOLS } else { status };
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    Ok(answer)
}

/// Pipes so small that everything is torn, and so large that everything comes at once.
const PIPES: [usize; 4] = [1, 7, 64, 1 << 20];

#[tokio::test]
async fn a_bad_head_is_answered_behind_the_good_ones() {
    for pipe in PIPES {
        let bad = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
        let outcome = converse(format!("{GET}{GET}{bad}{GET}").as_bytes(), pipe, true).await;
        assert_eq!(outcome.requests, ["/get 0", "/get 0"], "pipe {pipe}");
        assert_eq!(outcome.statuses(), ["200", "200", "400"], "pipe {pipe}");
        assert!(
            outcome.answers.ends_with("400 Bad Request: several Host fields\n"),
            "{}",
            outcome.answers
        );
        assert_eq!(outcome.violation, Some(Violation::DuplicateHost));
    }
}

#[tokio::test]
async fn a_bad_first_head_is_answered_alone() {
    for (head, status) in [
        ("GET / HTTP/1.1\n\n", "400"),
        ("GET / HTTP/2.0\r\n\r\n", "505"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "501"),
        (&format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)), "414"),
        (&format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(200)), "431"),
    ] {
        for pipe in PIPES {
            let outcome = converse(head.as_bytes(), pipe, true).await;
            assert_eq!(outcome.requests, [""; 0], "{head}");
            assert_eq!(outcome.statuses(), [status], "{head}");
        }
    }
}

#[tokio::test]
async fn half_a_head_is_no_request() {
    for pipe in PIPES {
        let outcome = converse(format!("{GET}{}", &GET[..20]).as_bytes(), pipe, true).await;
        assert_eq!(outcome.statuses(), ["200"]);
        assert_eq!(outcome.violation, None);
    }
}

#[tokio::test]
async fn a_large_head_and_bodies_pass_whole() {
    let large = format!("GET /large HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(60_000));
    let sized = format!(
        "POST /sized HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{}",
        "\n".repeat(5000)
    );
    let chunked = "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n";
    for pipe in PIPES {
        let outcome =
            converse(format!("{large}{sized}{chunked}{GET}").as_bytes(), pipe, true).await;
        assert_eq!(
            outcome.requests,
            ["/large 0", "/sized 5000", "/chunked 3", "/get 0"],
            "pipe {pipe}"
        );
        assert_eq!(outcome.statuses(), ["200"; 4]);
    }
}

#[tokio::test]
async fn a_bad_chunk_fails_the_upload_and_ends_the_connection() {
    let head = "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["3\r\nabc\r\nzz\r\n", "3\nabc\n0\n\n", "0\r\nContent-Length: 3\r\n\r\n"] {
        for pipe in PIPES {
            let outcome = converse(format!("{GET}{head}{body}{GET}").as_bytes(), pipe, true).await;
            assert_eq!(outcome.requests, ["/get 0", "/chunked error"], "pipe {pipe} {body:?}");
            assert_eq!(outcome.statuses(), ["200", "400"]);
        }
    }
}

#[tokio::test]
async fn bytes_behind_an_accepted_upgrade_pass_unread() {
    let opaque = "\0\n not http \r\n\r\n".repeat(50);
    for pipe in PIPES {
        let outcome = converse(format!("{GET}{UPGRADE}{opaque}").as_bytes(), pipe, true).await;
        assert_eq!(outcome.statuses(), ["200", "101"]);
        assert_eq!(outcome.opaque, opaque.as_bytes(), "pipe {pipe}");
        assert_eq!(outcome.violation, None);
    }
}

#[tokio::test]
async fn bytes_behind_a_declined_upgrade_are_checked() {
    for pipe in PIPES {
        let outcome = converse(format!("{DECLINED}{GET}").as_bytes(), pipe, true).await;
        assert_eq!(outcome.requests, ["/declined 0", "/get 0"], "pipe {pipe}");
        // Once an upgrade was asked for, hyper leaves the transport to it and never shuts it down.
        let outcome = converse(format!("{DECLINED}\0\n\r\n").as_bytes(), pipe, true).await;
        assert_eq!(outcome.statuses(), ["200"], "pipe {pipe}");
        assert_eq!(outcome.violation, Some(Violation::ControlByte));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_stays_is_dropped() {
    let start = tokio::time::Instant::now();
    let outcome = converse(b"\0\r\n", 64, false).await;
    assert_eq!(outcome.statuses(), ["400"]);
    assert!(start.elapsed() <= Duration::from_secs(2));
}
