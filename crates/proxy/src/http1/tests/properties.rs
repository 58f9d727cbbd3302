//! Our grammar against the slow parser, and against itself in pieces.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::reference::{Outcome, judge};
use super::{Place, Seen, feed};

const LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET / HTTP/1.1",
    "POST /p?q HTTP/1.1",
    "POST /p HTTP/1.0",
    "OPTIONS * HTTP/1.1",
    "GET http://a/ HTTP/1.1",
    "GET HTTPS://b HTTP/1.1",
    "GET  / HTTP/1.1",
    "GET / HTTP/1.1 ",
    "CONNECT a:1 HTTP/1.1",
    "GET / HTTP/2.0",
    "",
];

const FIELDS: &[&str] = &[
    "Host: a",
    "Host: a",
    "host: b:80",
    "Host: a b",
    "Accept: */*",
    "X:",
    "X: y z\t",
    "X : y",
    " folded",
    "Upgrade: x",
    "Content-Length: 0",
    "Content-Length: 3",
    "Content-Length: 7",
    "content-length: 3, 3",
    "Transfer-Encoding: chunked",
    "transfer-encoding: CHUNKED",
    "Transfer-Encoding: gzip",
];

const BODIES: &[&str] = &[
    "",
    "",
    "abc",
    "0\r\n\r\n",
    "3\r\nabc\r\n0\r\n\r\n",
    "1;x=y\r\na\r\nA\r\n0123456789\r\n00\r\nX: y\r\n\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "0\r\nHost: a\r\n\r\n",
    "3\nabc\n0\n\n",
];

/// Requests that are right more often than not, so that the streams get somewhere.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let end =
        prop_oneof![60 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n")];
    let field = (prop_oneof![3 => Just("Accept: */*"), 4 => select(FIELDS)], end.clone());
    let host = prop_oneof![8 => Just("Host: a\r\n"), 1 => Just("")];
    let line = (prop_oneof![3 => Just("POST / HTTP/1.1"), 1 => select(LINES)], end.clone());
    (line, host, vec(field, 0..4), end, select(BODIES)).prop_map(
        |((line, line_end), host, fields, end, body)| {
            let fields: String = fields.into_iter().flat_map(|(field, end)| [field, end]).collect();
            [line, line_end, host, &fields, end, body].concat().into_bytes()
        },
    )
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    vec(request(), 1..4).prop_map(|requests| requests.concat())
}

#[derive(Clone, Debug)]
enum Edit {
    Replace(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let byte = prop_oneof![select(&b"\r\n\0 \t:;,0159aAfgx/\x7f\x80\xff"[..]), any::<u8>()];
    let at = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    prop_oneof![
        (at.clone(), byte.clone()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (at.clone(), byte).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        at.clone().prop_map(Edit::Remove),
        at.prop_map(Edit::Cut),
    ]
}

fn apply(mut stream: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let len = stream.len().max(1);
        match *edit {
            Edit::Replace(at, byte) if !stream.is_empty() => stream[at % len] = byte,
            Edit::Insert(at, byte) => stream.insert((at % len).min(stream.len()), byte),
            Edit::Remove(at) if !stream.is_empty() => drop(stream.remove(at % len)),
            Edit::Cut(at) => stream.truncate(at % len),
            Edit::Replace(..) | Edit::Remove(_) => {}
        }
    }
    stream
}

/// Cuts the stream at the given places, wherever those fall.
fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(stream.len());
    let mut start = 0;
    cuts.into_iter().map(|cut| &stream[std::mem::replace(&mut start, cut)..cut]).collect()
}

fn assert_agrees(stream: &[u8], seen: &Seen) {
    match judge(stream) {
        Outcome::Good(len) => assert_eq!((seen.refused, seen.passed.len()), (None, len)),
        Outcome::BadHead(start) => {
            assert!(matches!(seen.refused, Some((_, Place::Head))), "{seen:?}");
            assert_eq!(seen.passed.len(), start);
        }
        Outcome::BadBody => assert!(matches!(seen.refused, Some((_, Place::Body))), "{seen:?}"),
    }
    assert!(stream.starts_with(&seen.passed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn agrees_with_the_slow_parser(stream in stream(), edits in vec(edit(), 0..3)) {
        let stream = apply(stream, &edits);
        assert_agrees(&stream, &feed([&stream[..]]));
    }

    #[test]
    fn pieces_change_nothing(stream in stream(), edits in vec(edit(), 0..3), cuts in vec(any::<usize>(), 0..12)) {
        let stream = apply(stream, &edits);
        let whole = feed([&stream[..]]);
        let cut = feed(pieces(&stream, &cuts));
        prop_assert_eq!(whole.refused, cut.refused);
        assert_agrees(&stream, &cut);
        let bytes = feed(stream.chunks(1));
        prop_assert_eq!(whole.refused, bytes.refused);
        assert_agrees(&stream, &bytes);
    }

    #[test]
    fn noise_never_panics(stream in vec(any::<u8>(), 0..400), cuts in vec(any::<usize>(), 0..4)) {
        let whole = feed([&stream[..]]);
        assert_agrees(&stream, &whole);
        prop_assert_eq!(whole.refused, feed(pieces(&stream, &cuts)).refused);
    }
}
