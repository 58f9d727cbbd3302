use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio_util::io::poll_read_buf;

use crate::stream::Stream;

/// What a first read has room for.
pub(crate) const FIRST_ROOM: usize = 16 * 1024;

/// What a read of a bulk body has room for in the end. More is a little faster, and is what a client that stops reading
/// can keep for itself, per HTTP/2 stream.
const MOST_ROOM: usize = 256 * 1024;

/// The read buffer that all connections of a worker share: taken for the moment of a read, so waiting costs no
/// memory. What was read is cut off and shared, and the buffer used again once that is dropped.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    buffer: RefCell<BytesMut>,
}

impl Intake {
    /// Reads what there is; nothing at the connection's end.
    pub(crate) fn poll_read(
        &self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        let mut buffer = self.buffer.borrow_mut();
        poll_read_into(&mut buffer, FIRST_ROOM, stream, cx)
    }
}

/// The growing read buffer of one long body: larger reads, fewer of them.
#[derive(Debug)]
pub(crate) struct BulkIntake {
    buffer: BytesMut,
    room: usize,
}

impl BulkIntake {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::new(), room: FIRST_ROOM }
    }

    /// As [`Intake::poll_read`], by way of `shared` until a read fills half of it. `most` is what the body still
    /// has, if that is known: no need to make room for more.
    pub(crate) fn poll_read(
        &mut self,
        shared: &Intake,
        most: Option<u64>,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        let read = if self.room == FIRST_ROOM {
            ready!(shared.poll_read(stream, cx))?
        } else {
            let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
            let room = self.room.min(most.max(FIRST_ROOM));
            ready!(poll_read_into(&mut self.buffer, room, stream, cx))?
        };
        self.grow_after(read.len());
        Poll::Ready(Ok(read))
    }

    /// Makes room for more if a read filled half of what there was.
    pub(crate) fn grow_after(&mut self, read: usize) {
        if read >= self.room / 2 && self.room < MOST_ROOM {
            self.room = (self.room * 4).min(MOST_ROOM);
        }
    }
}

fn poll_read_into(
    buffer: &mut BytesMut,
    room: usize,
    stream: &mut Stream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    if buffer.capacity() < room / 2 {
        buffer.reserve(room);
    }
    let read = ready!(poll_read_buf(Pin::new(stream), cx, buffer))?;
    Poll::Ready(Ok(buffer.split_to(read).freeze()))
}
