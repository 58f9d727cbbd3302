use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Stream;

/// A connection that switched protocols. Bytes that came with the `101` are read first; `shutdown` closes the
/// writing half only.
#[derive(Debug)]
pub struct UpgradedIo {
    transport: Transport,
    leftover: Bytes,
}

#[derive(Debug)]
enum Transport {
    Own(Stream),
    Hyper(TokioIo<Upgraded>),
}

impl UpgradedIo {
    pub(crate) fn new(stream: Stream, leftover: Bytes) -> Self {
        // Even empty it would keep the buffer that it came in.
        let leftover = if leftover.is_empty() { Bytes::new() } else { leftover };
        Self { transport: Transport::Own(stream), leftover }
    }
}

impl From<Upgraded> for UpgradedIo {
    fn from(upgraded: Upgraded) -> Self {
        Self { transport: Transport::Hyper(TokioIo::new(upgraded)), leftover: Bytes::new() }
    }
}

impl AsyncRead for UpgradedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.leftover.is_empty() {
            return match &mut self.transport {
                Transport::Own(stream) => Pin::new(stream).poll_read(cx, into),
                Transport::Hyper(upgraded) => Pin::new(upgraded).poll_read(cx, into),
            };
        }
        let take = self.leftover.len().min(into.remaining());
        into.put_slice(&self.leftover[..take]);
        self.leftover.advance(take);
        if self.leftover.is_empty() {
            // Even empty it would keep the buffer that it came in.
            self.leftover = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UpgradedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Own(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Hyper(upgraded) => Pin::new(upgraded).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Own(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Hyper(upgraded) => Pin::new(upgraded).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Own(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Hyper(upgraded) => Pin::new(upgraded).poll_shutdown(cx),
        }
    }
}
