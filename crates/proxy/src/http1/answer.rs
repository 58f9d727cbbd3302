//! The head of an answer, and how its body ends (RFC 9112 §6).

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::SizeHint;
use hyper::ext::ReasonPhrase;

use super::request::Wants;
use crate::record::X_REQUEST_ID;

/// How the body of an answer is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// So many bytes are still to come.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// By the end of the connection: the one way to tell HTTP/1.0 of a body whose length nobody knows.
    Close,
}

/// What the fields of an answer say of the connection and of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// How long the body is, or would be.
    length: Option<u64>,
    /// Whether it is the last on its connection.
    pub(super) close: bool,
    dated: bool,
    named: bool,
}

/// What we add to an answer that does not have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours<'a> {
    /// `Date`.
    pub(super) date: &'a HeaderValue,
    /// The request's id.
    pub(super) id: Option<&'a str>,
}

/// Reads it in one walk: each search by a name costs as much.
pub(super) fn told(headers: &HeaderMap) -> Told {
    let mut told = Told::default();
    for (name, value) in headers {
        if name == CONTENT_LENGTH {
            told.length = value.to_str().ok().and_then(|length| length.parse().ok());
        } else if name == CONNECTION {
            told.close |= value.as_bytes().eq_ignore_ascii_case(b"close");
        } else if name == DATE {
            told.dated = true;
        } else if name == X_REQUEST_ID {
            told.named = true;
        }
    }
    told
}

/// How a body of this size is sent in answer to this request.
pub(super) fn framing(status: StatusCode, told: Told, size: &SizeHint, wants: Wants) -> Framing {
    if wants.head_only || is_bodiless(status) {
        return Framing::None;
    }
    match told.length.or(size.exact()) {
        Some(length) => Framing::Length(length),
        None if wants.http_1_1 => Framing::Chunked,
        None => Framing::Close,
    }
}

/// Appends the head. `last`: the connection ends with this answer.
///
/// A length is said where the head has one or the body knows it. Where there is no body it is that of the one there would
/// be, and stands only if the head has it (RFC 9110 §8.6).
pub(super) fn write(
    out: &mut Vec<u8>,
    head: &Parts,
    (told, framing): (Told, Framing),
    wants: Wants,
    last: bool,
    ours: Ours<'_>,
) {
    out.extend_from_slice(if wants.http_1_1 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    match head.extensions.get::<ReasonPhrase>() {
        Some(own) => out.extend_from_slice(own.as_bytes()),
        None => {
            out.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in &head.headers {
        if (name == CONNECTION && !switches) || name == CONTENT_LENGTH || name == TRANSFER_ENCODING
        {
            continue;
        }
        field(out, name.as_str(), value.as_bytes());
    }
    match framing {
        Framing::Length(length) => number(out, length),
        Framing::None if !forbids_length(head.status) => {
            if let Some(length) = told.length {
                number(out, length);
            }
        }
        Framing::Chunked => field(out, "transfer-encoding", b"chunked"),
        Framing::None | Framing::Close => {}
    }
    if !told.dated {
        field(out, "date", ours.date.as_bytes());
    }
    if let Some(id) = ours.id.filter(|_| !told.named) {
        field(out, X_REQUEST_ID.as_str(), id.as_bytes());
    }
    match (last, wants.http_1_1) {
        _ if switches => {}
        (true, true) => field(out, "connection", b"close"),
        (false, false) => field(out, "connection", b"keep-alive"),
        (true, false) | (false, true) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one field line.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, length: u64) {
    // Twenty digits hold every u64.
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    field(out, "content-length", &digits[at..]);
}

fn is_bodiless(status: StatusCode) -> bool {
    forbids_length(status) || status == StatusCode::NOT_MODIFIED
}

/// RFC 9110 §8.6.
fn forbids_length(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    const WANTS: Wants =
        Wants { http_1_1: true, keep_alive: true, head_only: false, trailers: false };

    fn written(response: Response<()>, size: SizeHint, wants: Wants, last: bool) -> String {
        let (head, ()) = response.into_parts();
        let told = told(&head.headers);
        let framing = framing(head.status, told, &size, wants);
        let mut out = Vec::new();
        let ours = Ours { date: &HeaderValue::from_static("now"), id: None };
        write(&mut out, &head, (told, framing), wants, last, ours);
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn the_end_of_a_body_is_told() {
        let old = Wants { http_1_1: false, ..WANTS };
        let head = Wants { head_only: true, ..WANTS };
        let (exact, unknown) = (SizeHint::with_exact(5), SizeHint::default());
        for (status, length, size, wants, expected) in [
            (200, None, &exact, WANTS, "HTTP/1.1 200 OK|content-length: 5|date: now||"),
            (200, Some("5"), &unknown, WANTS, "HTTP/1.1 200 OK|content-length: 5|date: now||"),
            (200, None, &unknown, WANTS, "HTTP/1.1 200 OK|transfer-encoding: chunked|date: now||"),
            (200, None, &unknown, old, "HTTP/1.0 200 OK|date: now|connection: keep-alive||"),
            (200, None, &exact, head, "HTTP/1.1 200 OK|date: now||"),
            (
                200,
                Some("12345678901"),
                &exact,
                head,
                "HTTP/1.1 200 OK|content-length: 12345678901|date: now||",
            ),
            (204, Some("0"), &exact, WANTS, "HTTP/1.1 204 No Content|date: now||"),
            (
                304,
                Some("7"),
                &exact,
                WANTS,
                "HTTP/1.1 304 Not Modified|content-length: 7|date: now||",
            ),
            (304, None, &exact, WANTS, "HTTP/1.1 304 Not Modified|date: now||"),
            (200, Some("0"), &exact, WANTS, "HTTP/1.1 200 OK|content-length: 0|date: now||"),
            (599, None, &exact, WANTS, "HTTP/1.1 599 |content-length: 5|date: now||"),
        ] {
            let mut response = Response::builder().status(status);
            if let Some(length) = length {
                response = response.header(CONTENT_LENGTH, length);
            }
            let response = response.body(()).unwrap();
            assert_eq!(written(response, *size, wants, false), expected);
        }
    }

    #[test]
    fn the_connection_is_ours_to_tell_of() {
        let response = || {
            let response = Response::builder().header(CONNECTION, "close").header(DATE, "then");
            response.header("x-a", "1").header("x-a", "2").body(()).unwrap()
        };
        let size = SizeHint::with_exact(0);
        let head = "date: then|x-a: 1|x-a: 2|content-length: 0|";
        assert_eq!(
            written(response(), size, WANTS, true),
            format!("HTTP/1.1 200 OK|{head}connection: close||")
        );
        let old = Wants { http_1_1: false, ..WANTS };
        assert_eq!(written(response(), size, old, true), format!("HTTP/1.0 200 OK|{head}|"));
        let mut switch = response();
        *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        switch.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        assert_eq!(
            written(switch, size, WANTS, false),
            "HTTP/1.1 101 Switching Protocols|connection: upgrade|date: then|x-a: 1|x-a: 2||"
        );
    }
}
