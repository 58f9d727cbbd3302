use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::forwarded::{Verdict, verdict};
use crate::hop::is_hop_by_hop;

/// Changes to a head that an operator asks for, in the order written; made once per host.
///
/// ```
/// use rewrite::{Change, Operations};
///
/// let operations = Operations::new([
///     (Change::Remove, "x-debug", ""),
///     (Change::Set, "cache-control", "no-store"),
///     (Change::Add, "set-cookie", "seen=1; Path=/"),
/// ])?;
/// let mut headers = http::HeaderMap::new();
/// headers.insert("x-debug", "1".parse()?);
/// operations.apply(&mut headers);
/// assert_eq!(headers["cache-control"], "no-store");
/// assert_eq!(headers.len(), 2);
///
/// let refused = Operations::new([(Change::Set, "content-length", "0")]);
/// assert!(refused.unwrap_err().to_string().contains("content-length"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operations(Vec<(Change, HeaderName, HeaderValue)>);

/// What to do with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Exactly this value, in place of all there are.
    Set,
    /// One more line with this value.
    Add,
    /// No line of this name.
    Remove,
}

/// As many as one host may have in one direction.
const MAX_OPERATIONS: usize = 64;
/// The longest value, in bytes.
const MAX_VALUE: usize = 8 * 1024;

impl Operations {
    /// Reads operations: what to do, the field's name in any case, and its value (empty for [`Change::Remove`]).
    ///
    /// # Errors
    /// With the first that can't be: a name or value that HTTP doesn't allow, a field that is the gateway's own
    /// ([`is_changeable`]), a value for a removal, or more than 64 operations.
    pub fn new<'a>(
        operations: impl IntoIterator<Item = (Change, &'a str, &'a str)>,
    ) -> Result<Self, OperationError> {
        let read = operations.into_iter().map(|(change, name, value)| read(change, name, value));
        let read = read.collect::<Result<Vec<_>, _>>()?;
        if read.len() > MAX_OPERATIONS {
            let name = read[MAX_OPERATIONS].1.to_string();
            return Err(OperationError { name, why: Why::TooMany });
        }
        Ok(Self(read))
    }

    /// Changes a head. Without operations it costs nothing.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (change, name, value) in &self.0 {
            match change {
                Change::Set => drop(headers.insert(name, value.clone())),
                Change::Add => drop(headers.append(name, value.clone())),
                Change::Remove => drop(headers.remove(name)),
            }
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether an operator may change a field. Not those that frame a message or belong to a connection, nor those by which
/// the gateway tells an app where a request came from, in any spelling that an app may take for them.
pub fn is_changeable(name: &HeaderName) -> bool {
    let dashed = name.as_str().replace('_', "-");
    let framing = matches!(
        &*dashed,
        "content-length"
            | "expect"
            | "host"
            | "http2-settings"
            | "sec-websocket-accept"
            | "sec-websocket-key"
            | "trailer"
    );
    let hop_by_hop = HeaderName::try_from(&*dashed).is_ok_and(|name| is_hop_by_hop(&name));
    !framing && !hop_by_hop && verdict(&dashed) == Verdict::Keep
}

fn read(
    change: Change,
    name: &str,
    value: &str,
) -> Result<(Change, HeaderName, HeaderValue), OperationError> {
    let wrong = |why| OperationError { name: name.chars().take(120).collect(), why };
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(Why::Name))?;
    if !is_changeable(&header) {
        return Err(wrong(Why::Reserved));
    }
    if change == Change::Remove && !value.is_empty() {
        return Err(wrong(Why::ValueOfRemoval));
    }
    // HTTP/2 forbids what HTTP/1 would trim (RFC 9113 §8.2.1).
    let is_trimmed = value.trim_matches([' ', '\t']) == value;
    if value.len() > MAX_VALUE || !is_trimmed || !value.is_ascii() {
        return Err(wrong(Why::Value));
    }
    let value = HeaderValue::from_str(value).map_err(|_| wrong(Why::Value))?;
    Ok((change, header, value))
}

/// A header operation that can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationError {
    name: String,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Name,
    Value,
    Reserved,
    ValueOfRemoval,
    TooMany,
}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Name => "that is no field name",
            Why::Value => {
                "the value must be visible ASCII without spaces around it, of at most 8192 bytes"
            }
            Why::Reserved => "the gateway itself sets or removes this field",
            Why::ValueOfRemoval => "a removal has no value",
            Why::TooMany => "there can be 64 operations at most",
        };
        write!(f, "header operation on {:?}: {why}", self.name)
    }
}

impl std::error::Error for OperationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_in_their_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("a", "1"), ("a", "2"), ("b", "1")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let list = [
            (Change::Remove, "B", ""),
            (Change::Set, "A", "3"),
            (Change::Add, "a", "4"),
            (Change::Add, "c", ""),
            (Change::Remove, "missing", ""),
        ];
        Operations::new(list).unwrap().apply(&mut headers);
        assert_eq!(headers.get_all("a").iter().collect::<Vec<_>>(), ["3", "4"]);
        assert_eq!((headers.get("b"), headers["c"].len(), headers.len()), (None, 0, 3));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (change, name, value, why) in [
            (Change::Set, "", "x", "no field name"),
            (Change::Set, "a b", "x", "no field name"),
            (Change::Set, ":path", "x", "no field name"),
            (Change::Set, "a\r\nb", "x", "no field name"),
            (Change::Set, "ü", "x", "no field name"),
            (Change::Set, "x", "a\r\nb: c", "visible ASCII"),
            (Change::Set, "x", "a\0", "visible ASCII"),
            (Change::Set, "x", " a", "visible ASCII"),
            (Change::Set, "x", "ü", "visible ASCII"),
            (Change::Remove, "x", "a", "no value"),
        ] {
            let error = Operations::new([(change, name, value)]).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let long = "x".repeat(MAX_VALUE + 1);
        assert!(Operations::new([(Change::Set, "x", &*long)]).is_err());
        assert!(Operations::new([(Change::Remove, "x", ""); 65]).is_err());
        assert!(Operations::new([(Change::Remove, "x", ""); 64]).is_ok());
    }

    #[test]
    fn the_gateway_s_own_fields_are_out_of_reach() {
        for name in [
            "Connection",
            "keep-alive",
            "proxy-authenticate",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "upgrade",
            "transfer-encoding",
            "Transfer_Encoding",
            "content-length",
            "content_length",
            "Host",
            "expect",
            "forwarded",
            "x-forwarded-for",
            "X_Forwarded_For",
            "x-forwarded-anything",
            "x-real-ip",
            "x-request-id",
            "proxy",
            "x-original-url",
            "x-rewrite-url",
            "sec-websocket-key",
            "http2-settings",
        ] {
            for change in [Change::Set, Change::Add, Change::Remove] {
                let value = if change == Change::Remove { "" } else { "x" };
                let error = Operations::new([(change, name, value)]).unwrap_err().to_string();
                assert!(error.contains("the gateway itself"), "{error}");
            }
        }
        for name in ["authorization", "cookie", "set-cookie", "cache-control", "x_custom", "vary"] {
            assert!(is_changeable(&HeaderName::from_static(name)), "{name}");
        }
    }
}
