use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

type Erased = Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>;

/// A request's body in hyper's hands, and what the sender still wants to know of it.
pub(crate) struct RequestBody {
    inner: Option<Erased>,
    watch: Rc<Watch>,
}

/// Seen from both sides.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    held: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    frames: Cell<u64>,
    waiting: Cell<bool>,
    over: Cell<bool>,
    cancelled: Cell<bool>,
    failure: RefCell<Option<BoxError>>,
}

impl RequestBody {
    /// None: no body.
    pub(crate) fn new<B>(body: Option<B>, watch: Rc<Watch>) -> Self
    where
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let inner =
            body.map(|body| Box::pin(http_body_util::BodyExt::map_err(body, Into::into)) as Erased);
        watch.over.set(inner.is_none());
        Self { inner, watch }
    }

    fn is_over(&self) -> bool {
        self.inner
            .as_ref()
            .is_none_or(|inner| inner.is_end_stream() || inner.size_hint().exact() == Some(0))
    }
}

impl Watch {
    /// Holds the body back until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.held.set(true);
    }

    pub(crate) fn release(&self) {
        self.held.set(false);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether the whole body went.
    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Makes the body fail, which is how hyper is told to give a connection up.
    pub(crate) fn cancel(&self) {
        self.cancelled.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Frames that went.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// Whether the body had nothing to send when it was last asked.
    pub(crate) fn waits_for_body(&self) -> bool {
        self.waiting.get()
    }

    /// What the body failed with.
    pub(crate) fn failure(&self) -> Option<BoxError> {
        self.failure.take()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.watch.cancelled.get() {
            return Poll::Ready(Some(Err("the answer came first".into())));
        }
        if self.watch.held.get() {
            *self.watch.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = inner.as_mut().poll_frame(cx);
        self.watch.waiting.set(frame.is_pending());
        if frame.is_pending() {
            *self.watch.waker.borrow_mut() = Some(cx.waker().clone());
        }
        let last = match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            _ => false,
        };
        self.watch.over.set(last || self.is_over());
        match frame {
            Poll::Ready(Some(Err(error))) => {
                let told = error.to_string();
                *self.watch.failure.borrow_mut() = Some(error);
                Poll::Ready(Some(Err(told.into())))
            }
            frame => {
                self.watch.frames.set(self.watch.frames.get() + 1);
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), |inner| inner.size_hint())
    }
}
