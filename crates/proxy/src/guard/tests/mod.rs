//! Tests of the guard, in three rings: a table of what is and is not a request, properties against an independent
//! slow parser, and the transport with hyper behind it.

mod cost;
mod properties;
mod reference;
mod table;
mod transport;

use super::checker::{Checker, Place};
use super::violation::Violation;

/// What a checker makes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Bytes that passed.
    pub(super) passed: Vec<u8>,
    /// How the stream was refused, if it was.
    pub(super) refused: Option<(Violation, Place)>,
}

/// Feeds a stream in the given pieces, as the transport does: what did not pass is offered again.
pub(super) fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut checker = Checker::new();
    let mut window = Vec::new();
    let mut passed = Vec::new();
    for piece in pieces {
        window.extend_from_slice(piece);
        let len = checker.check(&window);
        passed.extend(window.drain(..len));
    }
    Seen { passed, refused: checker.refused() }
}
