//! Which route a client's host leads to, remembered per connection.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use model::normalise_host;
use rewrite::Arrival;
use telemetry::{AccessContext, AccessOrigin};
use upstream::SharedFields;

use crate::conn::{Conn, Tls};
use crate::meters::HostMeters;
use crate::tables::Route;

/// What a look-up found. Clients ask for the same host again and again on one connection, so the last find is kept:
/// that saves the look-up, the count of references to the route, which all workers would write, and to write down
/// anew what is the same for each of them.
pub(crate) struct Matched {
    generation: u64,
    /// A copy: the header value itself would keep the connection's read buffer from being used again.
    asked: Box<[u8]>,
    name: Option<Box<str>>,
    /// Where it leads; none for an unknown host.
    pub(crate) route: Option<Arc<Route>>,
    /// Whether the certificate the client saw does not cover this host.
    pub(crate) misdirected: bool,
    /// Where it is counted.
    pub(crate) meters: Rc<HostMeters>,
    /// What its lines in the access log begin with.
    pub(crate) access: AccessContext,
    /// What the upstream is told of where requests come from; none behind a trusted proxy, which tells itself.
    pub(crate) forwarding: Option<Rc<SharedFields>>,
}

impl Matched {
    /// The route for the host a client asked for.
    pub(crate) fn find(conn: &Conn, asked: &HeaderValue) -> Rc<Self> {
        let generation = conn.worker.tables.generation();
        let mut last = conn.last_match.borrow_mut();
        if let Some(last) = &*last
            && last.generation == generation
            && *last.asked == *asked.as_bytes()
        {
            return last.clone();
        }
        let found = Rc::new(Self::look_up(conn, asked, generation));
        *last = Some(found.clone());
        found
    }

    /// The same with a route that was heard of elsewhere. Not to be remembered: it is good for a while only.
    pub(crate) fn with_route(&self, conn: &Conn, route: Arc<Route>) -> Rc<Self> {
        let host = self.name.as_ref().map_or(&*self.asked, |name| name.as_bytes());
        Rc::new(Self {
            generation: self.generation,
            asked: self.asked.clone(),
            name: self.name.clone(),
            meters: conn.worker.meters.host(route.host.pattern.as_str()),
            access: access(conn, host, Some(route.host.pattern.as_str())),
            forwarding: self.forwarding.clone(),
            route: Some(route),
            misdirected: self.misdirected,
        })
    }

    /// The host as the client wrote it, if answers are to name it in the place of an upstream.
    pub(crate) fn public_authority(&self) -> Option<&str> {
        let rewrites = self.route.as_ref()?.host.rules().rewrite_responses;
        std::str::from_utf8(&self.asked).ok().filter(|_| rewrites)
    }

    /// The port that the client wrote behind the name.
    pub(crate) fn port(&self) -> Option<u16> {
        let digits = self.asked.rsplit(|byte| *byte == b':').next()?;
        let has_colon = digits.len() < self.asked.len();
        std::str::from_utf8(digits).ok().filter(|_| has_colon)?.parse().ok()
    }

    /// The normalised name, if what the client sent is one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn look_up(conn: &Conn, asked: &HeaderValue, generation: u64) -> Self {
        let mut buffer = [0; 256];
        let name = normalise_host(asked.as_bytes(), &mut buffer);
        let route = name.and_then(|name| conn.worker.tables.route(name));
        let meters = match &route {
            Some(route) => conn.worker.meters.host(route.host.pattern.as_str()),
            None => conn.worker.meters.unknown.clone(),
        };
        let misdirected =
            name.is_some_and(|name| conn.tls.as_ref().is_some_and(|tls| !tls.may_serve(name)));
        let arrival = Arrival { peer: &conn.peer, scheme: conn.scheme(), host: asked };
        let is_first_hop = !conn.peer.is_trusted();
        let forwarding = || Rc::new(SharedFields::new(rewrite::first_hop(&arrival)));
        let pattern = route.as_ref().map(|route| route.host.pattern.as_str());
        Self {
            access: access(conn, name.map_or(asked.as_bytes(), str::as_bytes), pattern),
            forwarding: is_first_hop.then(forwarding),
            generation,
            asked: asked.as_bytes().into(),
            name: name.map(Box::from),
            route,
            misdirected,
            meters,
        }
    }
}

/// What the access log says of requests on a connection for a host.
pub(crate) fn access(conn: &Conn, host: &[u8], host_pattern: Option<&str>) -> AccessContext {
    let tls = conn.tls.as_ref();
    AccessContext::new(&AccessOrigin {
        remote: conn.ends.remote,
        scheme: if tls.is_some() { "https" } else { "http" },
        host,
        host_pattern,
        tls_version: tls.map(|tls| tls.version),
        tls_cipher: tls.map(|tls| tls.cipher),
        server_name: tls.and_then(Tls::server_name),
    })
}
