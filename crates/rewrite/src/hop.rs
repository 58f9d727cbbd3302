//! Fields that belong to one connection (RFC 9110 §7.6.1).

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes from an upstream's response what belongs to its connection.
///
/// Gone afterwards: `Connection` and the fields it names (none that a client's safety hangs on, such as
/// `Set-Cookie`), `Keep-Alive`, `Proxy-Connection`, `Proxy-Authenticate`, `Proxy-Authorization`, `TE`,
/// `Transfer-Encoding`, `Upgrade`.
pub fn response(headers: &mut HeaderMap) {
    if headers.keys().any(is_hop_by_hop) {
        strip(headers);
    }
}

/// The protocols a request asks to switch to: its `Upgrade` field, when `Connection` names it (RFC 9110 §7.8).
///
/// HTTP itself (`h2c`, `HTTP/2.0`) and TLS are never asked for, which a server is free to ignore: through such a tunnel a
/// client would send an app requests that nobody has checked, matched or counted. RFC 9113 §3.1 has dropped `h2c`.
pub fn requested_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get(UPGRADE)?;
    let named = options(headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let mut protocols = headers.get_all(UPGRADE).iter().flat_map(|value| tokens(value.as_bytes()));
    (named && !protocols.any(carries_requests)).then(|| upgrade.clone())
}

/// Removes every hop-by-hop field; `TE: trailers` stays, as it speaks of the message (RFC 9110 §10.1.4).
pub(crate) fn strip(headers: &mut HeaderMap) {
    remove_named_by_connection(headers);
    let trailers = accepts_trailers(headers);
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    match *name {
        CONNECTION | PROXY_AUTHENTICATE | PROXY_AUTHORIZATION | TE | TRANSFER_ENCODING
        | UPGRADE => true,
        _ => *name == KEEP_ALIVE || *name == PROXY_CONNECTION,
    }
}

/// Fields that end-to-end safety hangs on: a peer that names them in `Connection` is not obeyed, else it could
/// have a cookie, a length or the sender's address removed on the way.
fn is_protected(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || name.starts_with("sec-")
        || matches!(
            name,
            "authorization"
                | "cache-control"
                | "content-encoding"
                | "content-length"
                | "content-range"
                | "content-security-policy"
                | "content-type"
                | "cookie"
                | "date"
                | "expect"
                | "forwarded"
                | "host"
                | "location"
                | "origin"
                | "range"
                | "set-cookie"
                | "strict-transport-security"
                | "te"
                | "trailer"
                | "vary"
                | "www-authenticate"
                | "x-content-type-options"
                | "x-frame-options"
                | "x-real-ip"
                | "x-request-id"
        )
}

fn remove_named_by_connection(headers: &mut HeaderMap) {
    let usual = |option: &[u8]| {
        option.eq_ignore_ascii_case(b"keep-alive")
            || option.eq_ignore_ascii_case(b"close")
            || option.eq_ignore_ascii_case(b"upgrade")
    };
    // Names can't be removed while they are read; a peer that sends only the usual options costs nothing.
    let named: Vec<HeaderName> = options(headers)
        .filter(|option| !usual(option))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !is_protected(name.as_str()))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Whether requests would go on inside a protocol: `h2c`, `HTTP/…`, `TLS/…`.
fn carries_requests(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default().trim_ascii();
    [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TE).iter().flat_map(|value| tokens(value.as_bytes()));
    codings.any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(CONNECTION).iter().flat_map(|value| tokens(value.as_bytes()))
}

fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_belongs_to_a_connection_goes() {
        let mut headers = map(&[
            ("connection", "close, X-Mine"),
            ("connection", "upgrade , keep-alive,, te"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip, Trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-mine", "x"),
            ("x-yours", "x"),
            ("trailer", "x-sum"),
        ]);
        response(&mut headers);
        assert_eq!(headers, map(&[("te", "trailers"), ("trailer", "x-sum"), ("x-yours", "x")]));
    }

    #[test]
    fn connection_cannot_take_away_what_matters() {
        for name in ["host", "cookie", "set-cookie", "authorization", "content-length"] {
            let mut headers = map(&[("connection", "x-other")]);
            headers.append("connection", HeaderValue::from_static(name));
            headers.append(name, HeaderValue::from_static("x"));
            response(&mut headers);
            assert_eq!((headers.len(), &headers[name]), (1, &HeaderValue::from_static("x")));
        }
    }

    #[test]
    fn an_upgrade_needs_both_fields() {
        let asked = |fields: &[(&'static str, &'static str)]| requested_upgrade(&map(fields));
        let websocket = Some(HeaderValue::from_static("websocket"));
        assert_eq!(asked(&[("connection", "Upgrade"), ("upgrade", "websocket")]), websocket);
        assert_eq!(
            asked(&[("connection", "keep-alive, upgrade"), ("upgrade", "websocket")]),
            websocket
        );
        assert_eq!(asked(&[("upgrade", "websocket")]), None);
        assert_eq!(asked(&[("connection", "upgrade")]), None);
    }

    /// A client could ask the app for HTTP/2 in clear and then speak to it past the gateway, to paths and with
    /// forwarding fields of its own choice.
    #[test]
    fn no_upgrade_to_what_smuggles_requests() {
        for protocol in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "http/1.1", "TLS/1.0", "h2 "] {
            let fields = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", protocol)];
            assert_eq!(requested_upgrade(&map(&fields)), None, "{protocol}");
        }
        let hidden = [("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")];
        assert_eq!(requested_upgrade(&map(&hidden)), None);
    }
}
