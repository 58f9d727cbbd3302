//! What can be wrong with a request, and the answer it gets.

use http::StatusCode;

/// A breach of HTTP/1 syntax or framing. Its request never reaches the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A line ends in LF alone.
    BareLf,
    /// A `Content-Length` that is not one plain number.
    ContentLength,
    /// A control byte where none may be: CR inside a line, NUL, DEL, …
    ControlByte,
    /// The method is not a token.
    Method,
    /// A chunk-size line that is not hexadecimal digits and an extension.
    ChunkSize,
    /// Data goes on where a chunk should have ended.
    ChunkEnd,
    /// A chunk extension beyond [`MAX_EXTENSION`](super::chunked::MAX_EXTENSION).
    ChunkExtension,
    /// `CONNECT`: this is not a forward proxy.
    Connect,
    /// More than one `Content-Length`.
    DuplicateContentLength,
    /// More than one `Host`.
    DuplicateHost,
    /// A field name that is empty or not a token, or whitespace before the colon.
    FieldName,
    /// A trailer that frames or routes: `Content-Length`, `Transfer-Encoding`, `Host`.
    ForbiddenTrailer,
    /// The head is beyond [`MAX_HEAD`](super::head::MAX_HEAD).
    HeadTooLarge,
    /// A `Host` or authority that is no host with an optional port.
    Host,
    /// The authority of the request target differs from `Host`.
    HostMismatch,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndEncoding,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// A field goes on in the next line.
    ObsoleteFolding,
    /// The request line is not method, target and version with one space between.
    RequestLine,
    /// The request target is in none of the forms its method may use.
    Target,
    /// The request target is beyond [`MAX_TARGET`](super::head::MAX_TARGET).
    TargetTooLong,
    /// More fields than [`MAX_FIELDS`](super::fields::MAX_FIELDS).
    TooManyFields,
    /// The trailers are beyond [`MAX_TRAILERS`](super::chunked::MAX_TRAILERS).
    TrailersTooLarge,
    /// `Transfer-Encoding` in HTTP/1.0, or twice.
    TransferEncoding,
    /// A transfer coding other than `chunked`.
    UnknownEncoding,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
}

impl Violation {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Connect | Self::UnknownEncoding => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What is wrong, for the client and for the log. Quotes nothing of what was sent.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::BareLf => "a line ends without CR",
            Self::ContentLength => "Content-Length is not a number",
            Self::ControlByte => "control byte",
            Self::Method => "the method is not a token",
            Self::ChunkSize => "bad chunk size",
            Self::ChunkEnd => "a chunk is longer than its size",
            Self::ChunkExtension => "chunk extension too long",
            Self::Connect => "CONNECT is not supported",
            Self::DuplicateContentLength => "several Content-Length fields",
            Self::DuplicateHost => "several Host fields",
            Self::FieldName => "bad field name",
            Self::ForbiddenTrailer => "a trailer field that may not be one",
            Self::HeadTooLarge => "the header section is too large",
            Self::Host => "bad Host",
            Self::HostMismatch => "the request target and Host differ",
            Self::LengthAndEncoding => "both Content-Length and Transfer-Encoding",
            Self::MissingHost => "Host is missing",
            Self::ObsoleteFolding => "folded field",
            Self::RequestLine => "bad request line",
            Self::Target => "bad request target",
            Self::TargetTooLong => "the request target is too long",
            Self::TooManyFields => "too many fields",
            Self::TrailersTooLarge => "the trailer section is too large",
            Self::TransferEncoding => "bad Transfer-Encoding",
            Self::UnknownEncoding => "unknown transfer coding",
            Self::Version => "only HTTP/1.0 and HTTP/1.1",
        }
    }

    /// A whole answer that ends the connection.
    pub(super) fn answer(self) -> Vec<u8> {
        let (status, why) = (self.status(), self.why());
        let reason = status.canonical_reason().unwrap_or_default();
        let page = format!("{} {reason}: {why}\n", status.as_u16());
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{page}",
            status.as_u16(),
            page.len()
        )
        .into_bytes()
    }
}
