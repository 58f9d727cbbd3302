//! Answers in the public name: against addresses put together from parts that say themselves what they are, and
//! against a list of every spelling of the app's own.
#![allow(clippy::unwrap_used, reason = "a test")]

use http::{HeaderMap, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rewrite::{Internal, Public, Scheme};

/// `app:8080` and `10.0.0.5:9000`, spoken to in clear.
const UPSTREAMS: [(&str, u16); 2] = [("app", 8080), ("10.0.0.5", 9000)];
const PUBLIC: Public<'_> = Public { scheme: Scheme::Https, authority: "shop.example:8443" };

/// Every authority that names the app, in lower case; more spellings of IPv6 than these are not generated.
fn own_authorities() -> Vec<String> {
    let mut all = Vec::new();
    let anywhere = [
        "localhost",
        "localhost.",
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "shop.example",
        "shop.example.",
    ];
    for (name, port) in UPSTREAMS {
        for host in [name, &format!("{name}.")].into_iter().chain(anywhere) {
            all.push(format!("{host}:{port}"));
        }
        if port == 9000 {
            all.push(format!("[::ffff:{name}]:{port}"));
        }
    }
    // An address with a dot behind it is read as the address.
    all.extend(
        ["127.0.0.1.", "127.0.0.2.", "0.0.0.0."]
            .iter()
            .flat_map(|ip| UPSTREAMS.map(|(_, port)| format!("{ip}:{port}"))),
    );
    all
}

fn rewritten(name: &'static str, value: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    rewrite::answer(&mut headers, &Internal::new(UPSTREAMS, false), &PUBLIC);
    String::from_utf8(headers[name].as_bytes().to_vec()).unwrap()
}

/// As slowly and plainly as it can be said.
fn oracle(value: &str) -> String {
    for scheme in ["http://", "https://", "//"] {
        let prefix: String = value.chars().take(scheme.len()).collect();
        if !prefix.eq_ignore_ascii_case(scheme) {
            continue;
        }
        let rest = &value[scheme.len()..];
        for own in own_authorities() {
            let starts = rest.get(..own.len()).is_some_and(|it| it.eq_ignore_ascii_case(&own));
            if !starts {
                continue;
            }
            // What follows may be of several bytes.
            let after = &rest[own.len()..];
            if after.is_empty() || after.starts_with(['/', '?', '#']) {
                let public = if scheme == "//" { "//" } else { "https://" };
                return format!("{public}shop.example:8443{after}");
            }
        }
    }
    value.to_owned()
}

const PIECES: [&str; 40] = [
    "http://",
    "https://",
    "//",
    "HTTP://",
    "http:",
    "/",
    "\\",
    "app",
    "APP",
    "app.",
    "localhost",
    "LocalHost",
    "127.0.0.1",
    "127.0.0.2",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.5]",
    "10.0.0.5",
    "shop.example",
    "evil.example",
    ":8080",
    ":9000",
    ":8081",
    ":8443",
    ":",
    "@",
    "user@",
    ".",
    "?",
    "#",
    "%2f",
    " ",
    "x",
    "é",
    "<",
    ">",
    "\"",
    ";",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn soup_is_read_as_the_oracle_reads_it(pieces in vec(select(&PIECES[..]), 0..7)) {
        let value = pieces.concat();
        for name in ["location", "content-location"] {
            prop_assert_eq!(rewritten(name, &value), oracle(&value), "{}", value);
        }
    }

    #[test]
    fn own_addresses_become_public_and_foreign_ones_stay(
        scheme in select(&["http://", "https://", "//", "hTTp://"][..]),
        own in select(own_authorities()),
        foreign in "[a-z0-9-]{1,12}\\.[a-z]{2,6}(:[0-9]{1,5})?",
        rest in "([/?#][!-~]{0,20})?",
    ) {
        let value = format!("{scheme}{own}{rest}");
        let public = if scheme == "//" { "//" } else { "https://" };
        let want = format!("{public}{}{rest}", PUBLIC.authority);
        prop_assert_eq!(rewritten("location", &value), &*want);
        prop_assert_eq!(rewritten("location", &want), &*want, "twice is as once");
        let value = format!("{scheme}{foreign}{rest}");
        prop_assert_eq!(rewritten("location", &value), &*value);
    }

    #[test]
    fn twice_is_as_once_for_whole_heads(
        fields in vec(
            (select(&["location", "refresh", "link", "set-cookie", "server", "x"][..]),
             vec(select(&[
                "http://app:8080/a", "//localhost:9000", "<", ">", "; ", "rel=next", ", ", "\"", "\\", "5", "url=",
                "'", "Domain=", "domain = app", "localhost", "shop.example", "a=b", "Path=/", "http://evil/",
             ][..]), 0..8)),
            0..6,
        ),
    ) {
        let mut headers = HeaderMap::new();
        for (name, pieces) in fields {
            headers.append(name, HeaderValue::from_str(pieces.concat().trim()).unwrap());
        }
        let internal = Internal::new(UPSTREAMS, false);
        rewrite::answer(&mut headers, &internal, &PUBLIC);
        let once = headers.clone();
        rewrite::answer(&mut headers, &internal, &PUBLIC);
        prop_assert_eq!(headers, once);
    }

    #[test]
    fn cookies_lose_internal_domains_and_nothing_else(
        parts in vec(select(&[
            "a=b", " Path=/", "Domain=localhost", " domain=app", " DOMAIN = 10.0.0.5 ", "Domain=shop.example",
            " Domain=.example", "", " HttpOnly", "Domain", " x=\"y", "Domain=evil.example",
        ][..]), 1..7),
    ) {
        let internal = ["Domain=localhost", " domain=app", " DOMAIN = 10.0.0.5 "];
        let kept = parts.iter().enumerate().filter(|(i, it)| *i == 0 || !internal.contains(it));
        let want = kept.map(|(_, it)| *it).collect::<Vec<_>>().join(";");
        prop_assert_eq!(rewritten("set-cookie", &parts.join(";")), want);
    }

    #[test]
    fn no_value_whatever_is_a_panic(bytes in vec(any::<u8>(), 0..40)) {
        for name in ["location", "refresh", "link", "set-cookie"] {
            let mut headers = HeaderMap::new();
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { continue };
            headers.insert(name, value);
            rewrite::answer(&mut headers, &Internal::new(UPSTREAMS, true), &PUBLIC);
        }
    }
}

/// What names nothing of ours is not even put in again: the very same bytes in memory.
#[test]
fn an_ordinary_answer_is_left_alone() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "text/html"),
        ("location", "/login?next=%2F"),
        ("link", "</a.css>; rel=preload"),
        ("set-cookie", "id=0123456789abcdef; Path=/; HttpOnly"),
    ] {
        headers.insert(name, HeaderValue::try_from(value.to_owned()).unwrap());
    }
    let places = |headers: &HeaderMap| -> Vec<_> {
        headers.values().map(|value| (value.as_bytes().as_ptr(), value.len())).collect()
    };
    let before = places(&headers);
    rewrite::answer(&mut headers, &Internal::new(UPSTREAMS, false), &PUBLIC);
    assert_eq!(places(&headers), before);
}
