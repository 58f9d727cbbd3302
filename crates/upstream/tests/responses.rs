//! The differential suite, towards us: what an origin may answer, byte for byte, and what both ways of speaking
//! HTTP must make of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::fmt::Write as _;

use http::Method;
use support::{BOTH, Frames, Origin, Outcome, fetch, get, outgoing, run, upstreams};
use upstream::ExchangeKind;

/// What follows the origin's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection ends.
    Close,
    /// It stays, for another request.
    Stay,
}
use Then::{Close, Stay};

struct Case {
    name: &'static str,
    method: Method,
    answer: &'static str,
    then: Then,
    want: Want,
    /// Where hyper is known to differ, and how.
    hyper: Option<Want>,
    /// Bytes beyond the response are seen only if they come with it.
    at_once: bool,
}

/// What must come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Status, body, and whether the connection is used again.
    Whole(u16, &'static str, bool),
    /// The body breaks off with this kind of error, after a whole head.
    Broken(u16, &'static str),
    /// No head at all.
    Error(&'static str),
}
use Want::{Broken, Error, Whole};

fn case(name: &'static str, answer: &'static str, then: Then, want: Want) -> Case {
    Case { name, method: Method::GET, answer, then, want, hyper: None, at_once: false }
}

fn with(mut case: Case, method: Method) -> Case {
    case.method = method;
    case
}

/// An answer with more behind it than belongs to it.
fn excess(mut case: Case) -> Case {
    case.at_once = true;
    case
}

/// A deliberate difference.
fn hyper(mut case: Case, want: Want) -> Case {
    case.hyper = Some(want);
    case
}

fn lengths() -> Vec<Case> {
    vec![
        case(
            "length",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            Stay,
            Whole(200, "hello", true),
        ),
        case(
            "length 0",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Stay,
            Whole(200, "", true),
        ),
        case(
            "length with zeros",
            "HTTP/1.1 200 OK\r\ncontent-length: 0005\r\n\r\nhello",
            Stay,
            Whole(200, "hello", true),
        ),
        case(
            "same length twice",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
            Stay,
            Whole(200, "hello", true),
        ),
        case(
            "same length in a list",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello",
            Stay,
            Whole(200, "hello", true),
        ),
        case(
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
            Stay,
            Error("bad"),
        ),
        case(
            "two lengths in a list",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello!",
            Stay,
            Error("bad"),
        ),
        case(
            "signed length",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
            Stay,
            Error("bad"),
        ),
        case(
            "negative length",
            "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
            Stay,
            Error("bad"),
        ),
        case(
            "hexadecimal length",
            "HTTP/1.1 200 OK\r\ncontent-length: 0x5\r\n\r\nhello",
            Stay,
            Error("bad"),
        ),
        case(
            "empty length",
            "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nhello",
            Close,
            Error("bad"),
        ),
        case(
            "length beyond 64 bits",
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\nhello",
            Stay,
            Error("bad"),
        ),
        case(
            "too few bytes",
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello",
            Close,
            Broken(200, "truncated"),
        ),
        case(
            "no bytes",
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n",
            Close,
            Broken(200, "truncated"),
        ),
        excess(case(
            "too many bytes",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhello",
            Stay,
            Whole(200, "hell", false),
        )),
        excess(case(
            "another response behind",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Stay,
            Whole(200, "x", false),
        )),
        case("up to the end", "HTTP/1.1 200 OK\r\n\r\nhello", Close, Whole(200, "hello", false)),
        case("nothing up to the end", "HTTP/1.1 200 OK\r\n\r\n", Close, Whole(200, "", false)),
    ]
}

fn chunks() -> Vec<Case> {
    vec![
        case(
            "chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
            Stay,
            Whole(200, "hello!", true),
        ),
        case(
            "no chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Stay,
            Whole(200, "", true),
        ),
        case(
            "many zeros",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0000\r\n\r\n",
            Stay,
            Whole(200, "hello", true),
        ),
        case(
            "CHUNKED",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Stay,
            Whole(200, "hello", true),
        ),
        case(
            "upper hex",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
            Stay,
            Whole(200, "0123456789", true),
        ),
        case(
            "extension",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0;z\r\n\r\n",
            Stay,
            Whole(200, "hello", true),
        ),
        case(
            "padded size",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5  \r\nhello\r\n0\r\n\r\n",
            Stay,
            Whole(200, "hello", true),
        ),
        case(
            "trailers",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\nx-b: 2\r\n\r\n",
            Stay,
            Whole(200, "hello", true),
        ),
        case(
            "trailers that must not be",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 9\r\nset-cookie: a=b\r\n\r\n",
            Stay,
            Whole(200, "", true),
        ),
        case(
            "bad trailer",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "size of nothing",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "size with a sign",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "size with 0x",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "size after a space",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "size beyond 64 bits",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\nhello\r\n0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "size ended by LF",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "size ended by CR",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\rhello\r\n0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "LF in an extension",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "no CRLF after a chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "chunk longer than it says",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
            Close,
            Broken(200, "bad"),
        ),
        case(
            "cut in a chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello",
            Close,
            Broken(200, "truncated"),
        ),
        case(
            "cut between chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Close,
            Broken(200, "truncated"),
        ),
        case(
            "cut in a size",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1",
            Close,
            Broken(200, "truncated"),
        ),
        case(
            "cut before the last line",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            Close,
            Broken(200, "truncated"),
        ),
        case(
            "cut in the trailers",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n",
            Close,
            Broken(200, "truncated"),
        ),
        excess(case(
            "bytes behind the last chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP",
            Stay,
            Whole(200, "hello", false),
        )),
        case(
            "length and chunks",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Stay,
            Error("bad"),
        ),
        case(
            "gzip, chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            Stay,
            Error("bad"),
        ),
        case(
            "chunked, gzip",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            Stay,
            Error("bad"),
        ),
        case(
            "identity",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nhello",
            Close,
            Error("bad"),
        ),
        case(
            "chunked twice",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Stay,
            Error("bad"),
        ),
        case(
            "chunks in HTTP/1.0",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Close,
            Error("bad"),
        ),
    ]
}

fn without_body() -> Vec<Case> {
    vec![
        with(
            case(
                "HEAD",
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
                Stay,
                Whole(200, "", true),
            ),
            Method::HEAD,
        ),
        with(
            case(
                "HEAD, chunked",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                Stay,
                Whole(200, "", true),
            ),
            Method::HEAD,
        ),
        with(
            excess(case(
                "HEAD with a body all the same",
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
                Stay,
                Whole(200, "", false),
            )),
            Method::HEAD,
        ),
        case("204", "HTTP/1.1 204 No Content\r\n\r\n", Stay, Whole(204, "", true)),
        case(
            "204 with a length",
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
            Stay,
            Whole(204, "", true),
        ),
        case(
            "304 with a length",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            Stay,
            Whole(304, "", true),
        ),
        excess(case(
            "304 with a body all the same",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello",
            Stay,
            Whole(304, "", false),
        )),
        case(
            "205",
            "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
            Stay,
            Whole(205, "", true),
        ),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        case(
            "close",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", false),
        ),
        case(
            "close in a list",
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", false),
        ),
        case(
            "close and keep-alive",
            "HTTP/1.1 200 OK\r\nconnection: close\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", false),
        ),
        case(
            "HTTP/1.0",
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", false),
        ),
        case(
            "HTTP/1.0, keep-alive",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", true),
        ),
        case("HTTP/1.0 up to the end", "HTTP/1.0 200 OK\r\n\r\nhi", Close, Whole(200, "hi", false)),
        case(
            "interim ones",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", true),
        ),
        case(
            "100 unasked",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", true),
        ),
        hyper(
            case(
                "interim and then nothing",
                "HTTP/1.1 103 Early Hints\r\n\r\n",
                Close,
                Error("truncated"),
            ),
            Error("closed"),
        ),
        case(
            "101 unasked",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            Stay,
            Error("bad"),
        ),
        case(
            "no reason",
            "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", true),
        ),
        case(
            "no space either",
            "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", true),
        ),
        case(
            "odd status",
            "HTTP/1.1 799 Odd\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(799, "hi", true),
        ),
        case(
            "line ends of LF",
            "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
            Stay,
            Whole(200, "hi", true),
        ),
        case(
            "high bytes",
            "HTTP/1.1 200 OK\r\nx-name: caf\u{e9}\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", true),
        ),
        case(
            "empty value",
            "HTTP/1.1 200 OK\r\nx-none:\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", true),
        ),
        case(
            "same field twice",
            "HTTP/1.1 200 OK\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 2\r\n\r\nhi",
            Stay,
            Whole(200, "hi", true),
        ),
    ]
}

fn malformed() -> Vec<Case> {
    vec![
        case("nothing", "", Close, Error("closed")),
        hyper(
            case("half a head", "HTTP/1.1 200 OK\r\ncontent-le", Close, Error("truncated")),
            Error("closed"),
        ),
        case("HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n", Close, Error("bad")),
        case("no version", "200 OK\r\n\r\n", Close, Error("bad")),
        case("text", "SSH-2.0-OpenSSH_9.2p1\r\n\r\n", Close, Error("bad")),
        case("TLS", "\u{15}\u{3}\u{1}\0\u{2}\u{2}F", Close, Error("bad")),
        case("status of two digits", "HTTP/1.1 20 OK\r\n\r\n", Close, Error("bad")),
        case("status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", Close, Error("bad")),
        case("status below 100", "HTTP/1.1 099 Low\r\n\r\n", Close, Error("bad")),
        case(
            "space before the colon",
            "HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello",
            Close,
            Error("bad"),
        ),
        case(
            "folded field",
            "HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\ncontent-length: 2\r\n\r\nhi",
            Close,
            Error("bad"),
        ),
        case("field without a name", "HTTP/1.1 200 OK\r\n: b\r\n\r\n", Close, Error("bad")),
        case("field without a colon", "HTTP/1.1 200 OK\r\nnothing\r\n\r\n", Close, Error("bad")),
        case("NUL in a value", "HTTP/1.1 200 OK\r\nx-a: a\0b\r\n\r\n", Close, Error("bad")),
        case("CR in a value", "HTTP/1.1 200 OK\r\nx-a: a\rb\r\n\r\n", Close, Error("bad")),
    ]
}

fn want_of(outcome: &Outcome, body: &'static str, reused: bool) -> Want {
    match outcome.error {
        Some(error) if outcome.status == 0 => Error(error),
        Some(error) => Broken(outcome.status, error),
        None if outcome.body == body.as_bytes() => Whole(outcome.status, body, reused),
        None => Whole(outcome.status, "another body", reused),
    }
}

/// One request, the origin's bytes in `pieces`, and then a second request, to see whether it takes the same
/// connection.
async fn exchange(
    kind: ExchangeKind,
    method: &Method,
    pieces: &[&[u8]],
    then: Then,
) -> (Outcome, bool) {
    let origin = Origin::bind().await;
    let (upstreams, endpoint) = (upstreams(kind), origin.endpoint());
    let client = async {
        let first =
            fetch(&upstreams, &endpoint, &mut outgoing(method.clone(), "/", Frames::default()))
                .await;
        let second = fetch(&upstreams, &endpoint, &mut get("/second")).await;
        assert_eq!(second.status, 200, "{second:?}");
        first
    };
    let server = async {
        let mut conn = origin.accept().await;
        assert_eq!(conn.request().await.unwrap().body, b"");
        for piece in pieces {
            // The other end may have heard enough.
            if conn.try_send(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let again = if then == Stay {
            conn.request().await
        } else {
            drop(conn.stream);
            let mut next = origin.accept().await;
            next.request().await.unwrap();
            next.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            return false;
        };
        let reused = again.is_some();
        if !reused {
            conn = origin.accept().await;
            conn.request().await.unwrap();
        }
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        reused
    };
    tokio::join!(client, server)
}

#[test]
fn both_make_the_same_of_every_answer() {
    let mut wrong = String::new();
    let groups = [lengths(), chunks(), without_body(), connections(), malformed()];
    for case in groups.iter().flatten() {
        let body = match case.want {
            Whole(_, body, _) => body,
            _ => "",
        };
        let whole = [case.answer.as_bytes()];
        let bytes: Vec<&[u8]> = case.answer.as_bytes().chunks(1).collect();
        for kind in BOTH {
            let want = if kind == ExchangeKind::Hyper {
                case.hyper.unwrap_or(case.want)
            } else {
                case.want
            };
            for (how, pieces) in [("whole", &whole[..]), ("byte by byte", &bytes[..])] {
                if case.at_once && how != "whole" {
                    continue;
                }
                let (outcome, reused) = run(exchange(kind, &case.method, pieces, case.then));
                let got = want_of(&outcome, body, reused);
                if got != want {
                    let _ = writeln!(
                        wrong,
                        "{} ({kind:?}, {how}): {want:?} wanted, {got:?} got: {outcome:?}",
                        case.name
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
