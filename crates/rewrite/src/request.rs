use std::net::IpAddr;

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};

use crate::forwarded::{
    Verdict, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, X_REAL_IP,
    client_behind, continued, remove, verdict,
};
use crate::hop::{is_hop_by_hop, strip};
use crate::trusted::TrustedProxies;

/// Who is at the other end of a connection; made once per connection.
#[derive(Clone, Debug)]
pub struct Peer {
    ip: IpAddr,
    value: HeaderValue,
    trusted: bool,
}

impl Peer {
    /// A peer at `ip`; an IPv4-mapped IPv6 address counts as its IPv4 address.
    pub fn new(ip: IpAddr, trusted: &TrustedProxies) -> Self {
        let ip = ip.to_canonical();
        Self { ip, value: ip_value(ip), trusted: trusted.contains(ip) }
    }

    /// Its address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Whether its forwarding headers are believed.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }
}

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

/// Where a request came from and whom it asked for.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The other end of the connection.
    pub peer: &'a Peer,
    /// How it came in.
    pub scheme: Scheme,
    /// The authority the client asked for: `Host` or `:authority`, with its port if it had one.
    pub host: &'a HeaderValue,
}

/// Makes a client's request head fit for the upstream, but for the forwarding fields: those are added by
/// [`first_hop`] or [`next_hop`].
///
/// * Hop-by-hop fields go: `Connection` and what it names (except fields that safety hangs on), `Keep-Alive`,
///   `Proxy-*`, `TE` except `trailers`, `Transfer-Encoding`, `Upgrade`.
/// * `Proxy`, `X-Forwarded-Prefix`, `X-Original-URL`, `X-Rewrite-URL`, `X-Request-ID` and underscore aliases of any
///   field of this list go, whoever sent them.
/// * From a peer that isn't trusted `Forwarded` (RFC 7239) and every `X-Forwarded-…` go.
/// * Several `Cookie` fields, which HTTP/2 allows, become one (RFC 9113 §8.2.3).
///
/// `Host` is not touched.
pub fn request(headers: &mut HeaderMap, peer: &Peer) {
    let found = Found::in_names(headers);
    if found.hop_by_hop {
        strip(headers);
    }
    if found.several_cookies {
        join_cookies(headers);
    }
    if found.forwarding && peer.trusted {
        remove(headers, &[Verdict::Drop]);
    } else if found.forwarding {
        remove(headers, &[Verdict::Drop, Verdict::Believe]);
    }
}

/// The forwarding fields behind a peer that isn't trusted: `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and
/// `X-Real-IP`. They are the same for all its requests for one host.
pub fn first_hop(arrival: &Arrival<'_>) -> [(HeaderName, HeaderValue); 5] {
    [
        (X_FORWARDED_FOR, arrival.peer.value.clone()),
        (X_FORWARDED_PROTO, arrival.proto()),
        (X_FORWARDED_HOST, arrival.host.clone()),
        (X_FORWARDED_PORT, arrival.port()),
        (X_REAL_IP, arrival.peer.value.clone()),
    ]
}

/// Sets the forwarding fields behind a trusted peer and returns the client's address: the chain is continued,
/// `-Proto`, `-Host` and `-Port` are kept where the peer sent them.
pub fn next_hop(
    headers: &mut HeaderMap,
    arrival: &Arrival<'_>,
    trusted: &TrustedProxies,
) -> IpAddr {
    let client = client_behind(headers, arrival.peer.ip, trusted);
    let chain = continued(headers, &arrival.peer.value);
    headers.insert(X_FORWARDED_FOR, chain);
    headers.entry(X_FORWARDED_PROTO).or_insert_with(|| arrival.proto());
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| arrival.host.clone());
    headers.entry(X_FORWARDED_PORT).or_insert_with(|| arrival.port());
    headers.insert(X_REAL_IP, ip_value(client));
    client
}

/// Makes a request's trailer section fit for the upstream: hop-by-hop fields go, and so does whatever speaks of where a
/// request came from. Nobody may say that behind the head, trusted or not: an app that merges trailers into the head
/// (RFC 9110 §6.5.1) would take it for the gateway's word.
pub fn request_trailers(trailers: &mut HeaderMap) {
    let wrong = |name: &HeaderName| is_hop_by_hop(name) || verdict(name.as_str()) != Verdict::Keep;
    let wrong: Vec<HeaderName> = trailers.keys().filter(|name| wrong(name)).cloned().collect();
    for name in wrong {
        trailers.remove(name);
    }
}

/// What one pass over the names found; each is rare, so the common request pays for the pass only.
#[derive(Default)]
struct Found {
    hop_by_hop: bool,
    forwarding: bool,
    several_cookies: bool,
}

impl Found {
    fn in_names(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            found.hop_by_hop |= is_hop_by_hop(name);
            found.forwarding |= verdict(name.as_str()) != Verdict::Keep;
            found.several_cookies |=
                *name == COOKIE && headers.get_all(COOKIE).iter().nth(1).is_some();
        }
        found
    }
}

impl Arrival<'_> {
    fn proto(&self) -> HeaderValue {
        HeaderValue::from_static(match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }

    /// The port the client used: the one it named, else its scheme's.
    fn port(&self) -> HeaderValue {
        let host = self.host.as_bytes();
        let colon = host.iter().rposition(|byte| !byte.is_ascii_digit());
        let named = match colon {
            Some(at) if host[at] == b':' && at > 0 => &host[at + 1..],
            _ => &[],
        };
        // An IPv6 address without brackets can't be told from a port, and isn't valid in an authority.
        if (1..=5).contains(&named.len())
            && let Ok(port) = HeaderValue::from_bytes(named)
        {
            return port;
        }
        HeaderValue::from_static(match self.scheme {
            Scheme::Http => "80",
            Scheme::Https => "443",
        })
    }
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut joined = Vec::new();
    for crumb in headers.get_all(COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

fn ip_value(ip: IpAddr) -> HeaderValue {
    // An address prints as visible ASCII: the fallback is never taken.
    HeaderValue::try_from(ip.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> TrustedProxies {
        "10.0.0.0/8, 2001:db8::/32".parse().unwrap()
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// The request as the upstream gets it, and the client.
    fn rewritten(peer: &str, fields: &[(&'static str, &'static str)]) -> (HeaderMap, String) {
        let peer = Peer::new(peer.parse().unwrap(), &trusted());
        let host = HeaderValue::from_static("app.example.com:8443");
        let mut headers = map(fields);
        let arrival = Arrival { peer: &peer, scheme: Scheme::Https, host: &host };
        request(&mut headers, &peer);
        let client = if peer.is_trusted() {
            next_hop(&mut headers, &arrival, &trusted())
        } else {
            headers.extend(first_hop(&arrival));
            peer.ip()
        };
        (headers, client.to_string())
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let forged = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-ssl", "off"),
            ("x-forwarded-user", "root"),
            ("x-real-ip", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1"),
        ];
        let (headers, client) = rewritten("203.0.113.9", &forged);
        let want = map(&[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "app.example.com:8443"),
            ("x-forwarded-port", "8443"),
            ("x-real-ip", "203.0.113.9"),
        ]);
        assert_eq!((headers, client.as_str()), (want, "203.0.113.9"));
    }

    #[test]
    fn a_trusted_peer_is() {
        let told = [
            ("x-forwarded-for", "1.1.1.1, 203.0.113.9"),
            ("x-forwarded-for", "10.9.9.9"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "public.example"),
            ("forwarded", "for=203.0.113.9"),
            ("x-forwarded-prefix", "/admin"),
        ];
        let (headers, client) = rewritten("::ffff:10.0.0.1", &told);
        let want = map(&[
            ("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.9.9.9, 10.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "public.example"),
            ("x-forwarded-port", "8443"),
            ("x-real-ip", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
        ]);
        assert_eq!((headers, client.as_str()), (want, "203.0.113.9"));
    }

    #[test]
    fn the_client_is_the_rightmost_stranger() {
        for (chain, client) in [
            ("", "10.0.0.1"),
            ("198.51.100.7", "198.51.100.7"),
            ("1.1.1.1, 198.51.100.7, 10.2.2.2", "198.51.100.7"),
            ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
            ("198.51.100.7:1234", "198.51.100.7"),
            ("2001:db8::7, 10.2.2.2", "2001:db8::7"),
            ("[2a00::7]:443, 10.2.2.2", "2a00::7"),
            ("[2a00::7], 10.2.2.2", "2a00::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            // What can't be read ends the chain.
            ("198.51.100.7, unknown, 10.2.2.2", "10.2.2.2"),
            ("198.51.100.7, ,10.2.2.2", "10.2.2.2"),
            ("_hidden", "10.0.0.1"),
        ] {
            let got = rewritten("10.0.0.1", &[("x-forwarded-for", chain)]);
            assert_eq!(got.1, client, "{chain}");
            assert_eq!(got.0[X_REAL_IP], client, "{chain}");
        }
    }

    #[test]
    fn aliases_and_dangerous_fields_go_whoever_sends_them() {
        for name in [
            "x_forwarded_for",
            "x-forwarded_for",
            // Found by fuzzing: passed from a trusted peer, being taken for one more `X-Forwarded-…`.
            "x-forwarded-client_cert",
            "x_forwarded_host",
            "x_real_ip",
            "x_original_url",
            "x-request-id",
            "x_request_id",
            "content_length",
            "transfer_encoding",
            "proxy",
            "x-forwarded-prefix",
            "x-original-url",
            "x-rewrite-url",
        ] {
            for peer in ["203.0.113.9", "10.0.0.1"] {
                let (headers, _) = rewritten(peer, &[(name, "x"), ("x_harmless", "x")]);
                assert!(!headers.contains_key(name), "{name}");
                assert!(headers.contains_key("x_harmless"));
            }
        }
    }

    #[test]
    fn the_port_is_the_one_the_client_used() {
        let peer = Peer::new("203.0.113.9".parse().unwrap(), &trusted());
        for (host, scheme, port) in [
            ("a", Scheme::Https, "443"),
            ("a", Scheme::Http, "80"),
            ("a:8080", Scheme::Http, "8080"),
            ("[::1]", Scheme::Http, "80"),
            ("[::1]:81", Scheme::Http, "81"),
            ("10.0.0.1", Scheme::Http, "80"),
            ("a:", Scheme::Https, "443"),
            ("a:123456", Scheme::Https, "443"),
            ("", Scheme::Https, "443"),
            ("12", Scheme::Https, "443"),
        ] {
            let host_value = HeaderValue::from_static(host);
            let arrival = Arrival { peer: &peer, scheme, host: &host_value };
            assert_eq!(arrival.port(), port, "{host}");
        }
    }

    #[test]
    fn trailers_say_nothing_of_where_a_request_came_from() {
        let mut trailers = map(&[
            ("x-sum", "1"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-forwarded-user", "root"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("x_real_ip", "6.6.6.6"),
            ("x-request-id", "1"),
            ("x_request_id", "1"),
            ("x-original-url", "/admin"),
            ("proxy", "http://evil"),
            ("connection", "x-sum"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("grpc-status", "0"),
        ]);
        request_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("x-sum", "1"), ("grpc-status", "0")]));
    }

    #[test]
    fn crumbs_of_cookies_are_joined() {
        let crumbs = [("cookie", "a=b"), ("x-a", "b"), ("cookie", "c=d"), ("cookie", "e=f")];
        let (headers, _) = rewritten("203.0.113.9", &crumbs);
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=b; c=d; e=f"]);
    }
}
