//! What can be told of a request that never became one.

use super::fields::is_token;

/// Longer methods are no methods.
const LONGEST_METHOD: usize = 32;
/// As much of a target is kept.
const LONGEST_TARGET: usize = 2048;

/// The request line of a head that is incomplete or refused, as far as it reads like one. Nothing of it was checked:
/// for the log only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Begun {
    /// A token, or nothing.
    pub(crate) method: String,
    /// Up to the next space, or to where it is cut.
    pub(crate) target: Vec<u8>,
    /// `HTTP/1.0`, `HTTP/1.1`, or nothing.
    pub(crate) proto: &'static str,
}

impl Begun {
    /// Reads what there is of a head, from its first byte.
    pub(super) fn read(head: &[u8]) -> Self {
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        let end = head.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let line = &head[..end.unwrap_or(head.len())];
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let method = parts.next().unwrap_or_default();
        let is_method = !method.is_empty()
            && method.len() <= LONGEST_METHOD
            && method.iter().all(|byte| is_token(*byte));
        if !is_method {
            return Self::default();
        }
        let target = parts.next().unwrap_or_default();
        let proto = match parts.next() {
            Some(b"HTTP/1.1") => "HTTP/1.1",
            Some(b"HTTP/1.0") => "HTTP/1.0",
            _ => "",
        };
        Self {
            method: String::from_utf8_lossy(method).into_owned(),
            target: target[..target.len().min(LONGEST_TARGET)].to_vec(),
            proto,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_told_as_reads_like_a_request_line() {
        let long = [b"GET /".as_slice(), &[b'a'; 9000]].concat();
        for (head, method, target, proto) in [
            (&b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"[..], "GET", &b"/a?b"[..], "HTTP/1.1"),
            (b"\r\nPOST / HTTP/1.0\nx", "POST", b"/", "HTTP/1.0"),
            (b"GET /a b HTTP/1.1\r\n", "GET", b"/a", ""),
            (b"PRI * HTTP/2.0\r\n\r\nSM", "PRI", b"*", ""),
            (b"GET /\xff\0", "GET", b"/\xff\0", ""),
            (b"GET", "GET", b"", ""),
            (b"", "", b"", ""),
            (b"\x16\x03\x01\x02", "", b"", ""),
            (b"G\"T / HTTP/1.1\r\n", "", b"", ""),
            (&[b'G'; 100], "", b"", ""),
            (&long, "GET", &long[4..4 + LONGEST_TARGET], ""),
        ] {
            let begun = Begun::read(head);
            assert_eq!((&*begun.method, &*begun.target, begun.proto), (method, target, proto));
        }
    }
}
