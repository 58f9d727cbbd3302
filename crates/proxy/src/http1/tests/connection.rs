//! Connections whose bytes come in pieces: what is read of them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::super::link::{Link, Next, RequestBody};
use super::super::request;
use super::super::violation::Violation;
use crate::pulse::Pulse;
use crate::scratch::Scratch;
use crate::stream::Stream;
use crate::time::Time;
use crate::transport::Metered;

const GET: &str = "GET /get HTTP/1.1\r\nHost: a\r\n\r\n";

/// Pipes so small that everything is torn, and so large that everything comes at once.
const PIPES: [usize; 4] = [1, 7, 64, 1 << 20];

/// What was read of a connection.
#[derive(Debug, Default, PartialEq)]
struct Read {
    /// `path length` or `path error` of each request.
    requests: Vec<String>,
    /// What was no request, or no body.
    violation: Option<Violation>,
    /// What stands behind the last request.
    rest: Bytes,
}

/// Reads what a client sends through a pipe of `pipe` bytes, up to a request for `/upgrade`.
async fn read(input: &[u8], pipe: usize) -> Read {
    let (mut client, server) = duplex(pipe);
    let write = async {
        // The other side may stop to read.
        let _ = client.write_all(input).await;
        drop(client);
    };
    let ((), read) = tokio::join!(write, read_requests(Stream::Pipe(server)));
    read
}

async fn read_requests(stream: Stream) -> Read {
    let pulse = Pulse::new(Default::default(), Default::default(), true, Instant::now());
    let pulse = Rc::new(pulse);
    let time = Rc::new(Time::new(runtime::Clock::system()));
    let io = Metered::new(stream, pulse.clone(), time);
    let link = Rc::new(RefCell::new(Link::new(io, pulse)));
    let scratch = Scratch::of(100);
    let mut read = Read::default();
    loop {
        let head = match poll_fn(|cx| link.borrow_mut().poll_head(cx, &scratch)).await.unwrap() {
            Next::Head(head) => head,
            Next::Bad(violation) => {
                read.violation = Some(violation);
                break;
            }
            Next::End => break,
        };
        let parsed =
            request::request(&head, link.borrow_mut().requests().current(), HeaderMap::new());
        let path = parsed.unwrap().0.uri.path().to_owned();
        let body = RequestBody::new(&link).collect().await;
        let note = body.map_or("error".to_owned(), |body| {
            let trailers = body.trailers().map_or(0, HeaderMap::len);
            format!("{}{}", body.to_bytes().len(), "+".repeat(trailers))
        });
        let failed = note == "error";
        read.requests.push(format!("{path} {note}"));
        if failed || path == "/upgrade" {
            break;
        }
        link.borrow_mut().requests().next();
    }
    let Ok(link) = Rc::try_unwrap(link) else { panic!("a body is still held") };
    let link = link.into_inner();
    assert!(link.violation().is_none() || !link.is_read_out(), "nothing follows what is malformed");
    read.violation = read.violation.or(link.violation());
    let (mut io, held) = link.into_parts();
    let mut rest = held.to_vec();
    io.read_to_end(&mut rest).await.unwrap();
    read.rest = rest.into();
    read
}

#[tokio::test]
async fn requests_are_read_one_after_the_other() {
    let large = format!("GET /large HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(60_000));
    let sized = "POST /sized HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n";
    let sized = format!("{sized}{}", "\n".repeat(5000));
    let chunked = "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\nZ: z\r\n\r\n";
    let half = &GET[..20];
    for pipe in PIPES {
        let seen = read(format!("{large}{sized}{chunked}{GET}{half}").as_bytes(), pipe).await;
        let expected = ["/large 0", "/sized 5000", "/chunked 5++", "/get 0"];
        assert_eq!((&seen.requests[..], seen.violation), (&expected.map(String::from)[..], None));
    }
}

#[tokio::test]
async fn nothing_is_read_behind_what_is_no_request() {
    for (bad, requests, violation) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 1, Violation::DuplicateHost),
        ("GET / HTTP/1.1\n\n", 1, Violation::BareLf),
        (
            "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
            2,
            Violation::ChunkSize,
        ),
        (
            "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
            2,
            Violation::ChunkSize,
        ),
        (
            "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n",
            2,
            Violation::ForbiddenTrailer,
        ),
        (
            "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
            2,
            Violation::BareLf,
        ),
    ] {
        for pipe in PIPES {
            let seen = read(format!("{GET}{bad}{GET}").as_bytes(), pipe).await;
            assert_eq!((seen.requests.len(), seen.violation), (requests, Some(violation)), "{bad}");
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    for body in ["Content-Length: 4\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        for pipe in PIPES {
            let input = format!("POST /p HTTP/1.1\r\nHost: a\r\n{body}");
            assert_eq!(read(input.as_bytes(), pipe).await.requests, ["/p error"]);
        }
    }
}

#[tokio::test]
async fn what_follows_an_upgrade_is_left_alone() {
    let opaque = "\0\n not http \r\n\r\n";
    let upgrade = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    for pipe in PIPES {
        let seen = read(format!("{GET}{upgrade}{opaque}").as_bytes(), pipe).await;
        assert_eq!(seen.requests, ["/get 0", "/upgrade 0"]);
        assert_eq!((&seen.rest[..], seen.violation), (opaque.as_bytes(), None), "pipe {pipe}");
    }
}
