//! The forwarding fields a client may forge, and the chain of addresses a trusted peer sends.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::TrustedProxies;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What to do with a field of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Passes.
    Keep,
    /// Passes if the peer is trusted.
    Believe,
    /// Never passes.
    Drop,
}

/// Judges a field by its name (which [`HeaderName`] keeps in lower case).
pub(crate) fn verdict(name: &str) -> Verdict {
    match name {
        // `Proxy` becomes `HTTP_PROXY` for CGI programs; the others let a client choose the path an app sees.
        // `X-Request-ID` is given to each request anew.
        "proxy" | "x-forwarded-prefix" | "x-original-url" | "x-request-id" | "x-rewrite-url" => {
            Verdict::Drop
        }
        "forwarded" | "x-real-ip" => Verdict::Believe,
        _ if name.contains('_') && is_alias(name) => Verdict::Drop,
        _ if name.starts_with("x-forwarded-") => Verdict::Believe,
        _ => Verdict::Keep,
    }
}

/// Whether a name with underscores reads like one that matters: CGI-like apps see no difference.
fn is_alias(name: &str) -> bool {
    let dashed = name.replace('_', "-");
    verdict(&dashed) != Verdict::Keep
        || matches!(dashed.as_str(), "content-length" | "content-type" | "transfer-encoding")
}

/// Removes the fields with one of `verdicts`.
pub(crate) fn remove(headers: &mut HeaderMap, verdicts: &[Verdict]) {
    let found: Vec<HeaderName> =
        headers.keys().filter(|name| verdicts.contains(&verdict(name.as_str()))).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// The client behind a trusted `peer`: the rightmost address of `X-Forwarded-For` that is not trusted, or, when
/// all are, the leftmost. Reading stops at what is no address.
pub(crate) fn client_behind(headers: &HeaderMap, peer: IpAddr, trusted: &TrustedProxies) -> IpAddr {
    let lines: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    let mut client = peer;
    for hop in lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
        match address(hop) {
            Some(ip) => client = ip,
            None => break,
        }
        if !trusted.contains(client) {
            break;
        }
    }
    client
}

/// `X-Forwarded-For` continued by one address, as a single line.
pub(crate) fn continued(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let mut chain = Vec::new();
    for line in headers.get_all(X_FORWARDED_FOR) {
        let line = line.as_bytes().trim_ascii();
        if !line.is_empty() {
            chain.extend_from_slice(line);
            chain.extend_from_slice(b", ");
        }
    }
    chain.extend_from_slice(peer.as_bytes());
    // Joined from valid values by a comma: valid.
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| peer.clone())
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    ip.ok().map(|ip| ip.to_canonical())
}
