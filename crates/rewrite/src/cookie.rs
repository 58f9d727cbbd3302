//! The `Domain` of a cookie (RFC 6265 §4.1.2.3).

use crate::{Internal, Public};

/// A `Set-Cookie` value without those `Domain` attributes that name the app; `None` when there is none.
pub(crate) fn without_domain(
    value: &str,
    internal: &Internal,
    public: &Public<'_>,
) -> Option<String> {
    let is_ours = |attribute: &str| {
        domain(attribute).is_some_and(|domain| internal.is_cookie_domain(domain, public))
    };
    // The first part is the cookie itself, whatever it is called.
    if !value.split(';').skip(1).any(is_ours) {
        return None;
    }
    let mut out = String::with_capacity(value.len());
    for (at, part) in value.split(';').enumerate() {
        if at == 0 {
            out.push_str(part);
        } else if !is_ours(part) {
            out.push(';');
            out.push_str(part);
        }
    }
    Some(out)
}

fn domain(attribute: &str) -> Option<&str> {
    let (name, value) = attribute.split_once('=')?;
    name.trim().eq_ignore_ascii_case("domain").then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scheme;

    fn rewritten(cookie: &str) -> String {
        let upstreams = [("10.0.0.5", 80), ("app.cluster.local", 80), ("api.shop.example", 80)];
        let internal = Internal::new(upstreams, false);
        let public = Public { scheme: Scheme::Https, authority: "www.shop.example:8443" };
        without_domain(cookie, &internal, &public).unwrap_or_else(|| cookie.to_owned())
    }

    #[test]
    fn a_domain_that_clients_would_refuse_goes() {
        for domain in [
            "localhost",
            "LOCALHOST",
            ".localhost",
            "127.0.0.1",
            "::1",
            "[::1]",
            "10.0.0.5",
            "192.0.2.1",
            "app.cluster.local",
            ".App.Cluster.Local",
            "cluster.local",
            "local",
            "app.cluster.local.",
            "api.shop.example",
        ] {
            for (cookie, want) in [
                (format!("a=b; Domain={domain}; Path=/"), "a=b; Path=/"),
                (format!("a=b;domain={domain}"), "a=b"),
                (format!("a=b ;  DOMAIN = {domain} ; HttpOnly"), "a=b ; HttpOnly"),
                (format!("a=b; Domain={domain}; Domain={domain}; x"), "a=b; x"),
            ] {
                assert_eq!(rewritten(&cookie), want, "{cookie}");
            }
        }
    }

    #[test]
    fn every_other_byte_stays() {
        for cookie in [
            "",
            "a=b",
            "a=\"x; y\"; Path=/; Secure;;  HttpOnly",
            "a=b; Domain=www.shop.example",
            "a=b; Domain=shop.example",
            "a=b; Domain=.example",
            "a=b; Domain=evil.example",
            "a=b; Domain=ocalhost",
            "a=b; Domain=ocal",
            "a=b; Domain=pp.cluster.local",
            "a=b; Domain=xlocal",
            "a=b; Domain=",
            "a=b; Domain",
            "a=b; Domain=.",
            "Domain=localhost; Path=/",
            "a=b; XDomain=localhost",
            "a=Domain=localhost",
        ] {
            assert_eq!(rewritten(cookie), cookie);
        }
        let two = "a=b; Domain=shop.example; Domain=localhost";
        assert_eq!(rewritten(two), "a=b; Domain=shop.example");
    }

    /// Found by fuzzing: a port that there can't be made the whole authority the public name, under which no cookie's
    /// domain lay.
    #[test]
    fn the_public_name_is_the_name_whatever_port_is_written() {
        let internal = Internal::new([("api.shop.example", 80)], false);
        for port in ["", ":", ":8443", ":80443"] {
            let authority = format!("www.shop.example{port}");
            let public = Public { scheme: Scheme::Https, authority: &authority };
            assert_eq!(without_domain("a=b; Domain=shop.example", &internal, &public), None);
        }
    }
}
