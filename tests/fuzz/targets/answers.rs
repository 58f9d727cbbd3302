//! An app's answer in the gateway's name. The first line picks a public address, each further one is a field.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use rewrite::{Internal, Public, Scheme};

use super::{browser_goes_to, fields, first_line};

const UPSTREAMS: [(&str, u16); 4] =
    [("app", 8080), ("10.0.0.5", 9000), ("::1", 443), ("b.app", 80)];

const PUBLICS: [Public<'_>; 4] = [
    Public { scheme: Scheme::Https, authority: "shop.example:8443" },
    Public { scheme: Scheme::Http, authority: "shop.example:8080" },
    Public { scheme: Scheme::Https, authority: "app" },
    Public { scheme: Scheme::Http, authority: "[::1]:9000" },
];

pub(crate) fn run(data: &[u8]) {
    let (choice, rest) = first_line(data);
    let choice = choice.first().copied().unwrap_or_default();
    let public = &PUBLICS[usize::from(choice) % PUBLICS.len()];
    let internal = Internal::new(UPSTREAMS, choice & 4 != 0);
    let before = fields(rest);
    let mut after = before.clone();
    rewrite::answer(&mut after, &internal, public);

    let mut twice = after.clone();
    rewrite::answer(&mut twice, &internal, public);
    assert_eq!(twice, after, "twice is as once");

    for name in before.keys() {
        let (old, new): (Vec<_>, Vec<_>) = (values(&before, name), values(&after, name));
        match name.as_str() {
            "server" | "x-powered-by" => assert!(new.is_empty()),
            "location" | "content-location" => {
                same_number(&old, &new).for_each(|(old, new)| whole(old, new, public));
            }
            "refresh" => same_number(&old, &new).for_each(|(old, new)| refresh(old, new, public)),
            "link" => same_number(&old, &new).for_each(|(old, new)| link(old, new, public)),
            "set-cookie" => assert_eq!(old.len(), new.len()),
            _ => assert_eq!(old, new, "{name} is nobody's address"),
        }
    }
}

fn values<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Vec<&'h [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

fn same_number<'v, 's>(
    old: &'s [&'v [u8]],
    new: &'s [&'v [u8]],
) -> impl Iterator<Item = (&'v [u8], &'v [u8])> + use<'v, 's> {
    assert_eq!(old.len(), new.len());
    old.iter().copied().zip(new.iter().copied())
}

fn whole(old: &[u8], new: &[u8], public: &Public<'_>) {
    if old != new {
        assert!(is_own_made_public(old, new, b"/?#", public), "{}", told(old, new));
    }
}

fn refresh(old: &[u8], new: &[u8], public: &Public<'_>) {
    // Somewhere an address begins; before it all is the same.
    let starts = (0..=old.len()).take_while(|at| new.get(..*at) == Some(&old[..*at]));
    let mut starts = starts.map(|at| (&old[at..], &new[at..]));
    let found = starts.any(|(old, new)| is_own_made_public(old, new, b"/?#\"' \t", public));
    assert!(old == new || found, "{}", told(old, new));
}

/// Targets and what is between them in turn.
fn link(old: &[u8], new: &[u8], public: &Public<'_>) {
    let (old_parts, new_parts) = (link_parts(old), link_parts(new));
    assert_eq!(old_parts.len(), new_parts.len(), "{}", told(old, new));
    for (index, (old, new)) in old_parts.into_iter().zip(new_parts).enumerate() {
        match index % 2 {
            0 => assert_eq!(old, new, "no target"),
            _ => whole(old, new, public),
        }
    }
}

fn link_parts(value: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut begun, mut quoted, mut at) = (Vec::new(), 0, false, 0);
    while at < value.len() {
        match value[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'<' if !quoted => {
                let Some(length) = value[at..].iter().position(|byte| *byte == b'>') else { break };
                parts.extend([&value[begun..=at], &value[at + 1..at + length]]);
                begun = at + length;
                at = begun;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&value[begun..]);
    parts
}

/// Whether scheme and authority of the app's own were replaced by the public ones, and nothing else. `ends` is what may
/// follow an authority.
fn is_own_made_public(old: &[u8], new: &[u8], ends: &[u8], public: &Public<'_>) -> bool {
    let scheme = match public.scheme {
        Scheme::Http => "http:",
        Scheme::Https => "https:",
    };
    [scheme, ""].iter().any(|scheme| {
        let prefix = format!("{scheme}//{}", public.authority);
        let Some(rest) = new.strip_prefix(prefix.as_bytes()) else { return false };
        let Some(own) = old.strip_suffix(rest) else { return false };
        let is_end = rest.first().is_none_or(|byte| ends.contains(byte));
        is_end && own.starts_with(b"//") == scheme.is_empty() && is_own(own, public)
    })
}

/// Whether a browser would go to the app by this address.
fn is_own(address: &[u8], public: &Public<'_>) -> bool {
    let Some((host, port)) = browser_goes_to(address) else { return false };
    let host = host.trim_end_matches('.');
    let bare = host.trim_matches(['[', ']']);
    let ip = bare.parse().ok().map(|ip: IpAddr| ip.to_canonical());
    let named = public.authority.rsplit_once(':').map_or(public.authority, |(name, _)| name);
    UPSTREAMS.iter().any(|(own, own_port)| {
        let own_ip = own.parse::<IpAddr>().ok();
        let is_port = match &port {
            Some(port) => port.parse() == Ok(*own_port),
            None => matches!(own_port, 80 | 443),
        };
        let is_self = ip.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
        let is_named = host == *own || ip.is_some() && ip == own_ip;
        is_port && (is_self || is_named || host == "localhost" || host == named)
    })
}

fn told(old: &[u8], new: &[u8]) -> String {
    format!("{:?} became {:?}", String::from_utf8_lossy(old), String::from_utf8_lossy(new))
}
