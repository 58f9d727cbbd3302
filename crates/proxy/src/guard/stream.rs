//! The transport: passes what is checked, holds what is not, answers what is refused.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::begun::Begun;
use super::checker::{Checker, Place};
use super::violation::Violation;

/// How long and how far a refused client is read out before the connection is dropped.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// What is read at once while bytes are held.
const STEP: usize = 4096;

/// A transport that hands out well-formed HTTP/1 requests only. See the [module](super).
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    checker: Checker,
    /// Received and not handed out. The first `ready` bytes have passed the check.
    held: Vec<u8>,
    ready: usize,
    /// The refusal, once the reader was told of it by an end of stream.
    refusal: Option<Refusal>,
    shared: Rc<Shared>,
}

/// What the owner of a connection knows of its [`Guarded`] while the server holds that.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    upgraded: Cell<bool>,
    violation: Cell<Option<Violation>>,
    begun: RefCell<Option<Begun>>,
}

#[derive(Debug)]
enum Refusal {
    Answer { page: Vec<u8>, sent: usize },
    Flush,
    Shutdown,
    Linger { deadline: Pin<Box<Sleep>>, left: usize },
    Done,
}

impl Handle {
    /// The answer switches protocols: whatever follows the request is no longer HTTP.
    pub(crate) fn upgraded(&self) {
        self.0.upgraded.set(true);
    }

    /// Why the stream was refused, if it was.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.0.violation.get()
    }

    /// What was refused, where the service never heard of it: of a bad head, but not of a bad body. Says it once.
    pub(crate) fn take_refused(&self) -> Option<(Violation, Begun)> {
        Some((self.violation()?, self.0.begun.take()?))
    }
}

impl<S> Guarded<S> {
    /// Guards a transport of which nothing was read yet.
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            checker: Checker::new(),
            held: Vec::new(),
            ready: 0,
            refusal: None,
            shared: Rc::default(),
        }
    }

    /// A handle that outlives the transport.
    pub(crate) fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// What is there of a head that is not complete.
    pub(crate) fn begun(&self) -> Begun {
        Begun::read(&self.held)
    }

    /// Hands out as much as fits of what was checked and held.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let len = self.ready.min(buf.remaining());
        buf.put_slice(&self.held[..len]);
        self.held.drain(..len);
        self.ready -= len;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// What a reader gets behind the last good byte: the end of the stream for a bad head, an error for a bad body.
    fn refuse(&mut self, violation: Violation, place: Place) -> io::Result<()> {
        let first = self.shared.violation.replace(Some(violation)).is_none();
        let held = std::mem::take(&mut self.held);
        match place {
            Place::Head => {
                if first {
                    self.shared.begun.replace(Some(Begun::read(&held)));
                }
                let answer = || Refusal::Answer { page: violation.answer(), sent: 0 };
                self.refusal.get_or_insert_with(answer);
                Ok(())
            }
            // The service answers; what it cannot do is read the client out.
            Place::Body => {
                self.refusal.get_or_insert(Refusal::Flush);
                Err(io::Error::new(io::ErrorKind::InvalidData, violation.why()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if me.ready == 0 {
            me.checker.decide(me.shared.upgraded.get());
        }
        loop {
            if me.ready > 0 {
                me.hand_out(buf);
                return Poll::Ready(Ok(()));
            }
            if let Some((violation, place)) = me.checker.refused() {
                return Poll::Ready(me.refuse(violation, place));
            }
            if me.held.is_empty() {
                let start = buf.filled().len();
                ready!(Pin::new(&mut me.inner).poll_read(cx, buf))?;
                let received = &buf.filled()[start..];
                if received.is_empty() || me.checker.is_opaque() {
                    return Poll::Ready(Ok(()));
                }
                let pass = me.checker.check(received);
                if pass < received.len() {
                    me.held.extend_from_slice(&received[pass..]);
                    buf.set_filled(start + pass);
                }
                if pass > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                me.ready = me.checker.check(&me.held);
                let stuck = me.ready == 0 && me.checker.refused().is_none();
                if stuck && ready!(read_more(&mut me.inner, cx, &mut me.held))? == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        match &mut me.refusal {
            None => Pin::new(&mut me.inner).poll_shutdown(cx),
            Some(refusal) => refusal.poll(&mut me.inner, cx),
        }
    }
}

impl Refusal {
    /// Writes the answer, ends our side, and reads the client out: were its bytes left unread, the close would be a
    /// reset, which may overtake the answer.
    fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            *self = match self {
                Self::Answer { page, sent } if *sent < page.len() => {
                    match ready!(Pin::new(&mut *io).poll_write(cx, &page[*sent..]))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        len => *sent += len,
                    }
                    continue;
                }
                Self::Answer { .. } => Self::Flush,
                Self::Flush => {
                    ready!(Pin::new(&mut *io).poll_flush(cx))?;
                    Self::Shutdown
                }
                Self::Shutdown => {
                    ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
                    Self::Linger { deadline: Box::pin(sleep(LINGER)), left: LINGER_BYTES }
                }
                Self::Linger { deadline, left } => {
                    let over = deadline.as_mut().poll(cx).is_ready();
                    if !over {
                        ready!(poll_discard(io, cx, left));
                    }
                    Self::Done
                }
                Self::Done => return Poll::Ready(Ok(())),
            };
        }
    }
}

/// Reads until the end, an error, or too much.
fn poll_discard<S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    left: &mut usize,
) -> Poll<()> {
    let mut scratch = [0; STEP];
    while *left > 0 {
        let mut buf = ReadBuf::new(&mut scratch);
        match ready!(Pin::new(&mut *io).poll_read(cx, &mut buf)) {
            Ok(()) if !buf.filled().is_empty() => *left = left.saturating_sub(buf.filled().len()),
            _ => break,
        }
    }
    Poll::Ready(())
}

/// Appends what one read brings; how much that was.
fn read_more<S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    held: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let mut scratch = [0; STEP];
    let mut buf = ReadBuf::new(&mut scratch);
    ready!(Pin::new(io).poll_read(cx, &mut buf))?;
    held.extend_from_slice(buf.filled());
    Poll::Ready(Ok(buf.filled().len()))
}
