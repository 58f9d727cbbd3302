//! Bytes both ways between two streams, with no memory held while none move.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::scratch::Scratch;

/// Copies until both sides are done; each side's end is passed on to the other. Gives up at the first error.
pub(crate) async fn both_ways<A, B>(a: &mut A, b: &mut B, scratch: &Scratch) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Way::default(), Way::default());
    poll_fn(|cx| {
        let there = there.poll(cx, a, b, scratch)?;
        let back = back.poll(cx, b, a, scratch)?;
        match (there, back) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Read, and not yet taken by the other side: empty unless that is slower.
    held: Vec<u8>,
    taken: usize,
    unflushed: bool,
    over: bool,
    done: bool,
}

impl Way {
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        scratch: &Scratch,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.done {
            while self.taken < self.held.len() {
                self.taken += ready!(poll_write(cx, to, &self.held[self.taken..]))?;
                self.unflushed = true;
            }
            if !self.held.is_empty() {
                (self.held, self.taken) = (Vec::new(), 0);
            }
            if self.over {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.done = true;
            } else if self.poll_pass(cx, from, to, scratch)?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and hands on what the other side takes; the rest is held.
    fn poll_pass<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        scratch: &Scratch,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = scratch.lend();
        let mut buffer = ReadBuf::new(&mut buffer);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        self.over = read.is_empty();
        let mut taken = 0;
        while taken < read.len() {
            match poll_write(cx, to, &read[taken..]) {
                Poll::Ready(written) => taken += written?,
                Poll::Pending => {
                    self.held = read[taken..].to_vec();
                    break;
                }
            }
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_write<W: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    to: &mut W,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(Ok(written)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

    use super::*;

    /// More than either pipe holds goes both ways at once, and the end of one way leaves the other open.
    #[tokio::test]
    async fn all_bytes_go_both_ways_and_ends_are_passed_on() {
        let (left, mut a) = duplex(1000);
        let (mut b, right) = duplex(3000);
        let data: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let copying = async { both_ways(&mut a, &mut b, &Scratch::default()).await };
        let send = async |mut half: tokio::io::WriteHalf<tokio::io::DuplexStream>| {
            half.write_all(&data).await.unwrap();
            half.shutdown().await.unwrap();
        };
        let receive = async |mut half: tokio::io::ReadHalf<tokio::io::DuplexStream>| {
            let mut got = Vec::new();
            half.read_to_end(&mut got).await.unwrap();
            assert!(got == data);
        };
        let ((left_in, left_out), (right_in, right_out)) = (split(left), split(right));
        let first = async {
            tokio::join!(send(left_out), receive(right_in));
            // Only now the other way.
            send(right_out).await;
        };
        let (copied, (), ()) = tokio::join!(copying, first, receive(left_in));
        copied.unwrap();
    }

    #[tokio::test]
    async fn an_error_ends_both_ways() {
        let (left, mut a) = duplex(1000);
        let (mut b, right) = duplex(1000);
        drop(right);
        let (_read, mut write) = split(left);
        write.write_all(b"hello").await.unwrap();
        let end = both_ways(&mut a, &mut b, &Scratch::default()).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
