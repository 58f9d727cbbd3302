//! The bodies that pass through.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use upstream::{BoxError, UpBody};

use crate::compress::Compressed;
use crate::conn::Conn;
use crate::gauge::Flow;
use crate::incoming::Incoming;
use crate::record::Record;
use runtime::with_causes;

/// The body of an answer. It carries the request's [`Record`], which is written when the body is dropped: at its end,
/// or when the client is gone.
pub(crate) struct Reply {
    source: Source,
    record: Option<Box<Record>>,
    ended: bool,
    broken: Option<upstream::Error>,
}

/// Where an answer's body comes from.
pub(crate) enum Source {
    Nothing,
    Page(Bytes),
    Upstream(UpBody),
    File(static_files::Body),
    Compressed(Box<Compressed>),
}

impl Source {
    /// The next piece.
    pub(crate) fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, upstream::Error>>> {
        match self {
            Self::Nothing => Poll::Ready(None),
            Self::Page(page) if page.is_empty() => Poll::Ready(None),
            Self::Page(page) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(page))))),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::File(body) => Pin::new(body).poll_frame(cx).map_err(|source| {
                let source = source.into();
                upstream::Error::RequestBody { source }
            }),
            Self::Compressed(body) => body.poll(cx),
        }
    }

    /// Whether nothing follows.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Page(page) => page.is_empty(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::File(body) => body.is_end_stream(),
            Self::Compressed(body) => body.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Page(page) => SizeHint::with_exact(page.len() as u64),
            Self::Upstream(body) => body.size_hint(),
            Self::File(body) => body.size_hint(),
            Self::Compressed(_) => SizeHint::default(),
        }
    }
}

impl Reply {
    /// A body whose end the record tells.
    pub(crate) fn new(source: Source, record: Box<Record>) -> Self {
        Self { source, record: Some(record), ended: false, broken: None }
    }

    /// No body, and nothing to tell: the tunnel that follows tells its own end.
    pub(crate) fn untold() -> Self {
        Self { source: Source::Nothing, record: None, ended: true, broken: None }
    }

    /// The id that the head is still to name: [`Record::unnamed`].
    pub(crate) fn unnamed(&self) -> Option<&str> {
        self.record.as_deref().and_then(Record::unnamed)
    }

    /// Why it does not reach the client. The first reason stays.
    pub(crate) fn fails(&mut self, reason: &'static str) {
        if let Some(record) = &mut self.record {
            record.fails(reason);
        }
    }

    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, upstream::Error>>) {
        match (frame, &mut self.record) {
            (None, _) => self.ended = true,
            (Some(Ok(frame)), Some(record)) => {
                record.sends(frame.data_ref().map_or(0, Bytes::len));
                // Trailers are always last.
                self.ended = frame.is_trailers();
            }
            (Some(Err(error)), Some(record)) => record.fails(with_causes(error)),
            (Some(_), None) => {}
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = upstream::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, upstream::Error>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = self.source.poll_source(cx);
        let Poll::Ready(frame) = polled else { return Poll::Pending };
        self.note(frame.as_ref());
        if let Some(Err(error)) = frame {
            // What is buffered for the client is dropped when the error is heard of: let it be sent first.
            self.broken = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.source.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let whole = self.ended || self.is_end_stream() || self.size_hint().exact() == Some(0);
        if let Some(record) = &mut self.record
            && !whole
        {
            record.fails("the client went away");
        }
    }
}

/// The body of a request on its way upstream. Fails with [`TooSlow`] when the client is while it is waited for, and
/// when the answer is over before it.
pub(crate) struct Request {
    inner: Incoming,
    watch: Option<Watch>,
    /// How many bytes it may still have; `None`: any number.
    left: Option<u64>,
}

struct Watch {
    upload: Rc<Flow>,
    conn: Rc<Conn>,
}

/// A client that sends its body slower than is served.
#[derive(Debug, thiserror::Error)]
#[error("the client sends its request too slowly")]
pub(crate) struct TooSlow;

/// A body that is larger than its host takes.
#[derive(Debug, thiserror::Error)]
#[error("the request's body is larger than is allowed")]
pub(crate) struct TooLarge;

impl Request {
    /// Watches a body from now on, which may have at most `largest` bytes; one that is empty needs no watch.
    pub(crate) fn new(
        inner: Incoming,
        conn: &Rc<Conn>,
        record: &mut Record,
        largest: Option<u64>,
    ) -> Self {
        let watch = (!inner.is_end_stream()).then(|| {
            let upload = conn.pulse.upload_begins();
            record.uploads(&upload);
            Watch { upload, conn: conn.clone() }
        });
        Self { inner, watch, left: largest }
    }
}

impl Body for Request {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Some(Watch { upload, conn }) = &self.watch {
            let moved = match &polled {
                Poll::Ready(Some(Ok(frame))) => Some(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(_) => Some(0),
                Poll::Pending => None,
            };
            if upload.poll(moved, conn.worker.time.coarse(), cx).is_ready() {
                return Poll::Ready(Some(Err(TooSlow.into())));
            }
        }
        if let (Some(left), Poll::Ready(Some(Ok(frame)))) = (&mut self.left, &polled) {
            let more = frame.data_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(more) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Some(Err(TooLarge.into()))),
            }
        }
        polled.map(|frame| frame.map(|frame| frame.map(scrubbed)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What is sent behind a body must not say what the head may not.
fn scrubbed(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        rewrite::request_trailers(trailers);
    }
    frame
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(Watch { upload, conn }) = &self.watch {
            conn.pulse.upload_ends(upload);
        }
    }
}
