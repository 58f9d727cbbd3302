//! Which route a client's host leads to, remembered per connection.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use model::normalise_host;

use crate::conn::Conn;
use crate::meters::HostMeters;
use crate::tables::Route;

/// What a look-up found. Clients ask for the same host again and again on one connection, so the last find is kept:
/// that saves the look-up, and the count of references to the route, which all workers would write.
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
        Rc::new(Self {
            generation: self.generation,
            asked: self.asked.clone(),
            name: self.name.clone(),
            meters: conn.worker.meters.host(route.host.pattern.as_str()),
            route: Some(route),
            misdirected: self.misdirected,
        })
    }

    /// The normalised name; what the client sent if that is none.
    pub(crate) fn host(&self) -> &[u8] {
        self.name.as_ref().map_or(&*self.asked, |name| name.as_bytes())
    }

    /// The normalised name, if what the client sent is one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The pattern of the host record.
    pub(crate) fn pattern(&self) -> Option<&str> {
        self.route.as_ref().map(|route| route.host.pattern.as_str())
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
        Self {
            generation,
            asked: asked.as_bytes().into(),
            name: name.map(Box::from),
            route,
            misdirected,
            meters,
        }
    }
}
