//! What no client may send. `@` stands for a path that names the run, so that the origin's record can be read back.

/// A malformed request and what the client does after it.
pub(super) struct Case {
    /// What is wrong, for the report.
    pub(super) name: String,
    /// The bytes, `@` for the path.
    pub(super) bytes: Vec<u8>,
    /// Whether the client ends its side afterwards: the request is cut short.
    pub(super) cut: bool,
}

/// All cases that go over an HTTP connection.
pub(super) fn http() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in REQUEST_LINES {
        cases.push(whole(format!("{line:?}"), format!("{line}\r\nHost: bad.localhost\r\n\r\n")));
    }
    for fields in FIELDS {
        let head = format!("POST @ HTTP/1.1\r\nHost: bad.localhost\r\n{fields}\r\n\r\n");
        cases.push(whole(format!("{fields:?}"), head));
    }
    for head in HEADS {
        cases.push(whole(format!("{head:?}"), (*head).to_owned()));
    }
    for body in CHUNKS {
        let head = "POST @ HTTP/1.1\r\nHost: bad.localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        cases.push(whole(format!("chunks {body:?}"), format!("{head}{body}")));
    }
    for head in CUT {
        cases.push(Case { cut: true, ..whole(format!("cut {head:?}"), (*head).to_owned()) });
    }
    cases.extend(large());
    cases
}

/// What is sent to the HTTPS port instead of a handshake.
pub(super) fn tls() -> Vec<Case> {
    let cut = |name: &str, bytes: &[u8]| Case { cut: true, ..raw(name, bytes) };
    let mut cases = vec![
        raw("plain HTTP", b"GET / HTTP/1.1\r\nHost: bad.localhost\r\n\r\n"),
        raw("HTTP/2 in the clear", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        raw("noise", &[0xa5; 600]),
        raw("zeros", &[0; 600]),
        raw(
            "an SSL 2 hello",
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80",
        ),
        raw("an alert first", b"\x15\x03\x03\x00\x02\x02\x28"),
        raw("application data first", b"\x17\x03\x03\x00\x05GET /"),
        raw("a record too long", &[b"\x16\x03\x01\xff\xff".to_vec(), vec![1; 70_000]].concat()),
        raw("a finished first", b"\x16\x03\x03\x00\x10\x14\x00\x00\x0cxxxxxxxxxxxx"),
        raw("TLS 1.0 only", &with_byte(HELLO, 10, 1)),
        raw("a hello and then plain HTTP", &[HELLO, b"GET / HTTP/1.1\r\n\r\n"].concat()),
        cut("a record of no bytes", b"\x16\x03\x01\x00\x00"),
        cut("a hello too long", b"\x16\x03\x01\x00\x09\x01\xff\xff\xff\x03\x03\0\0\0"),
        cut("a hello shorter than it says", &with_byte(HELLO, 8, 0xee)),
        cut("nothing", b""),
    ];
    for len in [1, 5, 6, 9, 43, HELLO.len() / 2, HELLO.len() - 1, HELLO.len()] {
        cases.push(cut(&format!("{len} bytes of a hello"), &HELLO[..len]));
    }
    cases
}

const REQUEST_LINES: &[&str] = &[
    "GET  @ HTTP/1.1",
    "GET @  HTTP/1.1",
    "GET @ HTTP/1.1 ",
    " GET @ HTTP/1.1",
    "GET\t@ HTTP/1.1",
    "GET @\tHTTP/1.1",
    "GET @",
    "GET",
    "@ HTTP/1.1",
    "G(T @ HTTP/1.1",
    "G\0T @ HTTP/1.1",
    "GET @ http/1.1",
    "GET @ HTTP/1.1.1",
    "GET @ HTTP/1.",
    "GET @ HTTP/11",
    "GET @ HTTP/1.2",
    "GET @ HTTP/2.0",
    "GET @ HTTP/0.9",
    "GET @ HTTPS/1.1",
    "PRI * HTTP/2.0",
    "GET @ x HTTP/1.1",
    "GET @\0 HTTP/1.1",
    "GET @\r HTTP/1.1",
    "GET @\x7f HTTP/1.1",
    "GET @\u{e9} HTTP/1.1",
    "GET @#fragment HTTP/1.1",
    "GET * HTTP/1.1",
    "GET example.com HTTP/1.1",
    "GET bad.localhost:80 HTTP/1.1",
    "GET ftp://bad.localhost@ HTTP/1.1",
    "GET http://@ HTTP/1.1",
    "GET http://user@bad.localhost@ HTTP/1.1",
    "GET http://other.localhost@ HTTP/1.1",
    "GET http://bad.localhost:81@ HTTP/1.1",
    "GET http://bad.localhost.evil.test@ HTTP/1.1",
    "CONNECT bad.localhost:443 HTTP/1.1",
    "CONNECT @ HTTP/1.1",
];

const FIELDS: &[&str] = &[
    "X : y",
    "X\t: y",
    ": y",
    "X",
    "X\0Y: z",
    "X(Y): z",
    "\u{e9}: z",
    " X: y",
    "X: y\r\n folded",
    "X: y\r\n\tfolded: z",
    "X: y\0",
    "X: y\x7f",
    "X: y\x1b[0m",
    "X: y\rZ: w",
    "X: y\r",
    "Host: bad.localhost",
    "host: other.localhost",
    "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "Content-Length: 3, 3\r\n\r\nabc",
    "Content-Length: 3, 4\r\n\r\nabcd",
    "Content-Length: +3\r\n\r\nabc",
    "Content-Length: -3\r\n\r\nabc",
    "Content-Length: 0x3\r\n\r\nabc",
    "Content-Length: 3 0\r\n\r\nabc",
    "Content-Length: 3.0\r\n\r\nabc",
    "Content-Length: \r\n\r\nabc",
    "Content-Length: three\r\n\r\nabc",
    "Content-Length: 18446744073709551619\r\n\r\nabc",
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding\r\n: chunked\r\n\r\n0\r\n\r\n",
    "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];

const HEADS: &[&str] = &[
    "GET @ HTTP/1.1\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost:\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: bad.localhost, bad.localhost\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: user@bad.localhost\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: bad.localhost/x\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: bad.localhost:8o\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: bad.localhost:80:80\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: bad%2elocalhost\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "GET http://bad.localhost@ HTTP/1.1\r\n\r\n",
    "GET http://bad.localhost@ HTTP/1.1\r\nHost: other.localhost\r\n\r\n",
    "GET http://other.localhost@ HTTP/1.0\r\nHost: bad.localhost\r\n\r\n",
    "POST @ HTTP/1.0\r\nHost: bad.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET @ HTTP/1.0\r\nHost: bad.localhost\r\nHost: bad.localhost\r\n\r\n",
    "GET @ HTTP/1.1\nHost: bad.localhost\r\n\r\n",
    "GET @ HTTP/1.1\r\nHost: bad.localhost\n\r\n",
    "GET @ HTTP/1.1\r\nHost: bad.localhost\r\n\n",
    "GET @ HTTP/1.1\nHost: bad.localhost\n\n",
    "GET @ HTTP/1.1\rHost: bad.localhost\r\r",
    "\nGET @ HTTP/1.1\r\nHost: bad.localhost\r\n\r\n",
    "\r\n\r\n\r\nGET @ HTTP/1.1\r\nHost: bad.localhost\r\n\r\n",
    "\0GET @ HTTP/1.1\r\nHost: bad.localhost\r\n\r\n",
    "\u{feff}GET @ HTTP/1.1\r\nHost: bad.localhost\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
];

const CHUNKS: &[&str] = &[
    "\r\n0\r\n\r\n",
    "x\r\nabc\r\n0\r\n\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    "+3\r\nabc\r\n0\r\n\r\n",
    "-3\r\nabc\r\n0\r\n\r\n",
    " 3\r\nabc\r\n0\r\n\r\n",
    "3 \r\nabc\r\n0\r\n\r\n",
    "3\nabc\r\n0\r\n\r\n",
    "3\rabc\r\n0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "3\r\nabc0\r\n\r\n",
    "3\r\nabc\r\n\r\n0\r\n\r\n",
    "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "3;x\0y\r\nabc\r\n0\r\n\r\n",
    "3;x\ny\r\nabc\r\n0\r\n\r\n",
    "3\r\nabc\r\n0\n\r\n",
    "3\r\nabc\r\n0\r\n\n",
    "3\r\nabc\r\n0\r\nX : y\r\n\r\n",
    "3\r\nabc\r\n0\r\nX: y\r\n folded\r\n\r\n",
    "3\r\nabc\r\n0\r\nX: y\0\r\n\r\n",
    "3\r\nabc\r\n0\r\nX: y\n\r\n",
    "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
    "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "3\r\nabc\r\n0\r\nHost: other.localhost\r\n\r\n",
];

const CUT: &[&str] = &[
    "G",
    "GET @",
    "GET @ HTTP/1.1\r\n",
    "GET @ HTTP/1.1\r\nHost: bad.localhost\r\n",
    "GET @ HTTP/1.1\r\nHost: bad.localhost\r\n\r",
    "POST @ HTTP/1.1\r\nHost: bad.localhost\r\nContent-Length: 10\r\n\r\nabc",
    "POST @ HTTP/1.1\r\nHost: bad.localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST @ HTTP/1.1\r\nHost: bad.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "POST @ HTTP/1.1\r\nHost: bad.localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    "POST @ HTTP/1.1\r\nHost: bad.localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n",
];

fn large() -> Vec<Case> {
    let host = "Host: bad.localhost\r\n";
    let get = |name: &str, fields: String| {
        whole(name.to_owned(), format!("GET @ HTTP/1.1\r\n{host}{fields}\r\n"))
    };
    let chunked = |name: &str, body: String| {
        let head = format!("POST @ HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n");
        whole(name.to_owned(), format!("{head}{body}"))
    };
    vec![
        get("a field of 100 kB", format!("X: {}\r\n", "y".repeat(100_000))),
        get("a field name of 100 kB", format!("{}: y\r\n", "X".repeat(100_000))),
        get("200 fields", "X: y\r\n".repeat(200)),
        get("10,000 fields", "X: y\r\n".repeat(10_000)),
        whole(
            "a target of 20 kB".into(),
            format!("GET @{} HTTP/1.1\r\n{host}\r\n", "x".repeat(20_000)),
        ),
        whole(
            "a target of 1 MB".into(),
            format!("GET @{} HTTP/1.1\r\n{host}\r\n", "x".repeat(1_000_000)),
        ),
        whole(
            "a method of 100 kB".into(),
            format!("{} @ HTTP/1.1\r\n{host}\r\n", "G".repeat(100_000)),
        ),
        chunked("a chunk extension of 1 kB", format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(1000))),
        chunked(
            "a trailer of 100 kB",
            format!("3\r\nabc\r\n0\r\nX: {}\r\n\r\n", "y".repeat(100_000)),
        ),
        chunked("200 trailers", format!("3\r\nabc\r\n0\r\n{}\r\n", "X: y\r\n".repeat(200))),
    ]
}

fn whole(name: String, text: String) -> Case {
    Case { name, bytes: text.into_bytes(), cut: false }
}

fn raw(name: &str, bytes: &[u8]) -> Case {
    Case { name: name.to_owned(), bytes: bytes.to_vec(), cut: false }
}

/// A ClientHello of TLS 1.2 with one cipher suite and SNI `bad.localhost`: record, handshake, version at 9.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x5b\x01\x00\x00\x57\x03\x03\
    BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB\x00\x00\x02\xc0\x2b\x01\x00\x00\x2c\
    \x00\x00\x00\x12\x00\x10\x00\x00\x0dbad.localhost\x00\x0a\x00\x04\x00\x02\x00\x1d\
    \x00\x0d\x00\x04\x00\x02\x04\x03\x00\x0b\x00\x02\x01\x00";

fn with_byte(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = byte;
    bytes
}
