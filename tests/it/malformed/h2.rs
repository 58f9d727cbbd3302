//! Requests over HTTP/2 that would become something else in HTTP/1.1: frames written by hand, since no library sends them.

use std::time::Duration;

use testkit::client::{self, Front};
use testkit::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A field as it goes over the wire, unchecked.
type Field = (&'static [u8], &'static [u8]);

/// A request; `@` in a value stands for the path that names the run.
pub(super) struct Case {
    /// What is wrong.
    pub(super) name: &'static str,
    fields: Vec<Field>,
    body: &'static [u8],
}

pub(super) fn cases() -> Vec<Case> {
    let with =
        |name, field: Field| Case { name, fields: [&BASE[..], &[field]].concat(), body: b"" };
    let instead = |name, place: usize, value| {
        let mut fields = BASE.to_vec();
        fields[place].1 = value;
        Case { name, fields, body: b"" }
    };
    let body = |name, length, body| Case { body, ..with(name, (b"content-length", length)) };
    let mut twice = with("two lengths", (b"content-length", b"3"));
    twice.fields.push((b"content-length", b"4"));
    vec![
        body("a body longer than its length", b"3", b"abcGET /smuggled HTTP/1.1\r\n\r\n"),
        body("a body shorter than its length", b"30", b"abc"),
        body("a length with a sign", b"+3", b"abc"),
        Case { body: b"abc", ..twice },
        with("chunked", (b"transfer-encoding", b"chunked")),
        with("a connection field", (b"connection", b"x-secret")),
        with("an upgrade field", (b"upgrade", b"websocket")),
        with("a line break in a value", (b"x", b"y\r\nContent-Length: 10")),
        with("a line feed in a value", (b"x", b"y\nHost: other.localhost")),
        with("a request in a value", (b"x", b"y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")),
        with("a NUL in a value", (b"x", b"y\0z")),
        with("a line break in a name", (b"x\r\nhost", b"other.localhost")),
        with("a colon in a name", (b"host:x", b"y")),
        with("a space in a name", (b"transfer-encoding ", b"chunked")),
        with("an upper-case name", (b"Transfer-Encoding", b"chunked")),
        with("another host", (b"host", b"other.localhost")),
        with("a late pseudo-field", (b":path", b"@")),
        with("an unknown pseudo-field", (b":other", b"x")),
        instead("a space in the method", METHOD, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET"),
        instead("a space in the path", PATH, b"@ HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled"),
        instead("a path without its slash", PATH, b"smuggled"),
        instead("an empty path", PATH, b""),
        instead("a fragment", PATH, b"@#x"),
        instead("a user in the authority", AUTHORITY, b"user@bad.localhost"),
        instead("a line break in the authority", AUTHORITY, b"bad.localhost\r\nX: y"),
        instead("a path in the authority", AUTHORITY, b"bad.localhost/x"),
        instead("no authority", AUTHORITY, b""),
        instead("a scheme with a break", SCHEME, b"https\r\n"),
        instead("CONNECT", METHOD, b"CONNECT"),
    ]
}

const METHOD: usize = 0;
const SCHEME: usize = 1;
const AUTHORITY: usize = 2;
const PATH: usize = 3;
const BASE: [Field; 4] = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"bad.localhost"),
    (b":path", b"@"),
];

/// Sends the case on one stream and a good request on the next, and waits until that one or the connection is over.
pub(super) async fn converse(case: &Case, front: &Front, path: &str) {
    let mut stream = client::tls(front, "bad.localhost", &["h2"]).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    let end = if case.body.is_empty() { END_STREAM } else { 0 };
    frame(&mut bytes, HEADERS, END_HEADERS | end, 1, &block(&case.fields, path));
    if !case.body.is_empty() {
        frame(&mut bytes, DATA, END_STREAM, 1, case.body);
    }
    frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, 3, &block(&BASE, "/good-on-h2"));
    // The other side may have closed already.
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    within(case.name, Duration::from_secs(15), async {
        let mut header = [0; 9];
        while stream.read_exact(&mut header).await.is_ok() {
            let [a, b, c, kind, flags, .., id] = header;
            let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            let over = kind == RST_STREAM || (kind <= HEADERS && flags & END_STREAM != 0);
            if kind == GOAWAY || (id == 3 && over) {
                return;
            }
        }
    })
    .await;
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    bytes.extend([0, len[0], len[1], kind, flags, 0, 0, 0, stream]);
    bytes.extend(payload);
}

/// HPACK without its tables: literal names and values, each shorter than 127 bytes.
fn block(fields: &[Field], path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        let value = match value.iter().position(|&byte| byte == b'@') {
            Some(at) if *name == b":path" => {
                [&value[..at], path.as_bytes(), &value[at + 1..]].concat()
            }
            _ => value.to_vec(),
        };
        block.push(0);
        for text in [*name, &value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text);
        }
    }
    block
}
