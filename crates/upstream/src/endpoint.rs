use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use http::HeaderValue;
use model::{Upstream, UpstreamHost, UpstreamHttp, UpstreamTls};
use rustls::pki_types::ServerName;

/// One place requests are sent to: an address, which HTTP and whether TLS is spoken, and the name its certificate must have.
///
/// Made once when a host table changes; cheap to clone, to hash and to compare. Connections are pooled by it.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    upstream: Upstream,
    tls: UpstreamTls,
    http: UpstreamHttp,
    server_name: Option<ServerName<'static>>,
    authority: HeaderValue,
    text: Box<str>,
    /// What each connection begins with.
    preface: Option<Vec<u8>>,
    hash: u64,
}

impl Endpoint {
    /// The endpoint at `upstream`, by HTTP/1.1. The name for SNI and verification is the upstream's own.
    pub fn new(upstream: Upstream, tls: UpstreamTls) -> Self {
        Self::speaking(UpstreamHttp::One, upstream, tls)
    }

    /// As [`new`](Self::new), by this version of HTTP.
    pub fn speaking(http: UpstreamHttp, upstream: Upstream, tls: UpstreamTls) -> Self {
        let server_name = match upstream.host() {
            UpstreamHost::Ip(ip) => Some(ServerName::from(*ip)),
            UpstreamHost::Name(name) => ServerName::try_from(name.as_str().to_owned()).ok(),
        };
        let authority = authority(&upstream, tls);
        let mut hasher = DefaultHasher::new();
        (&upstream, &tls, &http).hash(&mut hasher);
        let text = upstream.to_string().into();
        let hash = hasher.finish();
        let preface = None;
        Self(Arc::new(Inner { upstream, tls, http, server_name, authority, text, preface, hash }))
    }

    /// The same place, where each connection begins with these bytes, before TLS: they say whose it is. Such a connection
    /// serves one request, and nobody else.
    #[must_use]
    pub fn with_preface(&self, preface: Vec<u8>) -> Self {
        let Inner { upstream, tls, http, server_name, authority, text, hash, .. } = &*self.0;
        Self(Arc::new(Inner {
            upstream: upstream.clone(),
            tls: *tls,
            http: *http,
            server_name: server_name.clone(),
            authority: authority.clone(),
            text: text.clone(),
            preface: Some(preface),
            hash: *hash,
        }))
    }

    /// Its address.
    pub fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    /// Its address as text: `127.0.0.1:9000`.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether and how TLS is spoken.
    pub fn tls(&self) -> UpstreamTls {
        self.0.tls
    }

    /// Which version of HTTP is spoken, but for WebSockets and the like.
    pub fn http(&self) -> UpstreamHttp {
        self.0.http
    }

    /// Its own name, as a `Host` field would have it: without the port if that is its scheme's.
    pub fn authority(&self) -> &HeaderValue {
        &self.0.authority
    }

    /// What each connection begins with.
    pub(crate) fn preface(&self) -> Option<&[u8]> {
        self.0.preface.as_deref()
    }

    /// None if the upstream's name is nothing a certificate can be issued for.
    pub(crate) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.0.server_name.as_ref()
    }
}

fn authority(upstream: &Upstream, tls: UpstreamTls) -> HeaderValue {
    let default = if tls == UpstreamTls::Off { 80 } else { 443 };
    let text = upstream.to_string();
    let bare = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
    let text = if upstream.port() == default { bare } else { &text };
    // Names and addresses are visible ASCII: the fallback is never taken.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("upstream"))
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Inner, b: &Inner| {
            let speak_alike = a.tls == b.tls && a.http == b.http && a.preface == b.preface;
            a.hash == b.hash && a.upstream == b.upstream && speak_alike
        };
        Arc::ptr_eq(&self.0, &other.0) || same(&self.0, &other.0)
    }
}

impl Eq for Endpoint {}

/// Finds endpoints in a map by the hash that they bring along.
pub(crate) type ByOwnHash = BuildHasherDefault<OwnHash>;

#[derive(Default)]
pub(crate) struct OwnHash(u64);

impl Hasher for OwnHash {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Nothing but [`Endpoint`] is hashed by this.
    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

/// Prints the address: `127.0.0.1:9000`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({} tls: {:?})", self.0.text, self.0.tls)
    }
}

/// The endpoints of one group, in the order written; cheap to clone.
#[derive(Clone, Debug)]
pub struct Endpoints(Arc<[Endpoint]>);

impl Endpoints {
    /// One endpoint for each upstream.
    pub fn new(upstreams: &[Upstream], tls: UpstreamTls) -> Self {
        upstreams.iter().map(|upstream| Endpoint::new(upstream.clone(), tls)).collect()
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Endpoint] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        Self(endpoints.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn endpoint(upstream: &str, tls: UpstreamTls) -> Endpoint {
        Endpoint::new(upstream.parse().unwrap(), tls)
    }

    #[test]
    fn equal_are_those_that_can_share_connections() {
        let all = [
            endpoint("a:80", UpstreamTls::Off),
            endpoint("a:80", UpstreamTls::Off),
            endpoint("a:81", UpstreamTls::Off),
            endpoint("b:80", UpstreamTls::Off),
            endpoint("a:80", UpstreamTls::Verify),
            endpoint("a:80", UpstreamTls::Insecure),
            endpoint("a:80", UpstreamTls::Off).with_preface(b"mine".to_vec()),
            endpoint("a:80", UpstreamTls::Off).with_preface(b"yours".to_vec()),
            Endpoint::speaking(UpstreamHttp::Two, "a:80".parse().unwrap(), UpstreamTls::Off),
        ];
        assert_eq!(all[0], all[1]);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 8);
    }

    #[test]
    fn the_authority_leaves_out_the_usual_port() {
        for (upstream, tls, authority) in [
            ("app:80", UpstreamTls::Off, "app"),
            ("app:443", UpstreamTls::Off, "app:443"),
            ("app:443", UpstreamTls::Verify, "app"),
            ("app:80", UpstreamTls::Insecure, "app:80"),
            ("[::1]:80", UpstreamTls::Off, "[::1]"),
            ("[::1]:9000", UpstreamTls::Off, "[::1]:9000"),
            ("127.0.0.1:80", UpstreamTls::Off, "127.0.0.1"),
        ] {
            assert_eq!(endpoint(upstream, tls).authority(), authority);
        }
    }
}
