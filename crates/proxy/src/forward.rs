//! A request on its way to an upstream, and the answer on its way back.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
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
use crate::matched::Matched;
use crate::record::{Record, X_REQUEST_ID};
use crate::respond::Refusal;

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

/// Sends a request to one of a group's endpoints: to the next ones too, as long as nothing was sent.
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
    let mut failure = None;
    for endpoint in conn.worker.upstreams.in_turn(&group.endpoints) {
        record.goes_to(endpoint);
        let told;
        let endpoint = match group.tells.and_then(|version| conn.tells(version)) {
            Some(preface) => {
                told = endpoint.with_preface(preface);
                &told
            }
            None => endpoint,
        };
        if !route.host.preserve_host {
            outgoing.host = Some(endpoint.authority().clone());
        }
        let interim = |status, headers| match respond {
            Some(respond) => http2::interim(respond, status, headers),
            None if version == Version::HTTP_11 => conn.pulse.interim.put(status, headers),
            None => {}
        };
        match conn.worker.upstreams.send(endpoint, outgoing, interim).await {
            Ok(mut answer) => {
                record.is_answered();
                pass_back(&mut answer, matched, group, toward.scheme);
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
