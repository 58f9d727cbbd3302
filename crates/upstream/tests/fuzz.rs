//! The differential suite, fuzzed: random and randomly damaged answers towards us, random requests from us. Both
//! ways of speaking HTTP must tell the same story.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::Received;
use support::{BOTH, Frames, Origin, Outcome, fetch, outgoing, run, upstreams};
use upstream::ExchangeKind;

/// A well-formed answer, and what it says.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    /// Each a chunk, if it is chunked.
    pieces: Vec<Vec<u8>>,
    framing: Framing,
    trailers: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    Close,
}

impl Answer {
    fn body(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} Some Reason\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            out.extend(format!("{name}: {value}\r\n").bytes());
        }
        match self.framing {
            Framing::Length => {
                out.extend(format!("content-length: {}\r\n\r\n", self.body().len()).bytes());
                out.extend(self.body());
            }
            Framing::Close => {
                out.extend(b"\r\n");
                out.extend(self.body());
            }
            Framing::Chunked => {
                out.extend(b"transfer-encoding: chunked\r\n\r\n");
                for piece in &self.pieces {
                    out.extend(format!("{:x}\r\n", piece.len()).bytes());
                    out.extend(piece);
                    out.extend(b"\r\n");
                }
                out.extend(b"0\r\n");
                for (name, value) in &self.trailers {
                    out.extend(format!("{name}: {value}\r\n").bytes());
                }
                out.extend(b"\r\n");
            }
        }
        out
    }
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof!["x-[a-z]{1,6}", Just("date".to_owned()), Just("etag".to_owned())];
    let value = "[!-~]([ -~]{0,12}[!-~])?";
    vec((name, value), 0..6)
}

fn answers() -> impl Strategy<Value = Answer> {
    let framing = select(vec![Framing::Length, Framing::Chunked, Framing::Close]);
    let piece = prop_oneof![4 => vec(any::<u8>(), 1..40), 1 => vec(any::<u8>(), 1..30_000)];
    (select(vec![200u16, 201, 404, 500, 599]), fields(), vec(piece, 0..6), framing, fields())
        .prop_map(|(status, headers, pieces, framing, trailers)| {
            let trailers = if framing == Framing::Chunked { trailers } else { Vec::new() };
            Answer { status, headers, pieces, framing, trailers }
        })
}

/// `bytes` cut at some places.
fn split<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in at.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[from..to]);
        from = to;
    }
    pieces
}

/// One GET; the origin answers with these pieces and closes.
async fn ask(kind: ExchangeKind, pieces: &[&[u8]]) -> Outcome {
    let origin = Origin::bind().await;
    let (upstreams, endpoint) = (upstreams(kind), origin.endpoint());
    let mut request = outgoing(Method::GET, "/", Frames::default());
    let client = fetch(&upstreams, &endpoint, &mut request);
    let server = async {
        let mut conn = origin.accept().await;
        conn.request().await.unwrap();
        for piece in pieces {
            if conn.try_send(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(client, server).0
}

/// What must be equal of a damaged answer: how far it is believed, not at which byte the damage is seen.
fn story(mut outcome: Outcome) -> Outcome {
    if outcome.error.is_some() {
        outcome.body.clear();
        outcome.trailers.clear();
        // Where the bytes end before the damage is certain, one may see the damage and the other the end.
        outcome.error = Some("broken");
    }
    outcome
}

fn bare_line_feed_in_body(bytes: &[u8]) -> bool {
    let body = bytes.windows(4).position(|mark| mark == b"\r\n\r\n").map_or(0, |at| at + 2);
    bytes[body..].windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n')
}

fn sorted(fields: &[(String, String)]) -> Vec<(String, String)> {
    let mut fields = fields.to_vec();
    fields.sort();
    fields
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_comes_through(answer in answers(), cuts in vec(any::<Index>(), 0..6)) {
        let bytes = answer.bytes();
        for kind in BOTH {
            let got = run(ask(kind, &split(&bytes, &cuts)));
            let mut headers = answer.headers.clone();
            if answer.framing == Framing::Length {
                headers.push(("content-length".into(), answer.body().len().to_string()));
            }
            let want = Outcome {
                status: answer.status,
                headers: sorted(&headers),
                body: answer.body(),
                trailers: sorted(&answer.trailers),
                ..Outcome::default()
            };
            prop_assert_eq!(got, want, "{:?}", kind);
        }
    }

    #[test]
    fn a_damaged_answer_is_the_same_to_both(
        answer in answers(),
        cuts in vec(any::<Index>(), 0..4),
        damage in vec((any::<Index>(), select(&b"\r\n\0 \t:;,0159afgAZ-\xff"[..]), 0..3u8), 1..4),
    ) {
        let mut bytes = answer.bytes();
        for (at, byte, how) in damage {
            let at = at.index(bytes.len().min(400));
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        let pieces = split(&bytes, &cuts);
        let own = story(run(ask(ExchangeKind::Codec, &pieces)));
        if own.error.is_some() && bare_line_feed_in_body(&bytes) {
            // Deliberate: hyper lets a trailer section have lines that end in LF alone.
            return Ok(());
        }
        let hyper = story(run(ask(ExchangeKind::Hyper, &pieces)));
        prop_assert_eq!(own, hyper, "{}", String::from_utf8_lossy(&bytes));
    }
}

/// A request: its fields, its body in frames, and whether its length is known.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    fields: Vec<(String, String)>,
    frames: Vec<Vec<u8>>,
    exact: bool,
    slow: bool,
    trailers: Vec<(String, String)>,
}

impl Asked {
    fn body(&self) -> Frames {
        let pieces: Vec<&[u8]> = self.frames.iter().map(Vec::as_slice).collect();
        let mut body = if self.exact { Frames::exact(&pieces) } else { Frames::chunked(&pieces) };
        body.slow = self.slow;
        if self.trailers.is_empty() { body } else { body.trailers(map(&self.trailers)) }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = select(vec![Method::GET, Method::POST, Method::PUT, Method::DELETE]);
    let frame = prop_oneof![4 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 1..40_000)];
    (method, fields(), vec(frame, 0..5), any::<bool>(), any::<bool>(), fields()).prop_map(
        |(method, fields, frames, exact, slow, trailers)| {
            let trailers = if exact { Vec::new() } else { trailers };
            Asked { method, fields, frames, exact, slow, trailers }
        },
    )
}

fn map(fields: &[(String, String)]) -> HeaderMap {
    let name = |name: &str| HeaderName::try_from(name).unwrap();
    fields.iter().map(|(n, v)| (name(n), HeaderValue::try_from(v).unwrap())).collect()
}

/// What the origin gets of two such requests on one connection.
async fn tell(kind: ExchangeKind, asked: &Asked) -> Vec<Received> {
    let origin = Origin::bind().await;
    let (upstreams, endpoint) = (upstreams(kind), origin.endpoint());
    let client = async {
        for _ in 0..2 {
            let mut request = outgoing(asked.method.clone(), "/a?b=c", asked.body());
            request.headers.extend(map(&asked.fields));
            // hyper sends only the trailers that are announced.
            let names: Vec<&str> = asked.trailers.iter().map(|(name, _)| name.as_str()).collect();
            if !names.is_empty() {
                request.headers.insert("trailer", names.join(", ").parse().unwrap());
            }
            let outcome = fetch(&upstreams, &endpoint, &mut request).await;
            assert_eq!(outcome.status, 204, "{outcome:?}");
        }
    };
    let server = async {
        let mut conn = origin.accept().await;
        let mut received = Vec::new();
        for _ in 0..2 {
            received.push(conn.request().await.unwrap());
            conn.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        }
        received
    };
    tokio::join!(client, server).1
}

/// The lines of a head or trailer section, but for the first, in some fixed order.
fn lines(section: &str) -> Vec<String> {
    let mut lines: Vec<String> = section.lines().map(str::to_lowercase).collect();
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_arrives(asked in asked()) {
        let body = asked.frames.concat();
        let of_both: Vec<Vec<Received>> = BOTH.iter().map(|kind| run(tell(*kind, &asked))).collect();
        for received in of_both.iter().flatten() {
            let line = format!("{} /a?b=c HTTP/1.1", asked.method);
            prop_assert_eq!(received.line(), line);
            prop_assert_eq!(&received.body, &body);
            let mut trailers = asked.trailers.clone();
            trailers.retain(|_| received.chunked);
            let trailers: String = trailers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
            prop_assert_eq!(lines(&received.trailers), lines(&trailers));
        }
        // One way of sending it, whoever sends it, and however often.
        for received in of_both.iter().flatten() {
            prop_assert_eq!(lines(&received.head), lines(&of_both[0][0].head));
        }
    }
}
