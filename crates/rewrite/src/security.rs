use std::fmt;

use http::header::{
    HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use crate::Scheme;

/// `Strict-Transport-Security` (RFC 6797): clients use HTTPS for this name from now on, without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// For how many seconds; 0 takes it back.
    pub max_age: u32,
    /// Also for all names below.
    pub include_subdomains: bool,
    /// Consent to be built into browsers, which is hard to take back.
    pub preload: bool,
}

/// Who may show a page in a frame (RFC 7034).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// Nobody.
    Deny,
    /// Pages of the same origin.
    SameOrigin,
}

/// What browsers are told to be strict about; made once per host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    hsts: Option<HeaderValue>,
    others: Vec<(HeaderName, HeaderValue)>,
}

/// A year: what the lists in browsers ask of [`Hsts::preload`].
const PRELOAD_MIN_AGE: u32 = 31_536_000;

impl Security {
    /// Nothing: each field is asked for by itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// With HSTS, which is sent over HTTPS alone (RFC 6797 §7.2).
    ///
    /// # Errors
    /// When `preload` lacks what browsers ask for it: a year and all names below.
    pub fn hsts(mut self, hsts: Hsts) -> Result<Self, HstsError> {
        if hsts.preload && !(hsts.include_subdomains && hsts.max_age >= PRELOAD_MIN_AGE) {
            return Err(HstsError);
        }
        let below = if hsts.include_subdomains { "; includeSubDomains" } else { "" };
        let preload = if hsts.preload { "; preload" } else { "" };
        let value = format!("max-age={}{below}{preload}", hsts.max_age);
        self.hsts = HeaderValue::try_from(value).ok();
        Ok(self)
    }

    /// With `X-Content-Type-Options: nosniff`.
    pub fn no_sniff(self) -> Self {
        self.with(X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    /// With `X-Frame-Options`.
    pub fn frames(self, frames: Frames) -> Self {
        self.with(
            X_FRAME_OPTIONS,
            match frames {
                Frames::Deny => "DENY",
                Frames::SameOrigin => "SAMEORIGIN",
            },
        )
    }

    /// With `Referrer-Policy: strict-origin-when-cross-origin`.
    pub fn referrer_policy(self) -> Self {
        self.with(REFERRER_POLICY, "strict-origin-when-cross-origin")
    }

    /// Adds to an answer what the app hasn't sent: it may know better. HSTS is the operator's alone, and none
    /// goes out over plain HTTP when it is set here.
    pub fn apply(&self, headers: &mut HeaderMap, scheme: Scheme) {
        if let Some(value) = &self.hsts {
            match scheme {
                Scheme::Https => drop(headers.insert(STRICT_TRANSPORT_SECURITY, value.clone())),
                Scheme::Http => drop(headers.remove(STRICT_TRANSPORT_SECURITY)),
            }
        }
        for (name, value) in &self.others {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.others.retain(|(had, _)| *had != name);
        self.others.push((name, HeaderValue::from_static(value)));
        self
    }
}

/// `preload` without what browsers ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HstsError;

impl fmt::Display for HstsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "HSTS preload needs include_subdomains and a max_age of at least 31536000 seconds",
        )
    }
}

impl std::error::Error for HstsError {}

#[cfg(test)]
mod tests {
    use super::*;

    const WEAK: Hsts = Hsts { max_age: 300, include_subdomains: false, preload: false };

    #[test]
    fn hsts_over_https_alone() {
        let strict = Hsts { max_age: PRELOAD_MIN_AGE, include_subdomains: true, preload: true };
        for (hsts, value) in [
            (WEAK, "max-age=300"),
            (Hsts { include_subdomains: true, ..WEAK }, "max-age=300; includeSubDomains"),
            (strict, "max-age=31536000; includeSubDomains; preload"),
        ] {
            let security = Security::new().hsts(hsts).unwrap();
            let mut headers = HeaderMap::new();
            headers.append("strict-transport-security", HeaderValue::from_static("max-age=1"));
            headers.append("strict-transport-security", HeaderValue::from_static("max-age=2"));
            security.apply(&mut headers, Scheme::Https);
            let sent: Vec<_> = headers.get_all(STRICT_TRANSPORT_SECURITY).iter().collect();
            assert_eq!(sent, [value]);
            security.apply(&mut headers, Scheme::Http);
            assert!(headers.is_empty());
        }
        for lacking in [
            Hsts { max_age: PRELOAD_MIN_AGE - 1, ..strict },
            Hsts { include_subdomains: false, ..strict },
        ] {
            assert!(Security::new().hsts(lacking).is_err());
        }
    }

    #[test]
    fn an_app_may_know_better() {
        let security = Security::new().no_sniff().frames(Frames::Deny).referrer_policy();
        let mut headers = HeaderMap::new();
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
        security.apply(&mut headers, Scheme::Http);
        assert_eq!(headers[X_FRAME_OPTIONS], "SAMEORIGIN");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[REFERRER_POLICY], "strict-origin-when-cross-origin");
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn nothing_is_added_unasked() {
        let mut headers = HeaderMap::new();
        Security::new().apply(&mut headers, Scheme::Https);
        assert!(headers.is_empty());
    }
}
