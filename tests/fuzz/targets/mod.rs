//! A module per target.

pub(crate) mod answers;
pub(crate) mod cookies;
pub(crate) mod files;
pub(crate) mod forwarded;
pub(crate) mod hosts;
pub(crate) mod http1;
pub(crate) mod paths;
pub(crate) mod proxy_protocol;
pub(crate) mod upstream;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Beyond this an input shows nothing that a shorter one does not.
const MAX_FIELDS: usize = 32;

/// Reads lines `name: value` as the fields of a message; lines that are none are left out.
fn fields(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').take(MAX_FIELDS) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The first line, and the rest.
fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}

/// Takes the escapes out of a text, once; one that is none stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let escape = text.get(at..at + 3).filter(|it| it[0] == b'%');
        let digits = escape.and_then(|it| std::str::from_utf8(&it[1..]).ok());
        let plain = |it: &&str| it.bytes().all(|digit| digit.is_ascii_hexdigit());
        match digits.filter(plain).and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

/// Where a browser would go by an address (WHATWG URL, its lenient parts: tabs and line ends out, backslashes as
/// slashes, user information up to the last `@`, escapes in the host): the host in lower case and the port as written.
/// `None` when it stays on the site that it is on.
fn browser_goes_to(address: &[u8]) -> Option<(String, Option<String>)> {
    let text = String::from_utf8_lossy(address);
    let text: String = text.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect();
    let text = text.trim_matches(|c: char| c <= ' ').replace('\\', "/");
    let lower = text.to_ascii_lowercase();
    // A web scheme takes any number of slashes, none too.
    let start = match ["http:", "https:"].iter().find(|scheme| lower.starts_with(**scheme)) {
        Some(scheme) => scheme.len(),
        None if text.starts_with("//") => 0,
        None => return None,
    };
    let rest = text[start..].trim_start_matches('/');
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let end = place.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match place[end..].find(':') {
        Some(at) => (&place[..end + at], Some(place[end + at + 1..].to_owned())),
        None => (place, None),
    };
    let host = String::from_utf8_lossy(&decoded(host.as_bytes())).to_ascii_lowercase();
    Some((host, port.filter(|port| !port.is_empty())))
}
