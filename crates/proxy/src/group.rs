//! Upstreams that share the requests for a path.

use std::sync::Arc;

use http::HeaderValue;
use model::{Host, ProxyProtocol, Upstream, UpstreamTls};
use proxy_protocol::Version;
use rewrite::Internal;
use upstream::{Balancer, Endpoint, Endpoints};

/// Upstreams that share the requests for a path.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) endpoints: Endpoints,
    /// What they may call themselves.
    pub(crate) internal: Internal,
    /// How they are told whose a connection is.
    pub(crate) tells: Option<Version>,
    /// Who shares the requests out; `None` where there is nothing to share out and nothing to be done about failures.
    pub(crate) balancer: Option<Arc<Balancer>>,
}

impl Group {
    /// Upstreams of a host that nobody shares requests out among.
    pub(crate) fn new(upstreams: &[Upstream], host: &Host) -> Self {
        let tls = host.upstream_tls;
        let tells = host.rules().upstream_proxy_protocol.map(|version| match version {
            ProxyProtocol::V1 => Version::V1,
            _ => Version::V2,
        });
        let names: Vec<_> = upstreams.iter().map(|it| (it.host().to_string(), it.port())).collect();
        let own = names.iter().map(|(name, port)| (name.as_str(), *port));
        let internal = Internal::new(own, tls != UpstreamTls::Off);
        let http = host.rules().upstream_http;
        let endpoint = |upstream: &Upstream| Endpoint::speaking(http, upstream.clone(), tls);
        let endpoints = upstreams.iter().map(endpoint).collect();
        Self { endpoints, internal, tells, balancer: None }
    }

    /// Each, as it is written.
    pub(crate) fn told(&self) -> Vec<String> {
        self.endpoints.as_slice().iter().map(ToString::to_string).collect()
    }
}

/// Makes the groups of one host.
pub(crate) struct Grouping<'a> {
    host: &'a Host,
    /// Who shared requests out before the host was changed: what they know stays known.
    former: &'a [Arc<Balancer>],
    secret: String,
    check_host: Option<HeaderValue>,
    /// Who does from now on.
    pub(crate) balancers: Vec<Arc<Balancer>>,
}

impl<'a> Grouping<'a> {
    pub(crate) fn new(host: &'a Host, former: &'a [Arc<Balancer>]) -> Self {
        let name = host.pattern.as_str();
        let is_name = !host.pattern.is_wildcard() && host.preserve_host;
        Self {
            // What no client knows and every proxy does: the moment at which the record was made.
            secret: format!("{name} {} {:?}", host.created_at, host.created_by),
            check_host: is_name.then(|| HeaderValue::from_str(name).ok()).flatten(),
            balancers: Vec::new(),
            former,
            host,
        }
    }

    /// The upstreams for the paths under a prefix.
    pub(crate) fn group(&mut self, path: &str, upstreams: &[Upstream]) -> Group {
        let mut group = Group::new(upstreams, self.host);
        let made = Balancer::new(
            &upstream::Group {
                host: self.host.pattern.as_str(),
                scope: path,
                endpoints: &group.endpoints,
                rules: self.host.rules(),
                secret: self.secret.as_bytes(),
                check_host: self.check_host.as_ref(),
            },
            self.former.iter().find(|it| it.scope() == path),
        );
        self.balancers.extend(made.clone());
        group.balancer = made;
        group
    }
}
