//! A request on its way to an upstream, and the answer on its way back.

use std::mem;
use std::rc::Rc;

use http::header::{CONNECTION, HeaderName, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Version};
use http_body::Body;
use rewrite::{Arrival, Public, Scheme};
use telemetry::Counter;
use upstream::{Answer, Error, Outgoing};

use crate::body::{Request, TooLarge, TooSlow};
use crate::conn::Conn;
use crate::gates::{Gates, Group};
use crate::http2::{self, Respond};
use crate::incoming::Incoming;
use crate::record::Record;
use crate::respond::Refusal;
use crate::tables::Route;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request as it came in. It stays where it is: each move of it would be a copy of some hundred bytes.
pub(crate) struct Arriving<'a> {
    pub(crate) head: &'a mut Parts,
    pub(crate) body: &'a mut Incoming,
    /// On HTTP/2, where interim answers go.
    pub(crate) respond: Option<&'a Respond>,
}

/// What a request is for.
pub(crate) struct Asked {
    /// The host, as the client wrote it.
    pub(crate) host: HeaderValue,
    /// The target in origin form.
    pub(crate) target: PathAndQuery,
    /// How the client came.
    pub(crate) scheme: Scheme,
}

/// Sends a request to one of a group's endpoints: to the next ones too, as long as nothing was sent. Takes its fields and
/// its body.
pub(crate) async fn forward(
    conn: &Rc<Conn>,
    record: &mut Record,
    route: &Route,
    group: &Group,
    asked: Asked,
    Arriving { head, body, respond }: Arriving<'_>,
) -> Result<Answer, Refusal> {
    let version = head.version;
    let gates = route.gates.as_deref();
    let public = (asked.scheme, asked.host.clone());
    let mut outgoing = prepare(conn, record, gates, asked, head, body)?;
    let mut failure = None;
    for endpoint in conn.worker.upstreams.in_turn(&group.endpoints) {
        record.goes_to(endpoint);
        if !route.host.preserve_host {
            outgoing.host = Some(endpoint.authority().clone());
        }
        let interim = |status, headers| match respond {
            Some(respond) => http2::interim(respond, status, headers),
            None if version == Version::HTTP_11 => conn.pulse.interim.put(status, headers),
            None => {}
        };
        match conn.worker.upstreams.send(endpoint, &mut outgoing, interim).await {
            Ok(mut answer) => {
                record.is_answered();
                pass_back(&mut answer, route, group, &public);
                return Ok(answer);
            }
            Err(error) => {
                conn.worker.meters.upstream_errors.with([kind(&error)], Counter::inc);
                let final_one = !error.may_try_elsewhere();
                failure = Some(error);
                if final_one {
                    break;
                }
            }
        }
    }
    Err(failure.map_or(Refusal::NoUpstream, refusal))
}

/// The request as the upstream gets it.
fn prepare(
    conn: &Rc<Conn>,
    record: &mut Record,
    gates: Option<&Gates>,
    Asked { host, target, .. }: Asked,
    head: &mut Parts,
    body: &mut Incoming,
) -> Result<Outgoing<Request>, Refusal> {
    let mut headers = mem::take(&mut head.headers);
    let upgrade = match head.version {
        Version::HTTP_11 => rewrite::requested_upgrade(&headers),
        _ => None,
    };
    rewrite::request(&mut headers, &conn.peer);
    if let Some(gates) = gates {
        gates.change_request(&mut headers);
    }
    let shared = record.forwarding();
    if shared.is_none() {
        let arrival = Arrival { peer: &conn.peer, scheme: conn.scheme(), host: &host };
        let trusted = &conn.worker.settings.trusted_proxies;
        record.comes_from(rewrite::next_hop(&mut headers, &arrival, trusted));
    }
    let largest = gates.and_then(|gates| gates.max_body);
    if largest.is_some_and(|largest| body.size_hint().lower() > largest) {
        return Err(Refusal::TooLarge);
    }
    let body = Request::new(mem::replace(body, Incoming::Empty), conn, record, largest);
    let mut outgoing = Outgoing::new(head.method.clone(), target, headers, body);
    outgoing.id = Some((X_REQUEST_ID, record.id().digits()));
    outgoing.host = Some(host);
    outgoing.shared = shared;
    outgoing.upgrade = upgrade;
    Ok(outgoing)
}

/// Makes an answer what the client gets.
fn pass_back(
    answer: &mut Answer,
    route: &Route,
    group: &Group,
    (scheme, host): &(Scheme, HeaderValue),
) {
    match answer {
        Answer::Response(response) => {
            rewrite::response(response.headers_mut());
            if let (true, Ok(authority)) = (route.host.rules().rewrite_responses, host.to_str()) {
                let public = Public { scheme: *scheme, authority };
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
        Error::Truncated { .. } => "truncated",
        Error::RequestBody { .. } => "request_body",
        _ => "other",
    }
}
