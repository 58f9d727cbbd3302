//! The guard of HTTP/1 connections, against a slow parser. The input is all that a client ever sends.
//!
//! Both are private to the proxy, and pure: their files are taken in here as they are, so that a fuzzer doesn't build and
//! instrument a whole data plane.
#![allow(dead_code, unreachable_pub, reason = "another crate's files, of which this uses a part")]

#[path = "../../../crates/proxy/src/guard/checker.rs"]
mod checker;
#[path = "../../../crates/proxy/src/guard/chunked.rs"]
mod chunked;
#[path = "../../../crates/proxy/src/guard/fields.rs"]
mod fields;
#[path = "../../../crates/proxy/src/guard/head.rs"]
mod head;
#[path = "../../../crates/proxy/src/guard/tests/reference.rs"]
mod reference;
#[path = "../../../crates/proxy/src/guard/violation.rs"]
mod violation;

use self::checker::{Checker, Place};
use self::reference::{Outcome, judge};
use self::violation::Violation;

/// Below every limit of lengths; those are the table's matter.
const MAX_STREAM: usize = 4096;

pub(crate) fn run(data: &[u8]) {
    let data = &data[..data.len().min(MAX_STREAM)];
    let whole = feed([data]);
    let at =
        data.iter().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let (first, second) = data.split_at(at % (data.len() + 1));
    for cut in [feed([first, second]), feed(data.chunks(1)), feed(data.chunks(7))] {
        assert_eq!(cut.1, whole.1, "pieces change nothing");
        // What passes of a body before it is found to be bad depends on how it comes.
        if !matches!(whole.1, Some((_, Place::Body))) {
            assert_eq!(cut.0, whole.0, "pieces change nothing");
        }
    }
    if let Some((Violation::TooManyFields | Violation::ChunkExtension, _)) = whole.1 {
        return;
    }
    match judge(data) {
        Outcome::Good(length) => assert_eq!(whole, (length, None)),
        Outcome::BadHead(start) => {
            assert!(
                matches!(whole, (passed, Some((_, Place::Head))) if passed == start),
                "{whole:?}"
            );
        }
        Outcome::BadBody => assert!(matches!(whole.1, Some((_, Place::Body))), "{whole:?}"),
    }
}

/// What a stream comes to, in the given pieces, as the transport feeds it.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (usize, Option<(Violation, Place)>) {
    let mut checker = Checker::new();
    let (mut window, mut passed) = (Vec::new(), 0);
    for piece in pieces {
        window.extend_from_slice(piece);
        let pass = checker.check(&window);
        window.drain(..pass);
        passed += pass;
    }
    (passed, checker.refused())
}
