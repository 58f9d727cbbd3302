use http::Uri;
use http::uri::Scheme;

/// The base URL of a provider's API, as its default or the `endpoint` setting says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) tls: bool,
    /// As a connection and a certificate want it: an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the `Host` header wants it.
    pub(crate) authority: String,
    /// What stands before every path, without a slash at the end.
    pub(crate) base: String,
}

impl Endpoint {
    /// Parses an absolute URL. Credentials go over it, so `http` is for loopback alone.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err("not a URL with a scheme and a host, like https://api.example.com".into());
        };
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err("a query or a user name has no place here".into());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = *scheme == Scheme::HTTPS;
        if !tls && (*scheme != Scheme::HTTP || !is_loopback(&host)) {
            return Err("must be https; http is for loopback alone".into());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let base = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { tls, host, port, authority: authority.to_string(), base })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_credentials_secret_is_taken() {
        let endpoint = Endpoint::parse("https://api.example.com/client/v4/").unwrap();
        assert_eq!((endpoint.port, endpoint.base.as_str()), (443, "/client/v4"));
        let endpoint = Endpoint::parse("http://[::1]:8080").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.authority.as_str()), ("::1", "[::1]:8080"));
        assert_eq!((endpoint.port, endpoint.base.as_str()), (8080, ""));
        assert!(Endpoint::parse("http://127.0.0.1:1/x").is_ok());
        for bad in [
            "http://api.example.com",
            "ftp://127.0.0.1",
            "api.example.com",
            "/x",
            "https://u:p@h",
            "https://h/?q",
            "",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
