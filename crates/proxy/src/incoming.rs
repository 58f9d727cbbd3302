//! The body of a request as it comes in, by either version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use upstream::BoxError;

use crate::http1::RequestBody;

/// A request's body.
pub(crate) enum Incoming {
    Empty,
    Http1(RequestBody),
    Http2(RecvStream, Option<u64>),
}

impl Incoming {
    /// A stream's body. That as much comes as the head announces is the codec's to check.
    pub(crate) fn http2(stream: RecvStream, headers: &HeaderMap) -> Self {
        if stream.is_end_stream() {
            return Self::Empty;
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        Self::Http2(stream, length.and_then(|length| length.parse().ok()))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|it| it.map_err(BoxError::from))),
            Self::Http2(stream, length) => poll_stream(stream, length, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(stream, _) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(_, length) => length.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

/// A stream that the client resets is an error, whatever its reason: a part of a body must not pass for the whole.
fn poll_stream(
    stream: &mut RecvStream,
    length: &mut Option<u64>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    match ready!(stream.poll_data(cx)) {
        Some(Ok(data)) => {
            // The client may send as much more. An error means that the stream is closed.
            let _ = stream.flow_control().release_capacity(data.len());
            *length = length.map(|length| length.saturating_sub(data.len() as u64));
            Poll::Ready(Some(Ok(Frame::data(data))))
        }
        Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
        None => {
            let trailers = ready!(stream.poll_trailers(cx)).map_err(BoxError::from)?;
            Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
        }
    }
}
