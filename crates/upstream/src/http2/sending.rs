use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;
use http_body::Body;

use crate::codec::{Upload, UploadError};
use crate::error::BoxError;
use crate::framing;
use crate::request_head::BodyFraming;

/// A request's body on its way into a stream, as the other end makes room for it.
#[derive(Debug)]
pub(super) struct Sending<B> {
    body: B,
    framing: BodyFraming,
    /// Of an announced length, what the body still owes.
    left: Option<u64>,
    /// The first piece, while nothing was read beyond it: then all can be sent again.
    first: Option<Bytes>,
    data: Bytes,
    /// Whether nothing follows `data`.
    last: bool,
    over: bool,
    held: bool,
    waiting_for_body: bool,
    moved: u64,
}

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// A body that waits for [`release`](Self::release) if `held`.
    pub(super) fn new(upload: Upload<B>, held: bool) -> Self {
        let (body, framing, first) = upload.into_parts();
        let left = match framing {
            BodyFraming::Length(length) => Some(length.saturating_sub(first.len() as u64)),
            _ => None,
        };
        let is_all = !first.is_empty() && (left == Some(0) || body.is_end_stream());
        Self {
            over: framing == BodyFraming::None,
            last: is_all,
            held: held && first.is_empty(),
            data: first.clone(),
            first: Some(first),
            body,
            framing,
            left,
            waiting_for_body: false,
            moved: 0,
        }
    }

    /// The body as it was, if it can be sent again.
    pub(super) fn into_upload(self) -> Option<Upload<B>> {
        Upload::from_parts(self.body, self.framing, self.first?).ok()
    }

    /// Whether everything was sent.
    pub(super) fn is_done(&self) -> bool {
        self.over
    }

    /// Whether the last poll found the body with nothing to send, rather than no room for it.
    pub(super) fn waits_for_body(&self) -> bool {
        self.waiting_for_body
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Bytes that the stream took.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Sends until all is sent, there is no room, or the body has nothing yet.
    pub(super) fn poll(
        &mut self,
        stream: &mut SendStream<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError>> {
        self.waiting_for_body = false;
        while !self.over {
            if !self.data.is_empty() {
                let room = ready!(poll_room(stream, self.data.len(), cx))?;
                let piece = self.data.split_to(room.min(self.data.len()));
                self.moved += piece.len() as u64;
                self.over = self.last && self.data.is_empty();
                stream.send_data(piece, self.over).map_err(closed)?;
            } else if self.last {
                self.over = true;
                stream.send_data(Bytes::new(), true).map_err(closed)?;
            } else if self.held {
                return Poll::Pending;
            } else if let Poll::Ready(pulled) = self.poll_pull(stream, cx) {
                pulled?;
            } else {
                // Room kept here would be taken from the other streams.
                stream.reserve_capacity(0);
                self.waiting_for_body = true;
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next frame of the body.
    fn poll_pull(
        &mut self,
        stream: &mut SendStream<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let is_first = self.first.as_ref().is_some_and(Bytes::is_empty);
        let mut first = mem::take(&mut self.first).filter(|_| is_first);
        let frame = match frame {
            None => return Poll::Ready(self.end(stream, None)),
            Some(frame) => frame.map_err(|error| UploadError::Body(error.into()))?,
        };
        Poll::Ready(match frame.into_data() {
            Ok(data) => {
                if let Some(first) = &mut first {
                    *first = data.clone();
                }
                self.first = first;
                self.put(data)
            }
            Err(frame) => self.end(stream, frame.into_trailers().ok()),
        })
    }

    fn put(&mut self, data: Bytes) -> Result<(), UploadError> {
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(data.len() as u64)
                .ok_or_else(|| wrong("the body is longer than announced"))?;
        }
        self.last = self.body.is_end_stream() || self.left == Some(0);
        if self.last && self.left.is_some_and(|left| left > 0) {
            return Err(wrong("the body is shorter than announced"));
        }
        self.data = data;
        Ok(())
    }

    fn end(
        &mut self,
        stream: &mut SendStream<Bytes>,
        trailers: Option<HeaderMap>,
    ) -> Result<(), UploadError> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(wrong("the body is shorter than announced"));
        }
        self.over = true;
        match trailers {
            Some(mut trailers) => {
                framing::clean_trailers(&mut trailers);
                stream.send_trailers(trailers).map_err(closed)
            }
            None => stream.send_data(Bytes::new(), true).map_err(closed),
        }
    }
}

/// Ready with how many of so many bytes may be sent.
fn poll_room(
    stream: &mut SendStream<Bytes>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<usize, UploadError>> {
    stream.reserve_capacity(wanted.min(super::SEND_BUFFER));
    match stream.capacity() {
        0 => match ready!(stream.poll_capacity(cx)) {
            Some(room) => Poll::Ready(room.map_err(closed)),
            None => Poll::Ready(Err(UploadError::Write(io::ErrorKind::BrokenPipe.into()))),
        },
        room => Poll::Ready(Ok(room)),
    }
}

fn wrong(why: &'static str) -> UploadError {
    UploadError::Body(why.into())
}

/// The other end takes no more; it may have said why.
fn closed(error: h2::Error) -> UploadError {
    UploadError::Write(io::Error::other(error))
}
