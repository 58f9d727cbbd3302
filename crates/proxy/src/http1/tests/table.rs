//! One line for each rule, with the boundary on both sides where there is one.

use super::super::chunked::{MAX_EXTENSION, MAX_TRAILERS};
use super::super::fields::MAX_FIELDS;
use super::super::head::{MAX_HEAD, MAX_TARGET};
use super::super::violation::Violation::{self, *};
use super::Place::{Body, Head};
use super::feed;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn assert_passes(stream: &str) {
    let seen = feed([stream.as_bytes()]);
    assert_eq!(seen.refused, None, "{stream:?}");
    assert_eq!(seen.passed.len(), stream.len(), "{stream:?}");
}

fn assert_bad_head(head: &str, violation: Violation) {
    let seen = feed([head.as_bytes()]);
    assert_eq!(seen.refused, Some((violation, Head)), "{head:?}");
    assert_eq!(seen.passed.len(), 0, "{head:?}");
    let second = feed([GET.as_bytes(), head.as_bytes()]);
    assert_eq!(second.refused, Some((violation, Head)), "second: {head:?}");
    assert_eq!(second.passed, GET.as_bytes(), "second: {head:?}");
}

fn assert_bad_body(body: &str, violation: Violation) {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let seen = feed([format!("{head}{body}").as_bytes()]);
    assert_eq!(seen.refused, Some((violation, Body)), "{body:?}");
    assert!(seen.passed.starts_with(head.as_bytes()), "{body:?}");
}

#[test]
fn good_heads_pass() {
    for head in [
        GET,
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a.example:80/p?q HTTP/1.1\r\nhost:A.example:80\r\n\r\n",
        "GET https://a.example?q HTTP/1.1\r\nHost: a.example \t\r\n\r\n",
        "M-SEARCH /~%7e?a=[]{}|\\^`\" HTTP/1.1\r\nHost: _x.a-b.example.:65535\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [2001:db8::1]:443\r\nX:\r\nY: \x09z\u{e9}\x09\r\n\r\n",
        "GET //double HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_passes(head);
        assert_passes(&format!("{head}{GET}"));
    }
}

#[test]
fn bodies_pass_and_the_next_head_is_found() {
    let length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\0\n\r\n\0";
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: Chunked\r\n\r\n";
    for body in [
        "0\r\n\r\n",
        "5\r\nab\r\nc\r\n0\r\n\r\n",
        "00a;x=\"y z\"\r\n0123456789\r\n000;last\r\nTrailer-Field: x\r\nOther:\r\n\r\n",
        "A\r\n0123456789\r\na\r\n0123456789\r\n0000000000000000\r\n\r\n",
    ] {
        assert_passes(&format!("{chunked}{body}"));
        assert_passes(&format!("{chunked}{body}{length}{chunked}{body}{GET}"));
    }
    assert_passes(&format!("{length}{GET}"));
}

#[test]
fn bad_request_lines() {
    for (line, violation) in [
        ("GET  / HTTP/1.1", Target),
        ("GET /  HTTP/1.1", Target),
        ("GET / HTTP/1.1 ", RequestLine),
        (" GET / HTTP/1.1", Method),
        ("GET\t/ HTTP/1.1", Method),
        ("GET /\tHTTP/1.1", RequestLine),
        ("GET /", RequestLine),
        ("GET", Method),
        ("GET HTTP/1.1", Target),
        ("GET  HTTP/1.1", Target),
        ("G(T / HTTP/1.1", Method),
        ("GET / http/1.1", RequestLine),
        ("GET / HTTP/1.10", RequestLine),
        ("GET / HTTP/1,1", RequestLine),
        ("GET / HTTP/+1.1", RequestLine),
        ("GET / HTTP/1.2", Version),
        ("GET / HTTP/2.0", Version),
        ("GET / HTTP/0.9", Version),
        ("PRI * HTTP/2.0", Version),
        ("GET /a b HTTP/1.1", Target),
        ("GET /a\0 HTTP/1.1", ControlByte),
        ("GET /a\r HTTP/1.1", ControlByte),
        ("GET /\u{e9} HTTP/1.1", Target),
        ("GET /#f HTTP/1.1", Target),
        ("GET * HTTP/1.1", Target),
        ("OPTIONS ** HTTP/1.1", Target),
        ("GET a HTTP/1.1", Target),
        ("GET a:80 HTTP/1.1", Target),
        ("GET ftp://a/ HTTP/1.1", Target),
        ("GET http:/a HTTP/1.1", Target),
        ("GET http:///p HTTP/1.1", Host),
        ("GET http://u@a/ HTTP/1.1", Host),
        ("GET http://b/ HTTP/1.1", HostMismatch),
        ("GET http://a:80/ HTTP/1.1", HostMismatch),
        ("CONNECT a:443 HTTP/1.1", Connect),
        ("CONNECT / HTTP/1.1", Connect),
        ("\r\n\r\nGET / HTTP/1.1", Method),
    ] {
        assert_bad_head(&format!("{line}\r\nHost: a\r\n\r\n"), violation);
    }
}

#[test]
fn bad_fields() {
    for (fields, violation) in [
        ("X : y", FieldName),
        ("X\t: y", FieldName),
        (": y", FieldName),
        ("X", FieldName),
        ("X\0: y", ControlByte),
        ("X\u{e9}: y", FieldName),
        (" X: y", ObsoleteFolding),
        ("X: y\r\n z", ObsoleteFolding),
        ("X: y\r\n\tz: w", ObsoleteFolding),
        ("X: y\0", ControlByte),
        ("X: y\x7f", ControlByte),
        ("X: y\rZ: w", ControlByte),
        ("X: y\r", ControlByte),
        ("X: y\x0b", ControlByte),
        ("Host: a", DuplicateHost),
        ("hOST: b", DuplicateHost),
        ("Content-Length: ", ContentLength),
        ("Content-Length: +5", ContentLength),
        ("Content-Length: -5", ContentLength),
        ("Content-Length: 0x5", ContentLength),
        ("Content-Length: 5 5", ContentLength),
        ("Content-Length: 5,5", ContentLength),
        ("Content-Length: 5.0", ContentLength),
        ("Content-Length: 18446744073709551616", ContentLength),
        ("Content-Length: 5\r\nContent-Length: 5", DuplicateContentLength),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", LengthAndEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", LengthAndEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("Transfer-Encoding: gzip, chunked", UnknownEncoding),
        ("Transfer-Encoding: chunked, identity", UnknownEncoding),
        ("Transfer-Encoding: identity", UnknownEncoding),
        ("Transfer-Encoding: xchunked", UnknownEncoding),
        ("Transfer-Encoding: chunked,", UnknownEncoding),
        ("Transfer-Encoding: \"chunked\"", UnknownEncoding),
        ("Transfer-Encoding:", UnknownEncoding),
        ("Transfer-Encoding: chunked\x0b", ControlByte),
    ] {
        assert_bad_head(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), violation);
    }
    assert_bad_head("GET / HTTP/1.1\r\nX: y\r\n\r\n", MissingHost);
    assert_bad_head("GET http://a/ HTTP/1.1\r\n\r\n", MissingHost);
    assert_bad_head("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", DuplicateHost);
    assert_bad_head("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncoding);
}

#[test]
fn bad_hosts() {
    for host in [
        "", ":80", "a b", "a,b", "a/b", "u@a", "a:", "a:b", "a:80:80", "a%2e", "[::1", "[]",
        "[::1]x", "[g::]", "h\u{e9}",
    ] {
        let expected = if host == "a:" { None } else { Some((Host, Head)) };
        let seen = feed([format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()]);
        assert_eq!(seen.refused, expected, "{host:?}");
    }
    assert_bad_head("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", Host);
}

#[test]
fn bare_line_feeds() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_bad_head(head, BareLf);
    }
}

#[test]
fn bad_chunks() {
    for (body, violation) in [
        ("\r\n", ChunkSize),
        ("g\r\n", ChunkSize),
        ("0x5\r\n", ChunkSize),
        ("-1\r\n", ChunkSize),
        (" 5\r\n", ChunkSize),
        ("5 \r\n", ChunkSize),
        ("5\n", ChunkSize),
        (";x\r\n", ChunkSize),
        ("00000000000000005\r\n", ChunkSize),
        ("5;x\ny\r\n", ControlByte),
        ("5;x\0\r\n", ControlByte),
        ("5\r5\r\n", ControlByte),
        ("5\r\nabcdef", ChunkEnd),
        ("5\r\nabcde\n", ChunkEnd),
        ("5\r\nabcde\rX", ChunkEnd),
        ("0\r\nX: y\n\r\n", BareLf),
        ("0\r\nX : y\r\n\r\n", FieldName),
        ("0\r\nX: y\r\n z\r\n\r\n", ObsoleteFolding),
        ("0\r\nContent-Length: 5\r\n\r\n", ForbiddenTrailer),
        ("0\r\ntransfer-encoding: chunked\r\n\r\n", ForbiddenTrailer),
        ("0\r\nHost: b\r\n\r\n", ForbiddenTrailer),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", FieldName),
    ] {
        assert_bad_body(body, violation);
        assert_bad_body(&format!("3\r\nabc\r\n{body}"), violation);
    }
}

#[test]
fn limits_hold_to_the_byte() {
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1));
    assert_passes(&target(MAX_TARGET));
    assert_bad_head(&target(MAX_TARGET + 1), TargetTooLong);
    assert_bad_head(&"G".repeat(2 * MAX_TARGET), TargetTooLong);

    let fields =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_passes(&fields(MAX_FIELDS));
    assert_bad_head(&fields(MAX_FIELDS + 1), TooManyFields);

    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let head =
        |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(len - frame));
    assert_passes(&head(MAX_HEAD));
    assert_bad_head(&head(MAX_HEAD + 1), HeadTooLarge);
    assert_bad_head(&head(2 * MAX_HEAD)[..MAX_HEAD], HeadTooLarge);

    assert_bad_body(&format!("5;{}\r\n", "x".repeat(MAX_EXTENSION + 1)), ChunkExtension);
    assert_bad_body(&format!("0\r\nX: {}\r\n\r\n", "y".repeat(MAX_TRAILERS)), TrailersTooLarge);
    assert_bad_body(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(MAX_FIELDS + 1)), TooManyFields);
}

#[test]
fn nothing_passes_behind_a_request_to_upgrade() {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let seen = feed([format!("{upgrade}\0opaque").as_bytes()]);
    assert_eq!((seen.passed.len(), seen.refused), (upgrade.len(), None));
    let with_body = "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nab";
    let seen = feed([format!("{with_body}{GET}").as_bytes()]);
    assert_eq!((seen.passed.len(), seen.refused), (with_body.len(), None));
}
