use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::{HostPattern, HostRules, Hostname, Timestamp, Username, is_local_name};

/// One public name or pattern and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The pattern, also the record's key.
    pub pattern: HostPattern,
    /// Where requests go; empty: 503 to every request.
    pub upstreams: Vec<Upstream>,
    /// How upstreams are spoken to.
    pub upstream_tls: UpstreamTls,
    /// Whether the upstream sees the public name in `Host`; else its own.
    pub preserve_host: bool,
    /// Whether plain HTTP answers a redirect to HTTPS.
    pub force_https: bool,
    /// How the host comes by a certificate.
    pub certificate: CertificateMode,
    /// Whether it takes part in lookup.
    pub enabled: bool,
    /// What it does with requests besides; `None`: what [`HostRules::default`] says.
    pub rules: Option<Box<HostRules>>,
    /// Another program guards it in a way that is not known here, and which: nobody is let in.
    pub foreign_gate: Option<&'static str>,
    /// Who made it.
    pub created_by: Option<Username>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Host {
    /// A host with the documented defaults: no upstream, HTTPS forced, certificate chosen by its name.
    pub fn new(pattern: HostPattern) -> Self {
        Self {
            pattern,
            upstreams: Vec::new(),
            upstream_tls: UpstreamTls::Off,
            preserve_host: true,
            force_https: true,
            certificate: CertificateMode::Auto,
            enabled: true,
            rules: None,
            foreign_gate: None,
            created_by: None,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        }
    }

    /// What it does with requests besides passing them on.
    pub fn rules(&self) -> &HostRules {
        static NONE: LazyLock<HostRules> = LazyLock::new(HostRules::default);
        self.rules.as_deref().unwrap_or(&NONE)
    }

    /// Sets what it does with requests besides passing them on.
    pub fn set_rules(&mut self, rules: HostRules) {
        self.rules = (rules != HostRules::default()).then(|| Box::new(rules));
    }

    /// Whether certificates for this host come from the local authority: asked for, or `auto` on a local name.
    pub fn uses_local_authority(&self) -> bool {
        match self.certificate {
            CertificateMode::Local => true,
            CertificateMode::Auto => is_local_name(self.pattern.as_str()),
            CertificateMode::Acme | CertificateMode::Custom | CertificateMode::None => false,
        }
    }
}

/// How a host comes by a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CertificateMode {
    /// Local names by the local authority, others by ACME.
    #[default]
    Auto,
    /// By ACME, local names too.
    Acme,
    /// By the local authority.
    Local,
    /// Uploaded by an operator; never issued.
    Custom,
    /// None.
    None,
}

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum UpstreamTls {
    /// Plain HTTP.
    #[default]
    Off,
    /// HTTPS; the certificate must be valid for the upstream's name.
    Verify,
    /// HTTPS; any certificate.
    Insecure,
}

/// Which version of HTTP is spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum UpstreamHttp {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "1")]
    One,
    /// HTTP/2: in clear by prior knowledge, in TLS by ALPN (RFC 9113 §3).
    #[serde(rename = "2")]
    Two,
}

/// The address of an upstream: `127.0.0.1:9000`, `[::1]:9000` or `app:80`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    host: UpstreamHost,
    port: u16,
}

/// The host part of an [`Upstream`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamHost {
    /// A literal address.
    Ip(IpAddr),
    /// A name to resolve.
    Name(Hostname),
}

impl Upstream {
    /// The host part.
    pub fn host(&self) -> &UpstreamHost {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The socket address when the host part is a literal address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            UpstreamHost::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            UpstreamHost::Name(_) => None,
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            UpstreamHost::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            UpstreamHost::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Without the port, and without brackets.
impl fmt::Display for UpstreamHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name.as_str()),
        }
    }
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        let wrong = |why| UpstreamError { text: text.chars().take(120).collect(), why };
        if text.contains("://") {
            return Err(wrong("write host:port without a scheme; upstream_tls chooses HTTPS"));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let plain = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = match port.parse() {
            Ok(port) if port != 0 && plain => port,
            _ => return Err(wrong("the port must be a number from 1 to 65535")),
        };
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => UpstreamHost::Ip(IpAddr::V6(
                v6.parse().map_err(|_| wrong("between [ and ] stands an IPv6 address"))?,
            )),
            None if host.contains(':') => return Err(wrong("write an IPv6 address in [ and ]")),
            None => match host.parse() {
                Ok(v4) => UpstreamHost::Ip(IpAddr::V4(v4)),
                Err(_) => UpstreamHost::Name(
                    host.parse().map_err(|_| wrong("the host is no name and no address"))?,
                ),
            },
        };
        Ok(Self { host, port })
    }
}

impl Serialize for Upstream {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Upstream {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not an upstream address.
#[derive(Debug, thiserror::Error)]
#[error("\"{text}\" is not an upstream: {why}")]
pub struct UpstreamError {
    text: String,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_read_and_print_alike() {
        for text in ["127.0.0.1:9000", "[::1]:9000", "app:80", "a.example.com:65535"] {
            assert_eq!(text.parse::<Upstream>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_upstream_says_why() {
        for (text, why) in [
            ("http://a:80", "scheme"),
            ("a", "port is missing"),
            ("a:", "65535"),
            ("a:0", "65535"),
            ("a:+80", "65535"),
            ("a:65536", "65535"),
            ("::1:80", "[ and ]"),
            ("[1.2.3.4]:80", "IPv6"),
            ("a b:80", "no name"),
            (":80", "no name"),
        ] {
            let error = text.parse::<Upstream>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn auto_means_the_local_authority_for_local_names_only() {
        let host = |name: &str| Host::new(name.parse().unwrap());
        for local in ["localhost", "app", "a.b.test", "*.test", "10.0.0.1", "x.home.arpa"] {
            assert!(host(local).uses_local_authority(), "{local}");
        }
        for public in ["example.com", "*.example.com", "local.example.com", "**", "*"] {
            assert!(!host(public).uses_local_authority(), "{public}");
        }
    }
}
