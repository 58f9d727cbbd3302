//! `Range` (RFC 9110 §14).

use http::HeaderValue;

/// What a `Range` field asks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The whole of it.
    Whole,
    /// These bytes, the last one included.
    Part { first: u64, last: u64 },
    /// Bytes that it doesn't have, or what can't be read: 416.
    Impossible,
}

/// Reads a `Range` field for a file of `size` bytes.
///
/// Several ranges are answered by the whole, as RFC 9110 §14.2 allows: an answer in parts could be made larger than
/// the file. A unit other than `bytes` must be ignored (ibid.).
pub(crate) fn wanted(field: &HeaderValue, size: u64) -> Wanted {
    let Some((unit, set)) = field.to_str().ok().and_then(|field| field.split_once('=')) else {
        return Wanted::Impossible;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut ranges = set.split(',').map(|range| one(range.trim_matches([' ', '\t']), size));
    match (ranges.next(), ranges.next()) {
        (Some(Some(only)), None) => only,
        (Some(Some(_)), Some(Some(_))) if ranges.all(|range| range.is_some()) => Wanted::Whole,
        _ => Wanted::Impossible,
    }
}

/// One range: `first-last`, `first-` or `-suffix`; `None` when it is malformed.
fn one(range: &str, size: u64) -> Option<Wanted> {
    let (first, last) = range.split_once('-')?;
    let (first, last) = match (first, last) {
        ("", suffix) => (size.saturating_sub(number(suffix)?), u64::MAX),
        (first, "") => (number(first)?, u64::MAX),
        (first, last) => (number(first)?, number(last)?),
    };
    if last < first {
        return None;
    }
    let last = last.min(size.saturating_sub(1));
    Some(if first < size { Wanted::Part { first, last } } else { Wanted::Impossible })
}

/// A number of any length; what is larger than any file counts as the largest.
fn number(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |first, last| Wanted::Part { first, last };
        for (field, size, want) in [
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=2-5", 10, part(2, 5)),
            ("Bytes=2-5", 10, part(2, 5)),
            ("bytes= 2-5 ", 10, part(2, 5)),
            ("bytes=2-", 10, part(2, 9)),
            ("bytes=2-99", 10, part(2, 9)),
            ("bytes=002-5", 10, part(2, 5)),
            ("bytes=2-99999999999999999999999", 10, part(2, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-10", 10, part(0, 9)),
            ("bytes=-11", 10, part(0, 9)),
            ("bytes=-0", 10, Wanted::Impossible),
            ("bytes=10-", 10, Wanted::Impossible),
            ("bytes=99999999999999999999999-", 10, Wanted::Impossible),
            ("bytes=0-", 0, Wanted::Impossible),
            ("bytes=-1", 0, Wanted::Impossible),
            ("bytes=5-2", 10, Wanted::Impossible),
            ("bytes=", 10, Wanted::Impossible),
            ("bytes=-", 10, Wanted::Impossible),
            ("bytes=a-b", 10, Wanted::Impossible),
            ("bytes=+1-2", 10, Wanted::Impossible),
            ("bytes=1-2-3", 10, Wanted::Impossible),
            ("bytes", 10, Wanted::Impossible),
            ("lines=1-2", 10, Wanted::Whole),
            ("bytes=0-1,3-4", 10, Wanted::Whole),
            ("bytes=0-1, 3-4", 10, Wanted::Whole),
            ("bytes=0-,0-,0-", 10, Wanted::Whole),
            ("bytes=0-1,x", 10, Wanted::Impossible),
            ("bytes=0-1,2-3,x", 10, Wanted::Impossible),
        ] {
            assert_eq!(wanted(&HeaderValue::from_static(field), size), want, "{field} of {size}");
        }
    }
}
