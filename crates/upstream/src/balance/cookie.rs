use aws_lc_rs::hmac;
use http::HeaderValue;

/// The cookie that brings a browser back to its upstream.
#[derive(Debug)]
pub(crate) struct Cookie {
    name: Box<str>,
    /// What stands for each upstream: tells nothing of its address.
    values: Box<[Box<str>]>,
}

impl Cookie {
    /// `secret`: what the values are made with; the same in all proxies of a store.
    pub(crate) fn new<'a>(
        name: &str,
        secret: &[u8],
        upstreams: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let value = |upstream: &str| {
            let tag = hmac::sign(&key, upstream.as_bytes());
            let digits = tag.as_ref().iter().take(12).map(|byte| format!("{byte:02x}"));
            digits.collect::<String>().into_boxed_str()
        };
        Self { name: name.into(), values: upstreams.into_iter().map(value).collect() }
    }

    /// The upstream that a request's `Cookie` fields name (RFC 6265 §4.2.1); the first one that is known.
    pub(crate) fn find<'a>(&self, fields: impl Iterator<Item = &'a [u8]>) -> Option<usize> {
        let mut pairs = fields.flat_map(|field| field.split(|byte| *byte == b';'));
        pairs.find_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(self.name.as_bytes())?.strip_prefix(b"=")?;
            self.values.iter().position(|known| known.as_bytes() == value)
        })
    }

    /// What `Set-Cookie` says for an upstream; for as long as the browser runs.
    pub(crate) fn set(&self, at: usize, by_https: bool) -> Option<HeaderValue> {
        let secure = if by_https { "; Secure" } else { "" };
        let value = self.values.get(at)?;
        let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}", self.name);
        HeaderValue::try_from(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_comes_back_by_what_it_was_given() {
        let upstreams = ["10.0.0.1:80", "10.0.0.2:80"];
        let cookie = Cookie::new("gw_upstream", b"a.test 1", upstreams);
        let set = cookie.set(1, true).unwrap();
        let text = set.to_str().unwrap();
        assert!(
            text.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure") && !text.contains("10.")
        );
        assert!(!cookie.set(1, false).unwrap().to_str().unwrap().contains("Secure"));
        let pair = text.split(';').next().unwrap();
        let find = |fields: &[&str]| cookie.find(fields.iter().map(|field| field.as_bytes()));
        assert_eq!(find(&["a=b", &format!("x=y;{pair} ; z=gw_upstream=1")]), Some(1));
        assert_eq!(find(&["gw_upstream=unknown", pair]), Some(1));
        for other in
            ["", "gw_upstream=", "gw_upstream", "gw_upstream=10.0.0.2:80", "Xgw_upstream=1"]
        {
            assert_eq!(find(&[other]), None, "{other}");
        }
        let elsewhere = Cookie::new("gw_upstream", b"b.test 1", upstreams);
        assert_ne!(elsewhere.set(1, true), cookie.set(1, true));
    }
}
