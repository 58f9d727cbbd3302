use std::net::IpAddr;

use crate::Scheme;

/// The addresses by which a host's apps may call themselves, and which mean nothing to a client; made once per host.
///
/// That is each upstream's own name or address with its port, and with the same port what an app takes itself to be
/// when nobody tells it: `localhost`, a loopback address, the unspecified address it listens on. Also the public name
/// with an upstream's port written behind it, as apps put together that know the name from `Host` and the port from
/// their socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Internal {
    upstreams: Vec<(Name, u16)>,
    /// The port that an address without one means when it has no scheme either.
    default_port: u16,
}

/// A host in an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Ip(IpAddr),
    /// Lower case.
    Dns(Box<str>),
}

/// Where clients find a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Public<'a> {
    /// How clients reach it.
    pub scheme: Scheme,
    /// Its name as the client asked for it, with the port unless it is the scheme's own.
    pub authority: &'a str,
}

impl<'a> Public<'a> {
    /// Its name alone. A client may write any port behind it, one that there can't be too.
    fn name(&self) -> &'a str {
        without_dot(parts(self.authority).0)
    }
}

impl Internal {
    /// From the host and port of each upstream; an IPv6 address with or without brackets. `over_tls` says whether they
    /// are spoken to by HTTPS.
    pub fn new<'a>(upstreams: impl IntoIterator<Item = (&'a str, u16)>, over_tls: bool) -> Self {
        let own = |(host, port)| {
            let ip = address(host).or_else(|| host.parse().ok());
            let dns = || Name::Dns(without_dot(host).to_ascii_lowercase().into());
            (ip.map_or_else(dns, |ip: IpAddr| Name::Ip(ip.to_canonical())), port)
        };
        let upstreams = upstreams.into_iter().map(own).collect();
        Self { upstreams, default_port: if over_tls { 443 } else { 80 } }
    }

    /// Whether an authority (`host` or `host:port`, as it stands in an address) is one of these. `scheme` is the
    /// address' own, if it has one.
    pub(crate) fn names(
        &self,
        authority: &str,
        scheme: Option<Scheme>,
        public: &Public<'_>,
    ) -> bool {
        let Some((host, written)) = split(authority) else { return false };
        let default = match scheme {
            Some(Scheme::Http) => 80,
            Some(Scheme::Https) => 443,
            None => self.default_port,
        };
        let port = written.unwrap_or(default);
        if self.upstreams.iter().all(|(_, own)| *own != port) {
            return false;
        }
        let is_public = || written.is_some() && public.name().eq_ignore_ascii_case(host);
        is_own(host) || self.of_port(port).any(|own| own.is(host)) || is_public()
    }

    /// Whether a cookie's `Domain` would be refused by clients: an address, `localhost`, or a name that an upstream has
    /// or lies under, when the public name doesn't.
    pub(crate) fn is_cookie_domain(&self, domain: &str, public: &Public<'_>) -> bool {
        let domain = without_dot(domain.strip_prefix('.').unwrap_or(domain));
        if domain.is_empty() {
            return false;
        }
        if is_own(domain) || domain.parse::<IpAddr>().is_ok() || address(domain).is_some() {
            return true;
        }
        let of_upstream = self.upstreams.iter().any(|(own, _)| match own {
            Name::Ip(_) => false,
            Name::Dns(own) => lies_under(own, domain),
        });
        of_upstream && !lies_under(public.name(), domain)
    }

    fn of_port(&self, port: u16) -> impl Iterator<Item = &Name> {
        self.upstreams.iter().filter(move |(_, own)| *own == port).map(|(own, _)| own)
    }
}

impl Name {
    /// Whether a host of an address is this one, in any spelling.
    fn is(&self, host: &str) -> bool {
        match self {
            Self::Ip(own) => address(host).is_some_and(|ip| ip == *own),
            Self::Dns(own) => own.eq_ignore_ascii_case(host),
        }
    }
}

/// What an app calls itself that doesn't know better.
fn is_own(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || address(host).is_some_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// An address as it stands in a URL: IPv4 in four decimal parts, IPv6 in brackets.
fn address(host: &str) -> Option<IpAddr> {
    let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => IpAddr::V4(host.parse().ok()?),
    };
    Some(ip.to_canonical())
}

/// The host, without a dot at its end, and the port if one is written. `None` for what is no plain authority: user
/// information, spaces, escapes, backslashes, which programs read in different ways.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = parts(authority);
    let is_plain = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    if host.is_empty() || !is_plain {
        return None;
    }
    let host = without_dot(host);
    match port.strip_prefix(':') {
        None => port.is_empty().then_some((host, None)),
        // An empty port is the scheme's (RFC 3986 §3.2.3).
        Some("") => Some((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(digits.parse().ok()?)))
        }
        Some(_) => None,
    }
}

/// The host, and what stands behind it.
fn parts(authority: &str) -> (&str, &str) {
    match authority.rfind(']') {
        Some(end) => authority.split_at(end + 1),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether `name` is `domain` or below it.
fn lies_under(name: &str, domain: &str) -> bool {
    let Some(start) = name.len().checked_sub(domain.len()) else { return false };
    let (above, end) = (name.as_bytes(), &name.as_bytes()[start..]);
    end.eq_ignore_ascii_case(domain.as_bytes()) && (start == 0 || above[start - 1] == b'.')
}
