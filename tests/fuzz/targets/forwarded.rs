//! What a client says of where it comes from. The first line picks who it is, each further one is a field.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use rewrite::{Arrival, Peer, Scheme, TrustedProxies};

use super::{fields, first_line};

const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

pub(crate) fn run(data: &[u8]) {
    let (choice, rest) = first_line(data);
    let choice = choice.first().copied().unwrap_or_default();
    let trusted: TrustedProxies = "10.0.0.0/8".parse().unwrap();
    let ip: IpAddr = if choice & 1 == 0 { "203.0.113.9" } else { "10.0.0.1" }.parse().unwrap();
    let peer = Peer::new(ip, &trusted);
    let scheme = if choice & 2 == 0 { Scheme::Http } else { Scheme::Https };
    let host = HeaderValue::from_static("shop.example:8443");
    let arrival = Arrival { peer: &peer, scheme, host: &host };

    let mut headers = fields(rest);
    let asked_for = headers.get("host").cloned();
    rewrite::request(&mut headers, &peer);
    let mut twice = headers.clone();
    rewrite::request(&mut twice, &peer);
    assert_eq!(twice, headers, "twice is as once");
    nothing_forged(&headers, peer.is_trusted());
    assert!(headers.get_all("cookie").iter().count() <= 1);
    let client = if peer.is_trusted() {
        rewrite::next_hop(&mut headers, &arrival, &trusted)
    } else {
        headers.extend(rewrite::first_hop(&arrival));
        peer.ip()
    };
    sender(&headers, &peer, client);
    assert_eq!(headers.get("host").cloned(), asked_for, "Host is routed by before");

    let mut answer = fields(rest);
    rewrite::response(&mut answer);
    HOP_BY_HOP.iter().for_each(|name| assert!(!answer.contains_key(*name), "{name}"));
    let mut trailers = fields(rest);
    rewrite::request_trailers(&mut trailers);
    nothing_forged(&trailers, false);
}

fn nothing_forged(headers: &HeaderMap, is_trusted: bool) {
    for name in headers.keys() {
        let (name, dashed) = (name.as_str(), name.as_str().replace('_', "-"));
        let forwards = dashed.starts_with("x-forwarded-")
            || ["forwarded", "x-real-ip"].contains(&dashed.as_str());
        assert!(!forwards || is_trusted && name == dashed, "{name}");
        let chooses = ["proxy", "x-forwarded-prefix", "x-original-url", "x-rewrite-url"];
        assert!(!chooses.contains(&dashed.as_str()), "{name}");
        let frames = ["content-length", "transfer-encoding"].contains(&dashed.as_str());
        assert!(!frames || name == dashed, "{name}");
        assert!(!HOP_BY_HOP.contains(&name), "{name}");
    }
    let te: Vec<_> = headers.get_all("te").iter().collect();
    assert!(te.is_empty() || te == ["trailers"], "{te:?}");
}

fn sender(headers: &HeaderMap, peer: &Peer, client: IpAddr) {
    for name in ["x-forwarded-for", "x-real-ip"] {
        assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
    }
    let chain = headers["x-forwarded-for"].as_bytes();
    let last = chain.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    assert_eq!(last.trim_ascii(), peer.ip().to_string().as_bytes());
    assert_eq!(headers["x-real-ip"], client.to_string());
    assert!(peer.is_trusted() || chain == last, "a stranger's chain begins here");
}
