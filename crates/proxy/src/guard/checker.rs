//! The state of one connection's request stream. Bytes in, verdicts out: no I/O.

use super::chunked::Chunked;
use super::head::{Framing, Head};
use super::violation::Violation;

/// Follows requests from head to body to the next head.
#[derive(Debug)]
pub(super) struct Checker {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Head(Head),
    Body(Body, AfterBody),
    /// The last request asked for another protocol. What follows is held until the answer to that is known.
    Undecided,
    /// Another protocol was agreed on.
    Opaque,
    Refused(Violation, Place),
}

#[derive(Debug)]
enum Body {
    Length(u64),
    Chunked(Chunked),
}

/// What comes behind a body.
#[derive(Clone, Copy, Debug)]
enum AfterBody {
    Head,
    Undecided,
}

/// Where the stream went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a head: the service never hears of that request.
    Head,
    /// In a body whose head has passed.
    Body,
}

impl Checker {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Head(Head::default()) }
    }

    /// How many bytes of the window may pass. The window starts with the first byte that has not passed yet
    /// and holds everything received since.
    pub(super) fn check(&mut self, window: &[u8]) -> usize {
        let mut pass = 0;
        loop {
            let rest = &window[pass..];
            let step = match &mut self.stage {
                Stage::Opaque => return window.len(),
                Stage::Undecided | Stage::Refused(..) => return pass,
                Stage::Head(head) => Self::head(head, rest),
                Stage::Body(body, after) => Self::body(body, *after, rest),
            };
            match step {
                Ok((len, next)) => {
                    pass += len;
                    match next {
                        Some(stage) => self.stage = stage,
                        None => return pass,
                    }
                }
                Err(violation) => {
                    let place =
                        if let Stage::Head(_) = self.stage { Place::Head } else { Place::Body };
                    self.stage = Stage::Refused(violation, place);
                    return pass;
                }
            }
        }
    }

    /// What went wrong, once it has: nothing passes any more.
    pub(super) fn refused(&self) -> Option<(Violation, Place)> {
        match self.stage {
            Stage::Refused(violation, place) => Some((violation, place)),
            _ => None,
        }
    }

    /// Whether everything passes from here on.
    pub(super) fn is_opaque(&self) -> bool {
        matches!(self.stage, Stage::Opaque)
    }

    /// The reader wants more after all that has passed. Behind a request for another protocol this says how that
    /// went: a server that did not switch reads the next head.
    pub(super) fn decide(&mut self, switched: bool) {
        if let Stage::Undecided = self.stage {
            self.stage = if switched { Stage::Opaque } else { Stage::Head(Head::default()) };
        }
    }

    fn head(head: &mut Head, rest: &[u8]) -> Result<(usize, Option<Stage>), Violation> {
        let Some(verdict) = head.check(rest)? else { return Ok((0, None)) };
        let after = if verdict.upgrade { AfterBody::Undecided } else { AfterBody::Head };
        let next = match verdict.framing {
            Framing::None => after.into(),
            Framing::Length(length) => Stage::Body(Body::Length(length), after),
            Framing::Chunked => Stage::Body(Body::Chunked(Chunked::default()), after),
        };
        Ok((verdict.len, Some(next)))
    }

    fn body(
        body: &mut Body,
        after: AfterBody,
        rest: &[u8],
    ) -> Result<(usize, Option<Stage>), Violation> {
        let (pass, done) = match body {
            Body::Length(left) => {
                let pass = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= pass as u64;
                (pass, *left == 0)
            }
            Body::Chunked(chunked) => {
                let progress = chunked.check(rest)?;
                (progress.pass, progress.done)
            }
        };
        Ok((pass, done.then(|| after.into())))
    }
}

impl From<AfterBody> for Stage {
    fn from(after: AfterBody) -> Self {
        match after {
            AfterBody::Head => Self::Head(Head::default()),
            AfterBody::Undecided => Self::Undecided,
        }
    }
}
