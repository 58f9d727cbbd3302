//! A request made of a head that was found good.

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::fields;
use super::head::Head;
use super::violation::Violation;

/// What of a request concerns the connection and how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wants {
    /// HTTP/1.1, else 1.0.
    pub(super) http_1_1: bool,
    /// Whether the client will go on afterwards (RFC 9112 §9.3).
    pub(super) keep_alive: bool,
    /// Whether it wants the head alone.
    pub(super) head_only: bool,
    /// Whether it understands trailers (RFC 9110 §10.1.4).
    pub(super) trailers: bool,
}

/// Reads a head of which `read` says where everything stands. `fields` is an empty map.
///
/// # Errors
/// What is a target to the grammar need not be one to the library that reads it.
pub(super) fn request(
    head: &Bytes,
    read: &Head,
    mut fields: HeaderMap,
) -> Result<(Parts, Wants), Violation> {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(&head[read.method.range()]).map_err(|_| Violation::Method)?;
    parts.uri = uri(head.slice(read.target.range())).ok_or(Violation::Target)?;
    parts.version = if read.http_1_1 { Version::HTTP_11 } else { Version::HTTP_10 };
    for field in &read.fields {
        let name = HeaderName::from_bytes(&head[field.name.range()]);
        let value = HeaderValue::from_maybe_shared(head.slice(field.value.range()));
        // Names are tokens and values free of control bytes: neither fails.
        let (Ok(name), Ok(value)) = (name, value) else { return Err(Violation::FieldName) };
        fields.append(name, value);
    }
    parts.headers = fields;
    let wants = Wants {
        http_1_1: read.http_1_1,
        keep_alive: !read.close && (read.http_1_1 || read.keep_alive),
        head_only: parts.method == Method::HEAD,
        trailers: read.takes_trailers,
    };
    Ok((parts, wants))
}

fn uri(target: Bytes) -> Option<Uri> {
    if target.first() == Some(&b'/') {
        return PathAndQuery::from_maybe_shared(target).ok().map(Uri::from);
    }
    Uri::from_maybe_shared(target).ok()
}

/// The fields of a trailer section that was found good.
pub(super) fn trailers(section: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in section.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok((name, value)) = fields::split(line) else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(&line[value]))
        {
            fields.append(name, value);
        }
    }
    fields
}
