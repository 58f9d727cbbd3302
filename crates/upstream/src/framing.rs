//! How long a response is (RFC 9112 §6), for both ways of speaking HTTP.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, StatusCode, Version};

use crate::Problem;

/// How the end of a response's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
    /// The connection's end.
    Close,
}

/// The framing of a final response, or why it can't be trusted.
///
/// Stricter than RFC 9112 §6.3, which lets `Transfer-Encoding` win over `Content-Length` and reads an unknown
/// coding up to the connection's end: both are what response splitting looks like, and no sane application sends
/// either. A length that is said several times is said once afterwards, and one that nobody can read is gone where
/// there is no body anyway: what is passed on reads the same to everybody.
pub(crate) fn of_response(
    method: &Method,
    status: StatusCode,
    version: Version,
    headers: &mut HeaderMap,
) -> Result<Framing, Problem> {
    if *method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        // RFC 9110 §8.6: never with 204.
        if status == StatusCode::NO_CONTENT || content_length(headers).is_err() {
            headers.remove(CONTENT_LENGTH);
        }
        say_once(headers);
        return Ok(Framing::None);
    }
    let length = content_length(headers)?;
    say_once(headers);
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(match length {
            None => Framing::Close,
            Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        });
    };
    if length.is_some() {
        return Err(Problem::Length);
    }
    let chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if !chunked || codings.next().is_some() || version == Version::HTTP_10 {
        return Err(Problem::TransferEncoding);
    }
    Ok(Framing::Chunked)
}

/// Whether the connection may be used again after this response (RFC 9112 §9.3).
pub(crate) fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let mut keep = version == Version::HTTP_11;
    for line in headers.get_all(CONNECTION) {
        for option in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keep |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keep
}

/// Whether a field may stand in a trailer section: nothing that frames, routes or controls (RFC 9110 §6.5.1).
pub(crate) fn is_trailer(name: &HeaderName) -> bool {
    !matches!(
        name.as_str(),
        "authorization"
            | "cache-control"
            | "connection"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cookie"
            | "expect"
            | "host"
            | "keep-alive"
            | "max-forwards"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "range"
            | "set-cookie"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "www-authenticate"
    )
}

/// Removes from a trailer section what must not stand there.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let wrong: Vec<HeaderName> =
        trailers.keys().filter(|name| !is_trailer(name)).cloned().collect();
    for name in wrong {
        trailers.remove(name);
    }
}

/// One number, however often it is repeated; anything else is an error.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut length = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        for text in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let number = decimal(text).ok_or(Problem::Length)?;
            if length.is_some_and(|first| first != number) {
                return Err(Problem::Length);
            }
            length = Some(number);
        }
    }
    Ok(length)
}

/// Writes a length that is known to be one number as one.
fn say_once(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return };
    let is_one = |line: &HeaderValue| line.as_bytes().iter().all(u8::is_ascii_digit);
    if lines.next().is_none() && is_one(first) {
        return;
    }
    let number = first.as_bytes().split(|byte| *byte == b',').next();
    if let Some(number) = number.and_then(|text| decimal(text.trim_ascii())) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(number));
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
