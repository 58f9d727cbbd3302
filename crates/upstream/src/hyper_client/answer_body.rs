use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Connection;
use super::exchange::body_error;
use super::request_body::Watch;
use crate::Error;
use crate::alarm::Alarm;
use crate::framing;
use crate::pool::Pool;

/// A body that hyper's task reads; gives the connection's handle back at its end.
pub(crate) struct AnswerBody {
    inner: Incoming,
    pool: Rc<Pool<Connection>>,
    connection: Option<Connection>,
    alarm: Alarm,
    watch: Rc<Watch>,
    over: bool,
}

impl AnswerBody {
    pub(crate) fn new(
        inner: Incoming,
        pool: Rc<Pool<Connection>>,
        connection: Connection,
        alarm: Alarm,
        watch: Rc<Watch>,
    ) -> Self {
        let mut body =
            Self { inner, pool, connection: Some(connection), alarm, watch, over: false };
        if body.inner.is_end_stream() {
            body.finish();
        }
        body
    }

    fn finish(&mut self) {
        self.over = true;
        if let Some(connection) = self.connection.take()
            && self.watch.is_over()
        {
            self.pool.put(connection);
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.over = true;
        self.connection = None;
        Poll::Ready(Some(Err(error)))
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
        if this.over {
            return Poll::Ready(None);
        }
        let endpoint = this.pool.endpoint();
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Pending => {
                ready!(this.alarm.poll(cx));
                let endpoint = endpoint.clone();
                this.fail(Error::ResponseTimeout { endpoint })
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                this.alarm.rest();
                if let Some(trailers) = frame.trailers_mut() {
                    framing::clean_trailers(trailers);
                }
                if this.inner.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = match this.watch.failure() {
                    Some(source) => Error::RequestBody { source },
                    None => body_error(endpoint, &error),
                };
                this.fail(error)
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if !self.watch.is_over() {
            self.watch.cancel();
        }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody")
            .field("endpoint", self.pool.endpoint())
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
