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

/// What the head of a final response says of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) framing: Framing,
    /// Whether the connection may be used again after it (RFC 9112 §9.3).
    pub(crate) keeps_alive: bool,
}

/// How a final response ends, or why that can't be trusted.
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
) -> Result<Ending, Problem> {
    let said = Said::by(headers);
    let has_no_body = *method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if said.length_is_odd && !said.length_is_bad {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(said.length.unwrap_or(0)));
    }
    let framing = if has_no_body {
        // RFC 9110 §8.6: never with 204.
        if status == StatusCode::NO_CONTENT || said.length_is_bad {
            headers.remove(CONTENT_LENGTH);
        }
        Framing::None
    } else {
        said.framing(version)?
    };
    let keeps_alive = !said.close && (version == Version::HTTP_11 || said.keep_alive);
    Ok(Ending { framing, keeps_alive })
}

/// What the fields of a response say about its length and its connection, read in one pass.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    /// Lengths differ, or are none.
    length_is_bad: bool,
    /// Not one number in one line.
    length_is_odd: bool,
    codings: usize,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Said {
    fn by(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for (name, value) in headers {
            match *name {
                CONTENT_LENGTH => said.hears_length(value.as_bytes()),
                TRANSFER_ENCODING => {
                    said.codings += 1;
                    let coding = value.as_bytes().trim_ascii();
                    said.chunked = coding.eq_ignore_ascii_case(b"chunked");
                }
                CONNECTION => {
                    for option in list(value.as_bytes()) {
                        said.close |= option.eq_ignore_ascii_case(b"close");
                        said.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                _ => {}
            }
        }
        said
    }

    fn hears_length(&mut self, line: &[u8]) {
        self.length_is_odd |= self.length.is_some() || !line.iter().all(u8::is_ascii_digit);
        for text in list(line) {
            match decimal(text) {
                Some(number) if self.length.is_none_or(|first| first == number) => {
                    self.length = Some(number);
                }
                _ => self.length_is_bad = true,
            }
        }
    }

    fn framing(&self, version: Version) -> Result<Framing, Problem> {
        if self.length_is_bad {
            return Err(Problem::Length);
        }
        match (self.codings, self.length) {
            (0, None) => Ok(Framing::Close),
            (0, Some(0)) => Ok(Framing::None),
            (0, Some(length)) => Ok(Framing::Length(length)),
            (_, Some(_)) => Err(Problem::Length),
            (1, None) if self.chunked && version != Version::HTTP_10 => Ok(Framing::Chunked),
            (_, None) => Err(Problem::TransferEncoding),
        }
    }
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

fn list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
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
