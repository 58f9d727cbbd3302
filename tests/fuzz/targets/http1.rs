//! The reading of HTTP/1 requests, against a slow parser. The input is all that a client ever sends.
//!
//! Both are private to the proxy, and pure: their files are taken in here as they are, so that a fuzzer doesn't build and
//! instrument a whole data plane.
#![allow(dead_code, unreachable_pub, reason = "another crate's files, of which this uses a part")]

#[path = "../../../crates/proxy/src/http1/chunked.rs"]
mod chunked;
#[path = "../../../crates/proxy/src/http1/feed.rs"]
mod feed;
#[path = "../../../crates/proxy/src/http1/fields.rs"]
mod fields;
#[path = "../../../crates/proxy/src/http1/head.rs"]
mod head;
#[path = "../../../crates/proxy/src/http1/tests/reference.rs"]
mod reference;
#[path = "../../../crates/proxy/src/http1/requests.rs"]
mod requests;
#[path = "../../../crates/proxy/src/http1/violation.rs"]
mod violation;

use self::feed::{Place, feed};
use self::reference::{Outcome, judge};
use self::violation::Violation;

/// Below every limit of lengths; those are the table's matter.
const MAX_STREAM: usize = 4096;

pub(crate) fn run(data: &[u8]) {
    let data = &data[..data.len().min(MAX_STREAM)];
    let seen = |pieces: Vec<&[u8]>| {
        let seen = feed(pieces);
        (seen.passed.len(), seen.refused)
    };
    let whole = seen(vec![data]);
    let at =
        data.iter().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let (first, second) = data.split_at(at % (data.len() + 1));
    for cut in
        [seen(vec![first, second]), seen(data.chunks(1).collect()), seen(data.chunks(7).collect())]
    {
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
