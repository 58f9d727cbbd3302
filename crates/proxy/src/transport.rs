//! The transport under a connection's HTTP: tells the pulse what moves.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pulse::Pulse;
use crate::time::Time;

/// A stream whose bytes and waits are noted in a [`Pulse`].
pub(crate) struct Metered<S> {
    io: S,
    pulse: Rc<Pulse>,
    time: Rc<Time>,
    blocked: bool,
}

impl<S> Metered<S> {
    pub(crate) fn new(io: S, pulse: Rc<Pulse>, time: Rc<Time>) -> Self {
        Self { io, pulse, time, blocked: false }
    }

    fn note(&mut self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(n)) => self.pulse.has_written(*n),
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        self.note_block(written.is_pending());
    }

    /// Writes what goes before the server's bytes.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        while !self.pulse.interim.is_empty() {
            let Self { io, pulse, .. } = self;
            let mut waits = false;
            pulse.interim.write(|bytes| match Pin::new(io).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => Err(io::Error::from(io::ErrorKind::WriteZero)),
                Poll::Ready(written) => written,
                Poll::Pending => {
                    waits = true;
                    Ok(0)
                }
            })?;
            if waits {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn note_block(&mut self, blocked: bool) {
        if blocked != self.blocked {
            self.blocked = blocked;
            self.pulse.write_blocks(blocked, self.time.coarse());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.pulse.has_read(self.time.coarse());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.pulse.interim.server_is_ahead(true);
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.pulse.interim.server_is_ahead(true);
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.pulse.interim.server_is_ahead(flushed.is_pending());
        self.note_block(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
