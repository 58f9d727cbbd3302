//! A request on its way to an upstream, and the answer on its way back.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, SET_COOKIE, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body::Body;
use rewrite::{Arrival, Public, Scheme};
use telemetry::Counter;
use upstream::{Answer, Balancer, Endpoint, Error, Outgoing, Refused};

use crate::body::{Request, TooLarge, TooSlow};
use crate::conn::Conn;
use crate::gates::Gates;
use crate::group::Group;
use crate::http2::{self, Respond};
use crate::incoming::Incoming;
use crate::matched::Matched;
use crate::record::{Record, X_REQUEST_ID};
use crate::respond::Refusal;
use crate::tables::Route;
use crate::worker::Worker;

/// What a request asks for.
pub(crate) struct Asked {
    /// The host, as the client wrote it.
    pub(crate) host: HeaderValue,
    /// The target in origin form.
    pub(crate) target: PathAndQuery,
    /// Where to.
    pub(crate) toward: Toward,
}

/// Where a request goes, and by which address its answer is to name the host.
pub(crate) struct Toward {
    /// How the client came.
    pub(crate) scheme: Scheme,
    /// Upstreams of the path's own; `None`: those of the host.
    pub(crate) group: Option<Arc<Group>>,
    /// Whether its credentials were for us.
    pub(crate) known: bool,
}

/// Sends a request to an upstream: to another one too, where that does nothing twice.
///
/// On HTTP/2 `respond` is where interim answers go.
pub(crate) async fn forward(
    conn: &Conn,
    record: &mut Record,
    matched: &Matched,
    toward: &Toward,
    outgoing: &mut Outgoing<Request>,
    version: Version,
    respond: Option<&Respond>,
) -> Result<Answer, Refusal> {
    let Some(route) = &matched.route else { return Err(Refusal::NoUpstream) };
    let group = toward.group.as_deref().unwrap_or(&route.group);
    let interims = Interims { conn, version, respond };
    let sent = match &group.balancer {
        Some(balancer) => {
            // Boxed: it holds a second sending.
            let shared =
                share_out((group, balancer), route, interims, record, outgoing, toward.scheme);
            Box::pin(shared).await
        }
        None => {
            let Some(endpoint) = group.endpoints.as_slice().first() else {
                return Err(Refusal::NoUpstream);
            };
            aim(record, route, endpoint, outgoing);
            let endpoint = introduced(conn, group, endpoint);
            let interim = interims.pass_on();
            conn.worker.upstreams.send(&endpoint, outgoing, interim).await.map_err(|error| {
                conn.worker.meters.upstream_errors.with([kind(&error)], Counter::inc);
                refusal(error)
            })
        }
    };
    let mut answer = sent?;
    record.is_answered();
    pass_back(&mut answer, matched, group, toward.scheme);
    Ok(answer)
}

/// Sends a request to one after the other, as its group's balancer has it.
async fn share_out(
    (group, balancer): (&Group, &Balancer),
    route: &Route,
    interims: Interims<'_>,
    record: &mut Record,
    outgoing: &mut Outgoing<Request>,
    scheme: Scheme,
) -> Result<Answer, Refusal> {
    let worker = &interims.conn.worker;
    let mut walk = worker.upstreams.walk(balancer, record.client(), &outgoing.headers);
    let mut failure = None;
    loop {
        let attempt = match walk.next().await {
            Ok(attempt) => attempt,
            Err(refused) => {
                if let (Refused::Open(endpoint, _), None) = (&refused, &failure) {
                    record.goes_to(endpoint);
                }
                return Err(not_taken(worker, refused, failure));
            }
        };
        let endpoint = attempt.endpoint();
        aim(record, route, endpoint, outgoing);
        let endpoint = introduced(interims.conn, group, endpoint);
        match worker.upstreams.send(&endpoint, outgoing, interims.pass_on()).await {
            Ok(mut answer) => {
                let cookie = walk.cookie(&attempt, scheme == Scheme::Https);
                if let (Some(cookie), Answer::Response(response)) = (cookie, &mut answer) {
                    response.headers_mut().append(SET_COOKIE, cookie);
                }
                record.holds(attempt.answered(status(&answer)));
                return Ok(answer);
            }
            Err(error) => {
                worker.meters.upstream_errors.with([kind(&error)], Counter::inc);
                attempt.failed(&error);
                if !walk.goes_on(&error, outgoing) {
                    return Err(refusal(error));
                }
                worker.meters.retries.with([kind(&error)], Counter::inc);
                failure = Some(error);
            }
        }
    }
}

/// Why no upstream took a request: the last failure says more than that none is left.
fn not_taken(worker: &Worker, refused: Refused, failure: Option<Error>) -> Refusal {
    let (reason, refusal) = match (refused, failure) {
        (_, Some(error)) => return refusal(error),
        (Refused::Open(endpoint, seconds), None) => {
            ("breaker", Refusal::BreakerOpen(endpoint, seconds))
        }
        (Refused::Full, None) => ("full", Refusal::Crowded("as many requests wait as may")),
        (Refused::Waited, None) => ("waited", Refusal::Crowded("it waited for room in vain")),
        _ => return Refusal::NoUpstream,
    };
    worker.meters.upstream_refusals.with([reason], Counter::inc);
    refusal
}

fn aim(record: &mut Record, route: &Route, endpoint: &Endpoint, outgoing: &mut Outgoing<Request>) {
    record.goes_to(endpoint);
    if !route.host.preserve_host {
        outgoing.host = Some(endpoint.authority().clone());
    }
}

/// The endpoint with what tells it whose the connection is, where the group is told that.
fn introduced<'a>(conn: &Conn, group: &Group, endpoint: &'a Endpoint) -> Cow<'a, Endpoint> {
    match group.tells.and_then(|version| conn.tells(version)) {
        Some(preface) => Cow::Owned(endpoint.with_preface(preface)),
        None => Cow::Borrowed(endpoint),
    }
}

fn status(answer: &Answer) -> StatusCode {
    match answer {
        Answer::Response(response) => response.status(),
        Answer::Upgraded(response, _) => response.status(),
    }
}

/// Where interim answers go.
#[derive(Clone, Copy)]
struct Interims<'a> {
    conn: &'a Conn,
    version: Version,
    respond: Option<&'a Respond>,
}

impl<'a> Interims<'a> {
    fn pass_on(self) -> impl FnMut(StatusCode, HeaderMap) + use<'a> {
        move |status, headers| match self.respond {
            Some(respond) => http2::interim(respond, status, headers),
            None if self.version == Version::HTTP_11 => {
                self.conn.pulse.interim.put(status, headers);
            }
            None => {}
        }
    }
}

/// A request as the upstream gets it.
pub(crate) fn prepare(
    conn: &Rc<Conn>,
    record: &mut Record,
    gates: Option<&Gates>,
    (host, target): (HeaderValue, PathAndQuery),
    head: Parts,
    body: Incoming,
) -> Result<Outgoing<Request>, Refusal> {
    let Parts { method, version, mut headers, .. } = head;
    let upgrade = match version {
        Version::HTTP_11 => rewrite::requested_upgrade(&headers),
        _ => None,
    };
    rewrite::request(&mut headers, &conn.peer);
    let largest = gates.and_then(|gates| gates.max_body);
    if largest.is_some_and(|largest| body.size_hint().lower() > largest) {
        return Err(Refusal::TooLarge);
    }
    if let Some(gates) = gates {
        gates.change_request(&mut headers);
    }
    let shared = record.forwarding();
    if shared.is_none() {
        let arrival = Arrival { peer: &conn.peer, scheme: conn.scheme(), host: &host };
        let trusted = &conn.worker.settings.trusted_proxies;
        record.comes_from(rewrite::next_hop(&mut headers, &arrival, trusted));
    }
    record.trace().pass_on(&mut headers);
    let id = match record.own_id() {
        Ok(id) => Some((X_REQUEST_ID, id.digits())),
        Err(told) => {
            headers.insert(X_REQUEST_ID, told);
            None
        }
    };
    let body = Request::new(body, conn, record, largest);
    let mut outgoing = Outgoing::new(method, target, headers, body);
    outgoing.id = id;
    outgoing.host = Some(host);
    outgoing.shared = shared;
    outgoing.upgrade = upgrade;
    Ok(outgoing)
}

/// Makes an answer what the client gets.
fn pass_back(answer: &mut Answer, matched: &Matched, group: &Group, scheme: Scheme) {
    match answer {
        Answer::Response(response) => {
            rewrite::response(response.headers_mut());
            if let Some(authority) = matched.public_authority() {
                let public = Public { scheme, authority };
                rewrite::answer(response.headers_mut(), &group.internal, &public);
            }
            *response.version_mut() = Version::HTTP_11;
        }
        Answer::Upgraded(response, _) => {
            let protocol = response.headers().get(UPGRADE).cloned();
            rewrite::response(response.headers_mut());
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(protocol) = protocol {
                response.headers_mut().insert(UPGRADE, protocol);
            }
            *response.version_mut() = Version::HTTP_11;
        }
    }
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::ConnectTimeout { .. } | Error::ResponseTimeout { .. } => Refusal::TimedOut(error),
        Error::RequestBody { source } if source.is::<TooSlow>() => Refusal::SlowBody,
        Error::RequestBody { source } if source.is::<TooLarge>() => Refusal::TooLarge,
        Error::RequestBody { source } => Refusal::BrokenBody(source),
        Error::OutOfReach { .. } => Refusal::OutOfReach(error),
        _ => Refusal::BadGateway(error),
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Connect { .. } => "connect",
        Error::ConnectTimeout { .. } => "connect_timeout",
        Error::ResponseTimeout { .. } => "response_timeout",
        Error::ClosedBeforeAnswer { .. } => "closed",
        Error::BadResponse { .. } => "bad_response",
        Error::OutOfReach { .. } => "out_of_reach",
        Error::Truncated { .. } => "truncated",
        Error::RequestBody { .. } => "request_body",
        _ => "other",
    }
}
