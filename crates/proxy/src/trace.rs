//! Trace context (W3C Trace Context, level 1): passed on as it came, and told to the access log.

use std::ops::Deref;

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};

use crate::id::Ids;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The length of a `traceparent` of version 00; later versions may add to it.
const LENGTH: usize = 55;

/// The id of a trace: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId([u8; 32]);

impl Deref for TraceId {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What a request says of the trace that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// Nothing.
    Absent,
    /// It is part of this one.
    Told(TraceId),
    /// Something that can't be read.
    Malformed,
    /// It begins one, with this id of its parent.
    Begun(TraceId, [u8; 16]),
}

impl Trace {
    /// That of a request; one without is given one if `ids` are.
    pub(crate) fn of(headers: &HeaderMap, ids: Option<&Ids>) -> Self {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        match (fields.next(), fields.next()) {
            (Some(field), None) => trace_id(field.as_bytes()).map_or(Self::Malformed, Self::Told),
            (Some(_), Some(_)) => Self::Malformed,
            (None, _) => ids.map_or(Self::Absent, Self::begin),
        }
    }

    fn begin(ids: &Ids) -> Self {
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&ids.random());
        digits[16..].copy_from_slice(&ids.random());
        Self::Begun(TraceId(digits), ids.random())
    }

    /// The id of the trace, if it is known.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Told(id) | Self::Begun(id, _) => Some(id),
            Self::Absent | Self::Malformed => None,
        }
    }

    /// What the upstream is told. What can't be read goes: half of it would be worse than nothing (§4.3).
    pub(crate) fn pass_on(&self, headers: &mut HeaderMap) {
        match self {
            Self::Absent => {}
            Self::Told(_) => {
                if !headers.get_all(TRACESTATE).iter().all(is_state) {
                    headers.remove(TRACESTATE);
                }
            }
            Self::Malformed => {
                headers.remove(TRACEPARENT);
                headers.remove(TRACESTATE);
            }
            Self::Begun(id, parent) => {
                let parent = std::str::from_utf8(parent).unwrap_or_default();
                // Recorded: else apps that follow their caller's choice would never record anything.
                if let Ok(field) = HeaderValue::try_from(format!("00-{}-{parent}-01", &**id)) {
                    headers.insert(TRACEPARENT, field);
                    headers.remove(TRACESTATE);
                }
            }
        }
    }
}

/// The trace of a `traceparent`, if all of that is in order (§3.2).
fn trace_id(field: &[u8]) -> Option<TraceId> {
    let (head, more) = field.split_at_checked(LENGTH)?;
    let [v1, v2, b'-', rest @ ..] = head else { return None };
    let (id, rest) = rest.split_first_chunk::<32>()?;
    let [b'-', rest @ ..] = rest else { return None };
    let (parent, rest) = rest.split_first_chunk::<16>()?;
    let [b'-', flags @ ..] = rest else { return None };
    let hex = |digits: &[u8]| digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let some = |digits: &[u8]| digits.iter().any(|byte| *byte != b'0');
    let ends = match (&[*v1, *v2], more) {
        (b"ff", _) => false,
        (_, []) => true,
        (b"00", _) => false,
        (_, more) => more.starts_with(b"-"),
    };
    let right = hex(&[*v1, *v2]) && hex(id) && hex(parent) && hex(flags);
    (right && some(id) && some(parent) && ends).then_some(TraceId(*id))
}

/// Whether a line of `tracestate` is a list of keys with values (§3.3).
fn is_state(line: &HeaderValue) -> bool {
    let is_key = |key: &str| {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        key.len() <= 256
            && key.bytes().next().is_some_and(good)
            && key.bytes().all(|byte| good(byte) || b"_-*/@".contains(&byte))
    };
    let is_value = |value: &str| (1..=256).contains(&value.len()) && !value.contains('=');
    let is_member = |member: &str| {
        let member = member.trim_matches([' ', '\t']);
        let pair = member.split_once('=');
        member.is_empty() || pair.is_some_and(|(key, value)| is_key(key) && is_value(value))
    };
    // `to_str` lets visible ASCII pass alone.
    line.to_str().is_ok_and(|line| line.split(',').count() <= 32 && line.split(',').all(is_member))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(field).collect()
    }

    fn passed_on(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = map(fields);
        Trace::of(&headers, None).pass_on(&mut headers);
        headers
    }

    #[test]
    fn a_parent_is_read_to_the_letter() {
        let id = Some("4bf92f3577b34da6a3ce929d0e0e4736");
        for (field, want) in [
            (GOOD.to_owned(), id),
            (GOOD.replacen("00-", "01-", 1), id),
            (format!("{}-more", GOOD.replacen("00-", "cc-", 1)), id),
            (format!("{}more", GOOD.replacen("00-", "cc-", 1)), None),
            (format!("{GOOD}-more"), None),
            (GOOD.replacen("00-", "ff-", 1), None),
            (GOOD.replacen("00-", "0x-", 1), None),
            (GOOD.replace("4bf9", "4BF9"), None),
            (GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), None),
            (GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)), None),
            (GOOD.replace("-01", "-0g"), None),
            (GOOD[..54].to_owned(), None),
            (GOOD.replacen('-', "_", 3), None),
            (String::new(), None),
        ] {
            let trace = Trace::of(&map(&[("traceparent", &field)]), None);
            assert_eq!(trace.id(), want, "{field}");
        }
    }

    #[test]
    fn what_is_right_passes_as_it_came_and_what_is_wrong_goes() {
        let good = [("traceparent", GOOD), ("tracestate", "a=1, b@c=x y ,,d/e=!"), ("x", "y")];
        assert_eq!(passed_on(&good), map(&good));
        for state in ["a", "A=1", "a=", "a=b=c", "=b", "a=1;b"] {
            let kept = passed_on(&[("traceparent", GOOD), ("tracestate", state)]);
            assert_eq!(kept.contains_key(TRACESTATE), state == "a=1;b", "{state}");
            assert!(kept.contains_key(TRACEPARENT));
        }
        assert!(passed_on(&[("traceparent", "x"), ("tracestate", "a=1")]).is_empty());
        assert!(passed_on(&[("traceparent", GOOD), ("traceparent", GOOD)]).is_empty());
    }

    #[test]
    fn one_is_begun_where_that_is_wanted() {
        let ids = Ids::new();
        let mut headers = map(&[("tracestate", "a=1")]);
        let trace = Trace::of(&headers, Some(&ids));
        trace.pass_on(&mut headers);
        let read = Trace::of(&headers, Some(&ids));
        assert!(matches!(read, Trace::Told(_)) && read.id() == trace.id());
        assert!(!headers.contains_key(TRACESTATE));
        assert_ne!(Trace::of(&HeaderMap::new(), Some(&ids)).id(), trace.id());
        assert_eq!(Trace::of(&HeaderMap::new(), None), Trace::Absent);
    }
}
