//! Compression of answers that came as they are, for hosts that want it (RFC 9110 §8.4).
//!
//! What is in question is decided by the head alone, so that HEAD is answered as GET would be.

mod body;
mod encoder;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, VARY,
};
use http::{HeaderValue, Response, StatusCode};
use static_files::Coding;

pub(crate) use self::body::Compressed;
use self::encoder::Encoder;
use crate::body::Source;

/// A body known to be smaller is not worth the trouble.
const SMALLEST: u64 = 1024;
/// Sums of the bytes as they were: no longer true of what is sent.
const SUMS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// Compresses an answer of an app or a directory, if it is of a kind that is worth it; `coding` is what the client likes
/// best, if it takes any.
pub(crate) fn compressed(
    mut response: Response<Source>,
    coding: Option<Coding>,
    is_head: bool,
) -> Response<Source> {
    let passes_through = matches!(response.body(), Source::Upstream(_) | Source::File(_));
    let is_nothing = response.body().is_over() && !is_head;
    if !passes_through || is_nothing || !is_worth_it(response.status(), response.headers()) {
        return response;
    }
    depends_on_codings(response.headers_mut());
    let Some(coding) = coding else { return response };
    let Some(encoder) = Encoder::new(coding) else { return response };
    describe(response.headers_mut(), coding);
    if is_head {
        return response;
    }
    response.map(|plain| Source::Compressed(Box::new(Compressed::new(plain, encoder))))
}

/// Whether an answer with this head is to be compressed.
fn is_worth_it(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_whole_body = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    has_whole_body
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && length.is_none_or(|length| length.parse::<u64>().is_ok_and(|it| it >= SMALLEST))
        && headers.get(CONTENT_TYPE).is_some_and(is_compressible)
        && !names(headers, &CACHE_CONTROL, "no-transform")
}

/// Whether a media type is that of text in the widest sense. An event stream is, but each event must arrive at once, and
/// programs between us and the browser are known to hold back what is compressed; gRPC compresses its messages itself.
fn is_compressible(kind: &HeaderValue) -> bool {
    const OTHERS: [&str; 8] = [
        "application/ecmascript",
        "application/javascript",
        "application/json",
        "application/wasm",
        "application/x-javascript",
        "application/x-ndjson",
        "application/xml",
        "font/ttf",
    ];
    let Ok(kind) = kind.to_str() else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "text/event-stream" || kind.starts_with("application/grpc") {
        return false;
    }
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || OTHERS.contains(&kind.as_str())
}

/// Tells caches that another client may get other bytes (RFC 9110 §12.5.5).
fn depends_on_codings(headers: &mut HeaderMap) {
    if !names(headers, &VARY, "*") && !names(headers, &VARY, "accept-encoding") {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Has the head tell of the compressed bytes.
fn describe(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(CONTENT_ENCODING, coding.value());
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    SUMS.iter().for_each(|sum| drop(headers.remove(sum)));
    // The same content in other bytes: what a strong tag would deny (RFC 9110 §8.8.1).
    if let Some(tag) = headers.get_mut(ETAG)
        && tag.as_bytes().starts_with(b"\"")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        *tag = weak;
    }
}

/// Whether a field that is a list has this element, whatever its case.
fn names(headers: &HeaderMap, field: &HeaderName, element: &str) -> bool {
    let lines = headers.get_all(field).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| one.trim().eq_ignore_ascii_case(element))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn text_that_came_as_it_is_and_is_large_or_of_unknown_length_is_worth_it() {
        let ok = StatusCode::OK;
        for (status, fields, worth) in [
            (ok, &[("content-type", "text/html; charset=utf-8")][..], true),
            (ok, &[("content-type", "Application/JSON")], true),
            (ok, &[("content-type", "application/problem+json")], true),
            (ok, &[("content-type", "image/svg+xml")], true),
            (ok, &[("content-type", "application/wasm"), ("content-length", "1024")], true),
            (StatusCode::NOT_FOUND, &[("content-type", "text/html")], true),
            (ok, &[], false),
            (ok, &[("content-type", "image/png")], false),
            (ok, &[("content-type", "text/event-stream")], false),
            (ok, &[("content-type", "application/grpc+json")], false),
            (ok, &[("content-type", "application/grpc")], false),
            (ok, &[("content-type", "text/html"), ("content-length", "1023")], false),
            (ok, &[("content-type", "text/html"), ("content-length", "x")], false),
            (ok, &[("content-type", "text/html"), ("content-encoding", "identity")], false),
            (ok, &[("content-type", "text/html"), ("content-range", "bytes */9")], false),
            (
                ok,
                &[("content-type", "text/html"), ("cache-control", "public, No-Transform")],
                false,
            ),
            (StatusCode::PARTIAL_CONTENT, &[("content-type", "text/html")], false),
            (StatusCode::NOT_MODIFIED, &[("content-type", "text/html")], false),
            (StatusCode::NO_CONTENT, &[("content-type", "text/html")], false),
        ] {
            assert_eq!(is_worth_it(status, &map(fields)), worth, "{status} {fields:?}");
        }
    }

    #[test]
    fn the_head_tells_of_the_compressed_bytes() {
        let mut headers = map(&[
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("etag", "\"x\""),
            ("repr-digest", "sha-256=:AA==:"),
            ("vary", "Origin"),
        ]);
        depends_on_codings(&mut headers);
        describe(&mut headers, Coding::Gzip);
        let mut want =
            map(&[("content-encoding", "gzip"), ("etag", "W/\"x\""), ("vary", "Origin")]);
        want.append(VARY, HeaderValue::from_static("accept-encoding"));
        assert_eq!(headers, want);
        let mut weak = map(&[("etag", "W/\"x\""), ("vary", "a, Accept-Encoding")]);
        depends_on_codings(&mut weak);
        describe(&mut weak, Coding::Brotli);
        assert_eq!(
            (&weak["etag"], weak.get_all(VARY).iter().count()),
            (&"W/\"x\"".parse().unwrap(), 1)
        );
    }
}
