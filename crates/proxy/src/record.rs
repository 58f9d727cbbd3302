//! One request from its head to the last byte of its answer.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, HeaderName, REFERER, USER_AGENT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use policy::About;
use policy::limit::Fields;
use static_files::Coding;
use telemetry::AccessRecord;
use upstream::{Endpoint, Endpoints, Permit, SharedFields};

use crate::conn::Conn;
use crate::gates::Gates;
use crate::gauge::Flow;
use crate::id::RequestId;
use crate::matched::{self, Matched};
use crate::trace::Trace;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the access log and the metrics will say about a request. Dropping it says it, so that every way a request can
/// end is counted, and counted once.
pub(crate) struct Record {
    conn: Rc<Conn>,
    id: RequestId,
    /// The id that a trusted proxy gave it, in place of ours.
    told_id: Option<HeaderValue>,
    trace: Trace,
    start: Instant,
    method: Method,
    target: Option<PathAndQuery>,
    version: Version,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    client_ip: IpAddr,
    matched: Option<Rc<Matched>>,
    /// Its place among the route's endpoints. A clone would be counted where all workers write.
    upstream: Option<usize>,
    /// The endpoints of a path of its own; those of the host are the route's.
    group: Option<Endpoints>,
    /// What the client is told of a rate limit.
    limit: Option<Fields>,
    /// Whether the answer is to be compressed, and by what, if the client takes any.
    compression: Option<Option<Coding>>,
    upstream_time: Option<Duration>,
    /// Its place among the requests of its upstream, where those are counted.
    permit: Option<Permit>,
    upload: Option<Rc<Flow>>,
    status: u16,
    read: u64,
    sent: u64,
    error: Option<Cow<'static, str>>,
}

impl Record {
    /// A request whose head has come. Boxed, since it goes along with the request and then with its answer.
    pub(crate) fn begin(conn: &Rc<Conn>, head: &Parts) -> Box<Self> {
        let start = conn.worker.time.now();
        conn.pulse.request_begins(start);
        conn.worker.meters.in_flight.add(1);
        let header = |name| head.headers.get(name).cloned();
        let logged = conn.worker.logs_access();
        let ids = &conn.worker.ids;
        Box::new(Self {
            id: ids.next(),
            told_id: if conn.peer.is_trusted() { told_id(&head.headers) } else { None },
            trace: Trace::of(&head.headers, conn.worker.settings.begins_traces.then_some(ids)),
            start,
            method: head.method.clone(),
            target: head.uri.path_and_query().cloned(),
            version: head.version,
            user_agent: header(USER_AGENT).filter(|_| logged),
            referer: header(REFERER).filter(|_| logged),
            accept: header(ACCEPT),
            client_ip: conn.peer.ip(),
            matched: None,
            upstream: None,
            group: None,
            limit: None,
            compression: None,
            upstream_time: None,
            permit: None,
            upload: None,
            status: 0,
            read: 0,
            sent: 0,
            error: None,
            conn: conn.clone(),
        })
    }

    /// The id that the upstream, the client, the log and an error page are told.
    pub(crate) fn id(&self) -> &str {
        self.told_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or(&self.id)
    }

    /// The same if it is of our making, for the upstream.
    pub(crate) fn own_id(&self) -> Result<RequestId, HeaderValue> {
        self.told_id.clone().map_or(Ok(self.id), Err)
    }

    /// The trace that it belongs to.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The operator's page for what it comes to.
    pub(crate) fn own_page(&self, status: StatusCode) -> Option<String> {
        let about = About { status, request_id: self.id(), host: self.matched.as_deref()?.name()? };
        self.gates()?.pages.page(&about)
    }

    /// Whether the operator's pages take the place of the app's.
    pub(crate) fn intercepts(&self) -> bool {
        self.gates().is_some_and(|gates| gates.intercept)
    }

    fn gates(&self) -> Option<&Gates> {
        self.matched.as_deref()?.route.as_deref()?.gates.as_deref()
    }

    /// Whether only the head of the answer was asked for.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Whether the client reads HTML.
    pub(crate) fn wants_html(&self) -> bool {
        self.accept.as_ref().is_some_and(names_html)
    }

    /// The host the request is for.
    pub(crate) fn is_for(&mut self, matched: &Rc<Matched>) {
        self.matched = Some(matched.clone());
    }

    /// What the upstream is told of where the request comes from; none if a trusted proxy tells that.
    pub(crate) fn forwarding(&self) -> Option<Rc<SharedFields>> {
        self.matched.as_deref()?.forwarding.clone()
    }

    /// Who asked, by what trusted proxies say.
    pub(crate) fn comes_from(&mut self, client: IpAddr) {
        self.client_ip = client;
    }

    /// It goes to endpoints other than the host's.
    pub(crate) fn goes_among(&mut self, group: &Endpoints) {
        self.group = Some(group.clone());
    }

    /// What the client is to be told of a rate limit.
    pub(crate) fn is_limited(&mut self, limit: Option<Fields>) {
        self.limit = limit;
    }

    /// The host has answers compressed; by `coding` for this client.
    pub(crate) fn is_compressed(&mut self, coding: Option<Coding>) {
        self.compression = Some(coding);
    }

    /// Whether the answer is to be compressed, and by what, if the client takes any.
    pub(crate) fn compression(&self) -> Option<Option<Coding>> {
        self.compression
    }

    /// Names the request in the head of its answer, unless the app did.
    pub(crate) fn is_named_in(&self, headers: &mut HeaderMap) {
        if !headers.contains_key(X_REQUEST_ID) {
            let told = self.told_id.clone();
            // Digits are valid in a field.
            let own = || HeaderValue::from_bytes(&self.id.digits()).ok();
            told.or_else(own).map(|id| headers.insert(X_REQUEST_ID, id));
        }
    }

    /// The id that the head of its answer is to name, unless the app did: what is written past the map of fields costs a
    /// tenth. Where rules change answers they may change this too, and the map has it.
    pub(crate) fn unnamed(&self) -> Option<&str> {
        self.gates().is_none().then(|| self.id())
    }

    /// Has the host's rules change the head of the answer.
    pub(crate) fn change_answer(&mut self, headers: &mut HeaderMap) {
        if self.gates().is_some() {
            self.is_named_in(headers);
        }
        let route = self.matched.as_deref().and_then(|matched| matched.route.as_deref());
        if let Some(gates) = route.and_then(|route| route.gates.as_deref()) {
            gates.change_answer(headers, self.limit.take(), self.conn.scheme());
        }
    }

    /// The body that is sent upstream.
    pub(crate) fn uploads(&mut self, upload: &Rc<Flow>) {
        self.upload = Some(upload.clone());
    }

    /// Who answers.
    pub(crate) fn goes_to(&mut self, endpoint: &Endpoint) {
        self.upstream = self.endpoints().iter().position(|one| std::ptr::eq(one, endpoint));
    }

    /// The head of the upstream's answer has come.
    pub(crate) fn is_answered(&mut self) {
        let time = self.conn.worker.time.now() - self.start;
        self.upstream_time = Some(time);
        self.conn.worker.meters.upstream_duration.observe(time);
    }

    /// It counts as in flight at its upstream until it is over.
    pub(crate) fn holds(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    /// Who asked, by what trusted proxies say.
    pub(crate) fn client(&self) -> IpAddr {
        self.client_ip
    }

    /// The status the client gets.
    pub(crate) fn answers(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }

    /// `n` bytes came that are in no watched body.
    pub(crate) fn reads(&mut self, n: usize) {
        self.read += n as u64;
    }

    /// `n` bytes of the answer's body were handed over.
    pub(crate) fn sends(&mut self, n: usize) {
        self.sent += n as u64;
    }

    /// Why the answer is not what the upstream meant. The first reason stays.
    pub(crate) fn fails(&mut self, error: impl Into<Cow<'static, str>>) {
        self.error.get_or_insert_with(|| error.into());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let worker = &*self.conn.worker;
        let now = worker.time.now();
        let duration = now.saturating_duration_since(self.start);
        self.conn.pulse.request_ends(now);
        // With the answer out, what is left of the body is of no use to anybody.
        self.upload.iter().for_each(|upload| upload.fail());
        if self.status == 0 {
            self.error.get_or_insert(Cow::Borrowed("the client went away"));
        }
        let read = self.read + self.upload.as_ref().map_or(0, |upload| upload.total());
        worker.meters.in_flight.add(-1);
        let matched = self.matched.as_deref();
        let meters = matched.map_or(&worker.meters.unknown, |matched| &matched.meters);
        meters.count(self.status, (read, self.sent), duration, &worker.meters.duration);
        if worker.logs_access() {
            self.log(duration, read);
        }
    }
}

impl Record {
    fn endpoints(&self) -> &[Endpoint] {
        let route = self.matched.as_deref().and_then(|matched| matched.route.as_deref());
        match &self.group {
            Some(group) => group.as_slice(),
            None => route.map_or(&[], |route| route.endpoints().as_slice()),
        }
    }

    fn log(&self, duration: Duration, read: u64) {
        let worker = &*self.conn.worker;
        let nowhere;
        let context = match self.matched.as_deref() {
            Some(matched) => &matched.access,
            None => {
                nowhere = matched::access(&self.conn, b"", None);
                &nowhere
            }
        };
        worker.log_access(&AccessRecord {
            time: worker.time.date(self.start),
            request_id: self.id(),
            context,
            client_ip: self.client_ip,
            proto: protocol(self.version),
            method: self.method.as_str(),
            uri: self.target.as_ref().map_or("", PathAndQuery::as_str).as_bytes(),
            upstream: self.upstream.and_then(|at| self.endpoints().get(at)).map(Endpoint::as_str),
            status: self.status,
            bytes_read: read,
            bytes_sent: self.sent,
            duration,
            upstream_time: self.upstream_time,
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            trace_id: self.trace.id(),
            error: self.error.as_deref(),
        });
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The id that a proxy before us gave a request, if it gave one that can stand in a log as it is.
fn told_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut fields = headers.get_all(X_REQUEST_ID).iter();
    let (id, None) = (fields.next()?, fields.next()) else { return None };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=+/@~".contains(byte);
    let fits = (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain);
    fits.then(|| id.clone())
}

fn names_html(accept: &HeaderValue) -> bool {
    accept.as_bytes().windows(9).any(|part| part == b"text/html")
}
