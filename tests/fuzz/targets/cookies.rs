//! The cookies of an app: a `Domain` that clients would refuse goes, every other byte stays.
//!
//! The first line is the public name, each further one a `Set-Cookie`.

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use model::Hostname;
use rewrite::{Internal, Public, Scheme};

use super::first_line;

const UPSTREAMS: [(&str, u16); 3] =
    [("10.0.0.5", 80), ("app.cluster.local", 80), ("api.shop.example", 81)];

pub(crate) fn run(data: &[u8]) {
    let (authority, rest) = first_line(data);
    let Some(authority) = std::str::from_utf8(authority).ok() else { return };
    if Hostname::from_authority(authority).is_err() {
        return;
    }
    let public = Public { scheme: Scheme::Https, authority };
    let internal = Internal::new(UPSTREAMS, false);
    for line in rest.split(|byte| *byte == b'\n').take(8) {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        let once = answered(value.clone(), &internal, &public);
        check(value.as_bytes(), once.as_bytes(), authority);
        let twice = answered(once.clone(), &internal, &public);
        assert_eq!(once, twice, "twice is as once");
    }
}

fn answered(value: HeaderValue, internal: &Internal, public: &Public<'_>) -> HeaderValue {
    let mut headers = HeaderMap::from_iter([(SET_COOKIE, value)]);
    rewrite::answer(&mut headers, internal, public);
    assert_eq!(headers.len(), 1);
    headers[SET_COOKIE].clone()
}

/// Part by part: the first stays, and of the others only a `Domain` may be missing that is not of the public name.
fn check(old: &[u8], new: &[u8], authority: &str) {
    let mut kept = new.split(|byte| *byte == b';').peekable();
    for (index, part) in old.split(|byte| *byte == b';').enumerate() {
        if kept.peek() == Some(&part) {
            kept.next();
            continue;
        }
        assert_ne!(index, 0, "the cookie itself stays");
        let text = String::from_utf8_lossy(part).to_ascii_lowercase();
        let (name, domain) = text.split_once('=').expect("an attribute with a value");
        assert_eq!(name.trim(), "domain", "only a domain goes");
        let domain = domain.trim().trim_start_matches('.').trim_end_matches('.');
        let public = authority.to_ascii_lowercase();
        let public = public.split(':').next().unwrap_or_default().trim_end_matches('.');
        let covers = public == domain || public.ends_with(&format!(".{domain}"));
        // No name lies under an address (RFC 6265 §5.1.3).
        let is_address = domain == "localhost" || domain.parse::<std::net::IpAddr>().is_ok();
        assert!(!covers || is_address, "{domain} is a domain of {public}");
    }
    assert_eq!(kept.next(), None, "nothing is added");
}
