//! The state of one connection's request stream. Bytes in, verdicts out: no I/O.

use std::ops::Range;

use super::chunked::Chunked;
use super::head::{Framing, Head};
use super::violation::Violation;

/// Follows requests from head to body to the next head.
///
/// Windows start with the first byte that was not used yet and hold everything received since. After a violation there is
/// nothing to follow any more.
#[derive(Debug, Default)]
pub(super) struct Requests {
    head: Head,
    body: Body,
}

/// What is still to come of the present request's body.
#[derive(Debug, Default)]
enum Body {
    #[default]
    Done,
    Length(u64),
    Chunked(Chunked),
}

/// A stretch of a body. Indices are those of the window.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stretch {
    /// How many bytes it uses up.
    pub(super) used: usize,
    /// Which of them are the sender's own.
    pub(super) data: Range<usize>,
    /// Which of them are trailer fields, with the empty line that ends them.
    pub(super) trailers: Range<usize>,
}

impl Requests {
    /// Goes on with the head of the next request: its length once it is whole and good.
    pub(super) fn head(&mut self, window: &[u8]) -> Result<Option<usize>, Violation> {
        let Some(verdict) = self.head.check(window)? else { return Ok(None) };
        self.body = match verdict.framing {
            Framing::None => Body::Done,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Chunked::default()),
        };
        Ok(Some(verdict.len))
    }

    /// What the present request's head says.
    pub(super) fn current(&self) -> &Head {
        &self.head
    }

    /// Goes on with the body; nothing is used while the window has no whole step of it.
    pub(super) fn body(&mut self, window: &[u8]) -> Result<Stretch, Violation> {
        match &mut self.body {
            Body::Done => Ok(Stretch::default()),
            Body::Length(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(window.len());
                *left -= used as u64;
                if *left == 0 {
                    self.body = Body::Done;
                }
                Ok(Stretch { used, data: 0..used, trailers: used..used })
            }
            Body::Chunked(chunked) => {
                let (stretch, done) = chunked.next(window)?;
                if done {
                    self.body = Body::Done;
                }
                Ok(stretch)
            }
        }
    }

    /// Whether the body has come to its end.
    pub(super) fn is_read_out(&self) -> bool {
        matches!(self.body, Body::Done)
    }

    /// How many bytes of it are still to come; `None` when nobody can know.
    pub(super) fn left(&self) -> Option<u64> {
        match self.body {
            Body::Done => Some(0),
            Body::Length(left) => Some(left),
            Body::Chunked(_) => None,
        }
    }

    /// The answer is out: the next head begins.
    pub(super) fn next(&mut self) {
        self.head.begin();
        self.body = Body::Done;
    }
}
