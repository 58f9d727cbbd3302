//! An app's answer in the gateway's name.

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName, SERVER};

use crate::{Internal, Public, Scheme, cookie};

const X_POWERED_BY: HeaderName = HeaderName::from_static("x-powered-by");

/// Turns an app's own address into the public one, so that a client never sees where the app runs.
///
/// * `Location`, `Content-Location`, `Refresh` and each target of `Link` that name the app ([`Internal`]) name the
///   public URL instead. What names anything else, or nothing, stays byte for byte, and so does what programs read in
///   different ways: user information, backslashes, escapes in the host.
/// * A `Domain` of `Set-Cookie` that clients would refuse goes; the rest of the cookie stays byte for byte.
/// * `Server` and `X-Powered-By` go.
///
/// Doing it twice is as doing it once. An answer without any of these fields costs one pass over its names.
pub fn answer(headers: &mut HeaderMap, internal: &Internal, public: &Public<'_>) {
    let mut tells_product = false;
    for (name, value) in headers.iter_mut() {
        let rewrite = match name.as_str() {
            "location" | "content-location" => whole,
            "refresh" => refresh,
            "link" => link,
            "set-cookie" => cookie::without_domain,
            "server" | "x-powered-by" => {
                tells_product = true;
                continue;
            }
            _ => continue,
        };
        // Bytes that are no UTF-8 can stand in a path or a cookie; such a value stays.
        let text = std::str::from_utf8(value.as_bytes()).ok();
        let new = text.and_then(|text| rewrite(text, internal, public));
        if let Some(new) = new.and_then(|new| HeaderValue::try_from(new).ok()) {
            *value = new;
        }
    }
    if tells_product {
        headers.remove(SERVER);
        headers.remove(X_POWERED_BY);
    }
}

fn whole(value: &str, internal: &Internal, public: &Public<'_>) -> Option<String> {
    let (end, scheme) = own_prefix(value, internal, public)?;
    Some(replaced(value, 0..end, scheme, public))
}

/// `5; url=http://…`, in the spellings that browsers take (HTML, "shared declarative refresh steps").
fn refresh(value: &str, internal: &Internal, public: &Public<'_>) -> Option<String> {
    let rest = value.trim_start();
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    let rest = rest.strip_prefix([';', ',']).unwrap_or(rest).trim_start();
    let rest = after_url(rest).unwrap_or(rest);
    let (start, target) = match rest.strip_prefix(['"', '\'']) {
        Some(quoted) => {
            let end = quoted.find(&rest[..1]).unwrap_or(quoted.len());
            (value.len() - quoted.len(), &quoted[..end])
        }
        None => (value.len() - rest.len(), rest.trim_end()),
    };
    let (end, scheme) = own_prefix(target, internal, public)?;
    Some(replaced(value, start..start + end, scheme, public))
}

/// What follows `url =`.
fn after_url(text: &str) -> Option<&str> {
    let word = text.get(..3).filter(|word| word.eq_ignore_ascii_case("url"))?;
    Some(text[word.len()..].trim_start().strip_prefix('=')?.trim_start())
}

/// Each `<…>` that isn't inside a quoted string (RFC 8288 §3).
fn link(value: &str, internal: &Internal, public: &Public<'_>) -> Option<String> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(offset) = value[at..].find(['<', '"']) {
        let start = at + offset + 1;
        if value.as_bytes()[start - 1] == b'"' {
            at = start + quoted_length(&value[start..]);
            continue;
        }
        let target = &value[start..start + value[start..].find('>')?];
        if let Some((end, scheme)) = own_prefix(target, internal, public) {
            let out = out.get_or_insert_default();
            out.push_str(&value[copied..start]);
            push_public(out, scheme, public);
            copied = start + end;
        }
        at = start + target.len() + 1;
    }
    out.map(|out| out + &value[copied..])
}

/// The bytes of a quoted string behind its first quote, its last one included.
fn quoted_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of scheme and authority when they name the app, and the scheme if there is one.
fn own_prefix(
    url: &str,
    internal: &Internal,
    public: &Public<'_>,
) -> Option<(usize, Option<Scheme>)> {
    let starts =
        |with: &str| url.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let (scheme, start) = match url.as_bytes().first()? {
        b'h' | b'H' if starts("http://") => (Some(Scheme::Http), 7),
        b'h' | b'H' if starts("https://") => (Some(Scheme::Https), 8),
        b'/' if starts("//") => (None, 2),
        _ => return None,
    };
    let rest = &url[start..];
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    internal.names(authority, scheme, public).then_some((start + authority.len(), scheme))
}

fn replaced(
    value: &str,
    prefix: std::ops::Range<usize>,
    scheme: Option<Scheme>,
    public: &Public<'_>,
) -> String {
    let mut out = String::with_capacity(value.len() + public.authority.len() + 8);
    out.push_str(&value[..prefix.start]);
    push_public(&mut out, scheme, public);
    out.push_str(&value[prefix.end..]);
    out
}

/// An address without a scheme stays without: the client uses the one it came by.
fn push_public(out: &mut String, scheme: Option<Scheme>, public: &Public<'_>) {
    out.push_str(match (scheme, public.scheme) {
        (None, _) => "//",
        (_, Scheme::Http) => "http://",
        (_, Scheme::Https) => "https://",
    });
    out.push_str(public.authority);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(name: &'static str, value: &str) -> String {
        let upstreams = [("127.0.0.1", 9000), ("app", 8080), ("::1", 9001), ("10.0.0.5", 80)];
        let internal = Internal::new(upstreams, false);
        let public = Public { scheme: Scheme::Https, authority: "shop.example:8443" };
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        answer(&mut headers, &internal, &public);
        String::from_utf8(headers[name].as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_app_s_own_addresses_become_the_public_one() {
        for own in [
            "http://127.0.0.1:9000",
            "HTTP://127.0.0.1:9000",
            "https://127.0.0.1:9000",
            "http://localhost:9000",
            "http://LocalHost.:9000",
            "http://[::1]:9000",
            "http://[0:0:0:0:0:0:0:1]:8080",
            "http://[::ffff:127.0.0.1]:9000",
            "http://127.8.8.8:9000",
            "http://0.0.0.0:9000",
            "http://[::]:9001",
            "http://app:8080",
            "http://APP.:8080",
            "http://app:08080",
            "http://10.0.0.5",
            "http://10.0.0.5:",
            "http://10.0.0.5:80",
            "http://[::ffff:10.0.0.5]",
            "http://[::ffff:a00:5]:80",
            "http://localhost",
            "http://shop.example:9000",
            "https://Shop.Example:8080",
        ] {
            for rest in
                ["", "/", "/a?b=c#d", "?x", "#y", "/a//b/../c", "/http://127.0.0.1:9000/", "/\\é"]
            {
                let want = format!("https://shop.example:8443{rest}");
                assert_eq!(rewritten("location", &format!("{own}{rest}")), want, "{own}{rest}");
            }
        }
        assert_eq!(rewritten("content-location", "//app:8080/x"), "//shop.example:8443/x");
        assert_eq!(rewritten("location", "//10.0.0.5/x"), "//shop.example:8443/x");
    }

    #[test]
    fn everything_else_stays() {
        for other in [
            "",
            "/",
            "/login?next=http://127.0.0.1:9000/",
            "login",
            "?a",
            "#a",
            "../x",
            "https://127.0.0.1/",
            "http://127.0.0.1:9002/",
            "http://localhost:90000/",
            "http://localhost:-1/",
            "https://10.0.0.5/",
            "http://app/",
            "http://app:9000/",
            "http://myapp:8080/",
            "http://app.example:8080/",
            "http://app:8080.evil.example/",
            "http://shop.example/",
            "https://shop.example:8443/",
            "https://accounts.example/?back=http://app:8080/",
            "http://user@app:8080/",
            "http://user:password@127.0.0.1:9000/",
            "http://app:8080@evil.example/",
            "http://app:8080\\@evil.example/",
            "http://app:8080\\evil",
            "http://evil.example\\@app:8080/",
            "http://ap%70:8080/",
            "http:\\\\app:8080/",
            "\\\\app:8080/",
            "/\\app:8080/",
            "///app:8080/",
            "http:///app:8080/",
            "http:/app:8080/",
            "http:app:8080/",
            "app:8080/",
            "ftp://app:8080/",
            "ws://app:8080/",
            " http://app:8080/",
            "http:// app:8080/",
            "http://app :8080/",
            "http://app:8080 /",
            "http://[::1:9000/",
            "http://::1:9000/",
            "http://[::1]x:9000/",
            "http://[fe80::1%25eth0]:9000/",
            "http://2130706433:9000/",
            "http://127.1:9000/",
            "http://0x7f.0.0.1:9000/",
            "http://127.0.0.1..:9000/",
            "javascript://app:8080/%0aalert(1)",
            "http://ａpp:8080/",
        ] {
            assert_eq!(rewritten("location", other), other);
            assert_eq!(rewritten("content-location", other), other);
        }
    }

    #[test]
    fn refresh_in_all_spellings() {
        for (before, after) in [
            ("5; url=", ""),
            ("0;URL=", ""),
            ("5, url = ", ""),
            ("1.5;", "#x"),
            ("5;url='", "/a?b' trailing"),
            ("5; Url=\"", "\""),
            (" 0 ; url=", "/a b"),
            ("", ""),
        ] {
            let own = format!("{before}http://app:8080{after}");
            let want = format!("{before}https://shop.example:8443{after}");
            assert_eq!(rewritten("refresh", &own), want);
        }
        for other in
            ["5", "", "5;", "5; url=/x", "5; url=http://evil/", "5; url", "5; url=\"", "url=é"]
        {
            assert_eq!(rewritten("refresh", other), other);
        }
    }

    #[test]
    fn each_link_for_itself() {
        for (own, want) in [
            (
                "<http://app:8080/a>; rel=next, <http://evil/>; rel=x,<//app:8080>;rel=\"y\"",
                "<https://shop.example:8443/a>; rel=next, <http://evil/>; rel=x,<//shop.example:8443>;rel=\"y\"",
            ),
            (
                "</x>; title=\"<http://app:8080/> \\\" <http://app:8080/>\", <http://app:8080/>; rel=z",
                "</x>; title=\"<http://app:8080/> \\\" <http://app:8080/>\", <https://shop.example:8443/>; rel=z",
            ),
            ("<http://app:8080/", "<http://app:8080/"),
            ("http://app:8080/", "http://app:8080/"),
            ("\"<http://app:8080/>", "\"<http://app:8080/>"),
            ("<>, <http://app:8080>", "<>, <https://shop.example:8443>"),
        ] {
            assert_eq!(rewritten("link", own), want);
        }
    }

    #[test]
    fn what_tells_the_product_goes_and_every_line_counts() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("server", "nginx"),
            ("x-powered-by", "Express"),
            ("x-powered-by", "PHP"),
            ("link", "<http://app:8080/1>"),
            ("link", "<http://evil/>"),
            ("link", "<http://app:8080/2>"),
            ("x-server", "stays"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let internal = Internal::new([("app", 8080)], false);
        let public = Public { scheme: Scheme::Http, authority: "shop.example" };
        answer(&mut headers, &internal, &public);
        let links: Vec<_> = headers.get_all("link").iter().collect();
        assert_eq!(links, ["<http://shop.example/1>", "<http://evil/>", "<http://shop.example/2>"]);
        assert_eq!((headers.len(), headers.get("x-server").is_some()), (4, true));
    }
}
