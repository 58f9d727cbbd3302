use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};

use super::session::Lease;
use crate::alarm::Alarm;
use crate::codec::UploadError;
use crate::{Endpoint, Error, Problem, framing};

/// What is left to send when the answer has already begun. Ready when that is all, or of no more use; while it waits for
/// the client it says so.
pub(super) type RestOfUpload = Box<dyn FnMut(&mut Context<'_>) -> Rest>;

/// How far the rest of an upload is.
pub(super) enum Rest {
    Over(Result<(), UploadError>),
    WaitsForClient,
    WaitsForRoom,
}

/// A body that is read from its stream piece by piece: the other end may send more as it is read.
pub(crate) struct AnswerBody {
    endpoint: Endpoint,
    stream: RecvStream,
    /// Of an announced length, what is still to come; that it does is the codec's to check.
    left: Option<u64>,
    upload: Option<RestOfUpload>,
    /// None after the end or an error.
    lease: Option<Lease>,
    alarm: Alarm,
    has_data: bool,
}

impl AnswerBody {
    pub(super) fn new(
        endpoint: Endpoint,
        stream: RecvStream,
        left: Option<u64>,
        upload: Option<RestOfUpload>,
        lease: Lease,
        alarm: Alarm,
    ) -> Self {
        Self { endpoint, stream, left, upload, lease: Some(lease), alarm, has_data: true }
    }

    fn finish(&mut self) {
        self.lease = None;
        self.upload = None;
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.finish();
        Poll::Ready(Some(Err(error)))
    }

    /// Whether it is the client that keeps everyone waiting.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let Some(upload) = &mut self.upload else { return Ok(false) };
        match upload(cx) {
            Rest::WaitsForClient => Ok(true),
            Rest::WaitsForRoom => Ok(false),
            Rest::Over(Err(UploadError::Body(source))) => Err(Error::RequestBody { source }),
            Rest::Over(_) => {
                self.upload = None;
                Ok(false)
            }
        }
    }

    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        while self.has_data {
            match ready!(self.stream.poll_data(cx)) {
                // Only the last one may be so, and it is better said without.
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    // An error means that the stream is closed, which is heard of by itself.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.has_data = false,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|mut trailers| {
                framing::clean_trailers(&mut trailers);
                Ok(Frame::trailers(trailers))
            }),
            Err(error) => Some(Err(error)),
        })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if this.lease.is_none() {
            return Poll::Ready(None);
        }
        let waits_for_client = match this.poll_upload(cx) {
            Ok(waits) => waits,
            Err(error) => return this.fail(error),
        };
        match this.poll_stream(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.alarm.rest();
                if frame.is_trailers() || this.stream.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = broken(&this.endpoint, error);
                this.fail(error)
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Pending if waits_for_client => {
                this.alarm.rest();
                Poll::Pending
            }
            Poll::Pending => {
                ready!(this.alarm.poll(cx));
                if let Some(lease) = &this.lease {
                    lease.doubt();
                }
                let endpoint = this.endpoint.clone();
                this.fail(Error::ResponseTimeout { endpoint })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.lease, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (_, Some(left)) => SizeHint::with_exact(left),
            (_, None) => SizeHint::new(),
        }
    }
}

/// What ended a body before its end. No reason of a reset makes a part of it the whole.
fn broken(endpoint: &Endpoint, error: h2::Error) -> Error {
    let endpoint = endpoint.clone();
    if error.is_library() {
        return Error::BadResponse { endpoint, problem: Problem::Malformed };
    }
    Error::Truncated { endpoint, source: Some(io::Error::other(error)) }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody")
            .field("endpoint", &self.endpoint)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
