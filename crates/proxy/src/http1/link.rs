//! The reading side of a connection: bytes become heads and bodies.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::begun::Begun;
use super::request;
use super::requests::Requests;
use super::violation::Violation;
use crate::pulse::Pulse;
use crate::scratch::Scratch;
use crate::stream::Stream;
use crate::transport::Metered;

/// What is read of a body at once: at first, and at most.
const FIRST_STEP: usize = 8 * 1024;
const LARGEST_STEP: usize = 256 * 1024;

/// A connection, and what of it was received and not used.
///
/// It is shared by who drives the connection and by the request's body, which reads on it; both are in one task, and
/// none holds it while it calls the other.
pub(super) struct Link {
    pub(super) io: Metered<Stream>,
    pulse: Rc<Pulse>,
    held: BytesMut,
    requests: Requests,
    /// How much the next read of a body may bring.
    step: usize,
    /// The client waits to be asked for its body (RFC 9110 §10.1.1).
    to_ask: bool,
    violation: Option<Violation>,
}

/// What comes next on a connection.
#[derive(Debug)]
pub(super) enum Next {
    /// A request's head, whole and good.
    Head(Bytes),
    /// Something that is none.
    Bad(Violation),
    /// Nothing more.
    End,
}

impl Link {
    pub(super) fn new(io: Metered<Stream>, pulse: Rc<Pulse>) -> Self {
        Self {
            io,
            pulse,
            held: BytesMut::new(),
            requests: Requests::default(),
            step: FIRST_STEP,
            to_ask: false,
            violation: None,
        }
    }

    /// Where heads and bodies stand.
    pub(super) fn requests(&mut self) -> &mut Requests {
        &mut self.requests
    }

    /// What was wrong with a body.
    pub(super) fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// What there is of a head that is not complete.
    pub(super) fn begun(&self) -> Begun {
        Begun::read(&self.held)
    }

    /// Whether everything that was received was used.
    pub(super) fn is_read_out(&self) -> bool {
        self.held.is_empty() && self.violation.is_none() && self.requests.is_read_out()
    }

    /// The transport, and what was received behind the last request.
    pub(super) fn into_parts(self) -> (Metered<Stream>, Bytes) {
        (self.io, self.held.freeze())
    }

    /// Reads the next head. `scratch` is the thread's: a connection that waits holds no memory for what may come.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<io::Result<Next>> {
        let mut checked = false;
        loop {
            if !checked && !self.held.is_empty() {
                match self.requests.head(&self.held) {
                    Ok(None) => {}
                    Ok(Some(len)) => {
                        return Poll::Ready(Ok(Next::Head(self.held.split_to(len).freeze())));
                    }
                    Err(violation) => return Poll::Ready(Ok(Next::Bad(violation))),
                }
            }
            let mut scratch = scratch.lend();
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            let received = buf.filled();
            if received.is_empty() {
                return Poll::Ready(Ok(Next::End));
            }
            checked = false;
            if self.held.is_empty() {
                match self.requests.head(received) {
                    Ok(Some(len)) => {
                        let (head, rest) = received.split_at(len);
                        if !rest.is_empty() {
                            self.held = BytesMut::from(rest);
                        }
                        return Poll::Ready(Ok(Next::Head(Bytes::copy_from_slice(head))));
                    }
                    Err(violation) => {
                        self.held.extend_from_slice(received);
                        return Poll::Ready(Ok(Next::Bad(violation)));
                    }
                    Ok(None) => checked = true,
                }
            }
            self.held.extend_from_slice(received);
        }
    }

    /// The body will be read, or is to be read over; `asked`: only when the client is asked for it.
    pub(super) fn begin_body(&mut self, asked: bool) {
        self.to_ask = asked && !self.requests.is_read_out();
    }

    /// The answer has begun: nobody is asked for a body any more.
    pub(super) fn is_answered(&mut self) {
        self.to_ask = false;
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(violation) = self.violation {
            return Poll::Ready(Some(Err(malformed(violation))));
        }
        loop {
            if let Some(frame) = self.next_frame().transpose() {
                return Poll::Ready(Some(frame));
            }
            if self.requests.is_read_out() {
                return Poll::Ready(None);
            }
            if std::mem::take(&mut self.to_ask) {
                self.pulse.interim.ask_for_body();
                // What can't be written now is written by who drives the connection.
                let _ = Pin::new(&mut self.io).poll_flush(cx)?;
            }
            if ready!(self.read_more(cx))? == 0 {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            }
        }
    }

    /// Reads no further than the body goes, where that is known.
    fn read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let left = self.requests.left().and_then(|left| usize::try_from(left).ok());
        let step = left.map_or(self.step, |left| left.clamp(1, self.step));
        self.held.reserve(step);
        let n = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.held))?;
        if n >= step && step == self.step {
            self.step = (self.step * 2).min(LARGEST_STEP);
        }
        Poll::Ready(Ok(n))
    }

    /// The next part of the body, of what was received.
    fn next_frame(&mut self) -> io::Result<Option<Frame<Bytes>>> {
        // What follows something malformed is nothing at all, whatever it looks like.
        while self.violation.is_none() && !self.held.is_empty() && !self.requests.is_read_out() {
            let stretch = match self.requests.body(&self.held) {
                Ok(stretch) => stretch,
                Err(violation) => {
                    self.violation = Some(violation);
                    return Err(malformed(violation));
                }
            };
            let mut used = self.held.split_to(stretch.used);
            if !stretch.data.is_empty() {
                used.truncate(stretch.data.end);
                used.advance(stretch.data.start);
                return Ok(Some(Frame::data(used.freeze())));
            }
            if let Some(trailers) = trailers(&used[stretch.trailers]) {
                return Ok(Some(Frame::trailers(trailers)));
            }
            if stretch.used == 0 {
                break;
            }
        }
        Ok(None)
    }

    /// Nobody wants the rest of the body: whether it is all there, and put away.
    pub(super) fn skip_body(&mut self) -> bool {
        while !self.requests.is_read_out() {
            match self.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.violation.is_none() && self.requests.is_read_out()
    }
}

fn malformed(violation: Violation) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, violation.why())
}

/// `None` when there are none.
fn trailers(section: &[u8]) -> Option<HeaderMap> {
    let fields = request::trailers(section);
    (!fields.is_empty()).then_some(fields)
}

/// The body of a request, read as it is asked for.
pub(crate) struct RequestBody(Rc<RefCell<Link>>);

impl RequestBody {
    pub(super) fn new(link: &Rc<RefCell<Link>>) -> Self {
        Self(link.clone())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.borrow_mut().poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().requests.is_read_out()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().requests.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
