//! The rules once more, as slowly and plainly as they can be written, against the real ones.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rewrite::{Arrival, Peer, Scheme, TrustedProxies};

type Fields = Vec<(String, String)>;

const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
const NEVER: [&str; 4] = ["proxy", "x-forwarded-prefix", "x-original-url", "x-rewrite-url"];
/// Of the names below, those `Connection` can't have removed.
const PROTECTED: [&str; 6] = ["cookie", "host", "te", "x-real-ip", "forwarded", "content-length"];

fn tokens<'a>(fields: &'a Fields, of: &'a str) -> impl Iterator<Item = String> + 'a {
    let lines = fields.iter().filter(move |(name, _)| name == of);
    lines.flat_map(|(_, value)| value.split(',')).map(|token| token.trim().to_lowercase())
}

fn without_hop_by_hop(fields: &Fields) -> Fields {
    let named: Vec<String> = tokens(fields, "connection")
        .filter(|name| !PROTECTED.contains(&&**name) && !name.starts_with("x-forwarded-"))
        .collect();
    let mut kept: Fields = fields
        .iter()
        .filter(|(name, _)| !HOP_BY_HOP.contains(&&**name) && !named.contains(name))
        .cloned()
        .collect();
    if tokens(fields, "te").any(|coding| coding == "trailers") {
        kept.push(("te".into(), "trailers".into()));
    }
    kept
}

fn request(fields: &Fields, peer: &str, trusts_peer: bool, trusted: &TrustedProxies) -> Fields {
    let mut out = Fields::new();
    let mut cookies = Vec::new();
    let mut chain = Vec::new();
    for (name, value) in without_hop_by_hop(fields) {
        let dashed = name.replace('_', "-");
        let forwarding =
            dashed.starts_with("x-forwarded-") || ["forwarded", "x-real-ip"].contains(&&*dashed);
        let alias = name.contains('_') && (forwarding || dashed == "content-length");
        if NEVER.contains(&&*dashed) || alias || forwarding && !trusts_peer {
            continue;
        }
        match &*name {
            "cookie" => cookies.push(value),
            "x-forwarded-for" => chain.extend(value.split(',').map(|hop| hop.trim().to_owned())),
            "x-real-ip" => {}
            _ => out.push((name, value)),
        }
    }
    if !cookies.is_empty() {
        out.push(("cookie".into(), cookies.join("; ")));
    }
    let mut client = peer.to_owned();
    for hop in chain.iter().rev() {
        let Ok(ip) = hop.parse::<IpAddr>() else { break };
        client.clone_from(hop);
        if !trusted.contains(ip) {
            break;
        }
    }
    chain.push(peer.to_owned());
    let mut set = |name: &str, value: &str, keep: bool| {
        if !keep || !out.iter().any(|(other, _)| other == name) {
            out.push((name.into(), value.into()));
        }
    };
    set("x-forwarded-for", &chain.join(", "), false);
    set("x-forwarded-proto", "http", true);
    set("x-forwarded-host", "app.example", true);
    set("x-forwarded-port", "80", true);
    set("x-real-ip", &client, false);
    out
}

fn fields() -> impl Strategy<Value = Fields> {
    let names = [
        &HOP_BY_HOP[..],
        &NEVER,
        &PROTECTED,
        &["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-ssl", "cookie"],
        &[
            "x_forwarded_for",
            "x-forwarded_proto",
            "x_real_ip",
            "content_length",
            "x_a",
            "x-a",
            "x-b",
        ],
    ]
    .concat();
    let name = select(names.clone()).prop_map(str::to_owned);
    let token = prop_oneof![select(names).prop_map(str::to_owned), Just("Trailers".to_owned())];
    let list = vec(token, 1..4).prop_map(|tokens| tokens.join(", "));
    let address = select(vec!["1.2.3.4", "10.0.0.7", "10.1.1.1", "2a00::1", "unknown"]);
    let chain = vec(address, 1..4).prop_map(|chain| chain.join(", "));
    let field = prop_oneof![
        2 => (name, list.clone()),
        1 => (Just("connection".to_owned()), list),
        1 => (Just("x-forwarded-for".to_owned()), chain),
    ];
    vec(field, 0..10)
}

fn map(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    headers
}

fn sorted(headers: &HeaderMap) -> Fields {
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let mut all: Fields = headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_follow_the_rules(fields in fields(), peer in select(vec!["10.0.0.1", "203.0.113.9", "::1"])) {
        let trusted: TrustedProxies = "10.0.0.0/8".parse().unwrap();
        let host = HeaderValue::from_static("app.example");
        let from = Peer::new(peer.parse().unwrap(), &trusted);
        let mut headers = map(&fields);
        let arrival = Arrival { peer: &from, scheme: Scheme::Http, host: &host };
        rewrite::request(&mut headers, &from);
        let client = if from.is_trusted() {
            rewrite::next_hop(&mut headers, &arrival, &trusted)
        } else {
            headers.extend(rewrite::first_hop(&arrival));
            from.ip()
        };
        let want = request(&fields, peer, from.is_trusted(), &trusted);
        prop_assert_eq!(sorted(&headers), sorted(&map(&want)));
        prop_assert_eq!(headers["x-real-ip"].to_str().unwrap(), client.to_string());
    }

    #[test]
    fn responses_follow_the_rules(fields in fields()) {
        let mut headers = map(&fields);
        rewrite::response(&mut headers);
        prop_assert_eq!(sorted(&headers), sorted(&map(&without_hop_by_hop(&fields))));
    }
}
