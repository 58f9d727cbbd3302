use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{Error, codec, http2, hyper_client};

/// The body of an upstream's response. Dropping it before its end closes the connection; on HTTP/2 it resets the stream.
#[derive(Debug, Default)]
pub struct UpBody {
    inner: Inner,
}

#[derive(Debug, Default)]
enum Inner {
    #[default]
    Empty,
    /// All of it, still to be handed over; the connection is free already.
    Full(Bytes),
    Codec(Box<codec::AnswerBody>),
    Hyper(Box<hyper_client::AnswerBody>),
    Http2(Box<http2::AnswerBody>),
}

impl From<Bytes> for UpBody {
    fn from(whole: Bytes) -> Self {
        Self { inner: if whole.is_empty() { Inner::Empty } else { Inner::Full(whole) } }
    }
}

impl From<hyper_client::AnswerBody> for UpBody {
    fn from(body: hyper_client::AnswerBody) -> Self {
        Self { inner: Inner::Hyper(Box::new(body)) }
    }
}

impl From<http2::AnswerBody> for UpBody {
    fn from(body: http2::AnswerBody) -> Self {
        Self { inner: Inner::Http2(Box::new(body)) }
    }
}

impl From<codec::AnswerBody> for UpBody {
    fn from(body: codec::AnswerBody) -> Self {
        Self { inner: Inner::Codec(Box::new(body)) }
    }
}

impl Body for UpBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(whole) => {
                let whole = std::mem::take(whole);
                self.inner = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(whole))))
            }
            Inner::Codec(body) => Pin::new(&mut **body).poll_frame(cx),
            Inner::Hyper(body) => Pin::new(&mut **body).poll_frame(cx),
            Inner::Http2(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Codec(body) => body.is_end_stream(),
            Inner::Hyper(body) => body.is_end_stream(),
            Inner::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(whole) => SizeHint::with_exact(whole.len() as u64),
            Inner::Codec(body) => body.size_hint(),
            Inner::Hyper(body) => body.size_hint(),
            Inner::Http2(body) => body.size_hint(),
        }
    }
}
