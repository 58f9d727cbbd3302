//! What identifies a file's content, and the conditions a request puts on it (RFC 9110 §8.8 and §13).

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

use crate::coding::Coding;
use crate::open::Stat;

/// The first second that an HTTP date can't say: the year 10000.
const END_OF_DATES: i64 = 253_402_300_800;

/// The entity tag and the date of one representation.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    /// Strong: the time of change to the nanosecond, the size and the coding.
    pub(crate) etag: HeaderValue,
    /// Whole seconds; `None` when HTTP can't say the time.
    pub(crate) modified: Option<SystemTime>,
}

/// How the conditions came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Serve,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client expects.
    Failed,
}

impl Validator {
    pub(crate) fn new(stat: &Stat, coding: Coding) -> Self {
        let (seconds, nanos, size) = (stat.modified, stat.modified_nanos, stat.size);
        let etag = format!("\"{seconds:x}.{nanos:08x}-{size:x}{}\"", coding.suffix());
        let representable = u64::try_from(seconds).ok().filter(|_| seconds < END_OF_DATES);
        Self {
            // Visible ASCII: the fallback is never taken.
            etag: HeaderValue::try_from(etag).unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
            modified: representable.map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s)),
        }
    }

    /// The value of `Last-Modified`.
    pub(crate) fn last_modified(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(httpdate::fmt_http_date(self.modified?)).ok()
    }

    /// Evaluates the conditions in the order of RFC 9110 §13.2.2, for GET and HEAD. A date that can't be read is no
    /// condition.
    pub(crate) fn verdict(&self, headers: &HeaderMap) -> Verdict {
        if headers.contains_key(IF_MATCH) {
            if !self.is_listed(headers, &IF_MATCH, strong) {
                return Verdict::Failed;
            }
        } else if let (Some(since), Some(modified)) =
            (date(headers, &IF_UNMODIFIED_SINCE), self.modified)
            && modified > since
        {
            return Verdict::Failed;
        }
        let unchanged = if headers.contains_key(IF_NONE_MATCH) {
            self.is_listed(headers, &IF_NONE_MATCH, weak)
        } else {
            let since = date(headers, &IF_MODIFIED_SINCE);
            since.zip(self.modified).is_some_and(|(since, modified)| modified <= since)
        };
        if unchanged { Verdict::NotModified } else { Verdict::Serve }
    }

    /// Whether `Range` counts: no `If-Range`, or one that names exactly this (§13.1.5).
    pub(crate) fn range_counts(&self, headers: &HeaderMap) -> bool {
        let Some(condition) = headers.get(IF_RANGE) else { return true };
        if condition.as_bytes().contains(&b'"') {
            return strong(condition.as_bytes().trim_ascii(), self.etag.as_bytes());
        }
        date(headers, &IF_RANGE).is_some_and(|date| Some(date) == self.modified)
    }

    fn is_listed(
        &self,
        headers: &HeaderMap,
        field: &HeaderName,
        same: fn(&[u8], &[u8]) -> bool,
    ) -> bool {
        let mut lines = headers.get_all(field).iter().map(HeaderValue::as_bytes);
        lines.any(|line| {
            line.trim_ascii() == b"*" || tags(line).any(|tag| same(tag, self.etag.as_bytes()))
        })
    }
}

/// The entity tags of a list. Ours hold no comma, so that one inside a foreign tag does no harm.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn strong(theirs: &[u8], ours: &[u8]) -> bool {
    theirs == ours
}

fn weak(theirs: &[u8], ours: &[u8]) -> bool {
    theirs.strip_prefix(b"W/").unwrap_or(theirs) == ours
}

fn date(headers: &HeaderMap, field: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(field)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn validator() -> Validator {
        let stat = Stat { size: 10, modified: 784_111_777, modified_nanos: 5, is_folder: false };
        Validator::new(&stat, Coding::Identity)
    }

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let value = |value: &str| HeaderValue::from_str(value).unwrap();
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), value(v))).collect()
    }

    #[test]
    fn conditions_in_their_order() {
        assert_eq!(validator().last_modified().unwrap(), THEN);
        let tag = validator().etag.to_str().unwrap().to_owned();
        let weak_tag = format!("W/{tag}");
        let list = format!("\"x,y\", {tag}");
        for (fields, want) in [
            (&[][..], Verdict::Serve),
            (&[("if-none-match", &*tag)], Verdict::NotModified),
            (&[("if-none-match", &*weak_tag)], Verdict::NotModified),
            (&[("if-none-match", &*list)], Verdict::NotModified),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", "\"x\"")], Verdict::Serve),
            (&[("if-none-match", "\"x\""), ("if-modified-since", THEN)], Verdict::Serve),
            (&[("if-modified-since", THEN)], Verdict::NotModified),
            (&[("if-modified-since", AFTER)], Verdict::NotModified),
            (&[("if-modified-since", BEFORE)], Verdict::Serve),
            (&[("if-modified-since", "yesterday")], Verdict::Serve),
            (&[("if-match", &*tag)], Verdict::Serve),
            (&[("if-match", "*")], Verdict::Serve),
            (&[("if-match", &*weak_tag)], Verdict::Failed),
            (&[("if-match", "\"x\"")], Verdict::Failed),
            (&[("if-match", &*tag), ("if-unmodified-since", BEFORE)], Verdict::Serve),
            (&[("if-unmodified-since", BEFORE)], Verdict::Failed),
            (&[("if-unmodified-since", THEN)], Verdict::Serve),
            (&[("if-match", &*tag), ("if-none-match", &*tag)], Verdict::NotModified),
        ] {
            assert_eq!(validator().verdict(&map(fields)), want, "{fields:?}");
        }
    }

    #[test]
    fn a_range_counts_for_the_same_content_only() {
        let tag = validator().etag.to_str().unwrap().to_owned();
        let counts = |value: &str| validator().range_counts(&map(&[("if-range", value)]));
        assert!(counts(&tag) && counts(THEN));
        assert!(!counts(&format!("W/{tag}")) && !counts("\"x\"") && !counts("x"));
        assert!(!counts(BEFORE) && !counts(AFTER));
        assert!(validator().range_counts(&HeaderMap::new()));
    }

    #[test]
    fn each_coding_and_each_nanosecond_has_its_tag() {
        let stat = Stat { size: 10, modified: 0, modified_nanos: 5, is_folder: false };
        let later = Stat { modified_nanos: 6, ..stat };
        let tags = [
            Validator::new(&stat, Coding::Identity).etag,
            Validator::new(&stat, Coding::Gzip).etag,
            Validator::new(&later, Coding::Identity).etag,
        ];
        assert!(tags[0] != tags[1] && tags[0] != tags[2]);
    }

    #[test]
    fn times_that_http_cannot_say() {
        for modified in [-1, i64::MIN, END_OF_DATES, i64::MAX] {
            let stat = Stat { size: 1, modified, modified_nanos: 0, is_folder: false };
            let validator = Validator::new(&stat, Coding::Identity);
            assert_eq!(validator.last_modified(), None);
            let asked = map(&[("if-modified-since", THEN), ("if-unmodified-since", THEN)]);
            assert_eq!(validator.verdict(&asked), Verdict::Serve);
        }
    }
}
