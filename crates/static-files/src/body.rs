use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::open::{Patience, Trouble, read};

/// The bytes of one frame of a large file, and so the memory that one transfer takes.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The body of an answer: nothing, a small file, or a large one that is read as the client takes it.
///
/// Holds at most 64 KiB. What the kernel has in memory is read at once, the rest on a thread that may wait. A file
/// that became shorter since the head was sent is an error, as its length was promised.
#[derive(Debug)]
pub struct Body(State);

#[derive(Debug)]
enum State {
    Done,
    Whole(Bytes),
    Reading(Reading),
}

#[derive(Debug)]
struct Reading {
    file: Arc<OwnedFd>,
    offset: u64,
    left: u64,
    /// A read that had to wait; its task ends by itself, whoever looks.
    pending: Option<JoinHandle<Result<Bytes, Trouble>>>,
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self(State::Done)
    }

    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { State::Done } else { State::Whole(bytes) })
    }

    pub(crate) fn reading(file: OwnedFd, offset: u64, length: u64) -> Self {
        let file = Arc::new(file);
        Self(State::Reading(Reading { file, offset, left: length, pending: None }))
    }

    fn left(&self) -> u64 {
        match &self.0 {
            State::Done => 0,
            State::Whole(bytes) => bytes.len() as u64,
            State::Reading(reading) => reading.left,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = match &mut self.0 {
            State::Reading(reading) if reading.left > 0 => ready!(reading.poll_chunk(context)),
            _ => match std::mem::replace(&mut self.0, State::Done) {
                State::Whole(bytes) => Ok(bytes),
                State::Done | State::Reading(_) => return Poll::Ready(None),
            },
        };
        if chunk.is_err() {
            self.0 = State::Done;
        }
        Poll::Ready(Some(chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl Reading {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let length = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        let read = match &mut self.pending {
            Some(pending) => {
                let finished = ready!(Pin::new(pending).poll(context));
                self.pending = None;
                finished.unwrap_or_else(|lost| Err(Trouble::Io(io::Error::other(lost))))
            }
            None => match read(&self.file, self.offset, length, Patience::None) {
                Err(Trouble::WouldWait) => {
                    let (file, offset) = (self.file.clone(), self.offset);
                    let waiting = move || read(&file, offset, length, Patience::Full);
                    self.pending = Some(tokio::task::spawn_blocking(waiting));
                    return self.poll_chunk(context);
                }
                finished => finished,
            },
        };
        Poll::Ready(match read {
            Ok(chunk) => {
                self.offset += chunk.len() as u64;
                self.left -= chunk.len() as u64;
                Ok(chunk)
            }
            Err(Trouble::Io(error)) => Err(error),
            Err(trouble) => Err(io::Error::other(format!("{trouble:?}"))),
        })
    }
}
