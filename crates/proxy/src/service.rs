//! What happens to a request, top to bottom.
//!
//! Framing is [`http1`](crate::http1)'s and h2's, headers are [`rewrite`]'s, connections are [`upstream`]'s. Here it is decided
//! which of the possible answers a request gets, and every way out goes through a [`Record`] that is written when the
//! answer is over.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, LOCATION,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, StatusCode, Version};
use rewrite::Scheme;
use static_files::Head;
use upstream::Answer;

use crate::body::{Reply, Source};
use crate::compress::compressed;
use crate::conn::Conn;
use crate::forward::{Asked, Toward, forward, prepare};
use crate::gates::Next;
use crate::http2::Respond;
use crate::incoming::Incoming;
use crate::matched::Matched;
use crate::record::Record;
use crate::respond::{Refusal, page, with_own_page};
use crate::upgrade::Tunnel;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// Answers one request. Never fails: what goes wrong becomes a page, or breaks off the answer's body.
///
/// On HTTP/2 `respond` is where interim answers go.
pub(crate) fn answer(
    conn: Rc<Conn>,
    mut head: Parts,
    body: Incoming,
    respond: Option<&Respond>,
) -> impl Future<Output = Response<Reply>> {
    let mut record = Record::begin(&conn, &head);
    // A block has its arguments once, an async function twice: this future is copied for every request.
    async move {
        let version = head.version;
        // Nested futures are copied into one another: the larger one is not nested in this one's decision.
        let outcome = match decide(&conn, &mut record, &head).await {
            Ok(Way::Here(page)) => Ok(Outcome::Here(page)),
            Ok(Way::File(response)) => Ok(Outcome::File(response)),
            Ok(Way::There(matched, Asked { host, target, toward })) => 'there: {
                if toward.known {
                    // They were for us, and are nobody else's to know.
                    head.headers.remove(AUTHORIZATION);
                }
                let gates = matched.route.as_deref().and_then(|route| route.gates.as_deref());
                let to = (host, target);
                let mut outgoing = match prepare(&conn, &mut record, gates, to, head, body) {
                    Ok(outgoing) => outgoing,
                    Err(refusal) => break 'there Err(refusal),
                };
                let (record, outgoing) = (&mut record, &mut outgoing);
                forward(&conn, record, &matched, &toward, outgoing, version, respond)
                    .await
                    .map(Outcome::There)
            }
            Err(refusal) => Err(refusal),
        };
        let mut response = match outcome {
            Ok(Outcome::Here(response)) => finish(record, response.map(Source::Page)),
            Ok(Outcome::There(Answer::Response(response))) => {
                finish(record, response.map(Source::Upstream))
            }
            Ok(Outcome::File(response)) => finish(record, response.map(Source::File)),
            Ok(Outcome::There(Answer::Upgraded(mut response, io))) => {
                record.answers(response.status());
                record.is_named_in(response.headers_mut());
                conn.tunnel.replace(Some(Tunnel::new(io, record)));
                return response.map(|()| Reply::untold());
            }
            Err(refusal) => {
                let response = page(&refusal, &mut record);
                finish(record, response.map(Source::Page))
            }
        };
        if version != Version::HTTP_2 && conn.worker.is_closing() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Who is to answer.
enum Way {
    /// We do.
    Here(Response<Bytes>),
    /// A directory does.
    File(Response<static_files::Body>),
    /// An upstream of this route.
    There(Rc<Matched>, Asked),
}

/// What a request comes to when nothing is wrong with it.
enum Outcome {
    /// An answer of our own.
    Here(Response<Bytes>),
    /// A file's.
    File(Response<static_files::Body>),
    /// The upstream's.
    There(Answer),
}

async fn decide(conn: &Rc<Conn>, record: &mut Record, head: &Parts) -> Result<Way, Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::NoForwardProxy);
    }
    let host = host_of(head)?;
    let mut matched = Matched::find(conn, &host);
    if let (None, Some(name)) = (&matched.route, matched.name())
        && let Some(route) = Box::pin(conn.worker.tables.ask(name)).await
    {
        matched = matched.with_route(conn, route);
    }
    record.is_for(&matched);
    let target = target_of(head)?;
    if let Some(token) = head.uri.path().strip_prefix(CHALLENGE_PATH)
        && let Some(answer) = Box::pin(challenge(conn, token, &matched)).await
    {
        return Ok(Way::Here(answer));
    }
    let Some(route) = &matched.route else {
        return Err(match conn.worker.tables.state().loaded {
            true => Refusal::UnknownHost(conn.worker.settings.unknown_host_status),
            false => Refusal::NotReady,
        });
    };
    if matched.misdirected {
        return Err(Refusal::Misdirected);
    }
    let by_https = came_by_https(conn, head);
    let scheme = if by_https { Scheme::Https } else { Scheme::Http };
    let Some(gates) = &route.gates else {
        if route.host.force_https && !by_https {
            return Ok(Way::Here(to_https(conn, &head.method, &target, &matched)));
        }
        let toward = Toward { scheme, group: None, known: false };
        return Ok(Way::There(matched, Asked { host, target, toward }));
    };
    match Box::pin(gates.pass(conn, record, &matched, head, &target, by_https)).await? {
        Next::Answer(answer) => Ok(Way::Here(answer)),
        Next::Directory(directory, target) => {
            let (method, headers) = (&head.method, &head.headers);
            let head = Head { method, path: target.path(), query: target.query(), headers };
            directory.serve(head).await.map(Way::File).map_err(Refusal::Unreadable)
        }
        Next::Upstreams { group, target, known } => {
            record.goes_among(&group.endpoints);
            let toward = Toward { scheme, group: Some(group), known };
            Ok(Way::There(matched, Asked { host, target, toward }))
        }
    }
}

/// The host a request is for, as the client wrote it: `:authority` or the one `Host` (RFC 9112 §3.2, RFC 9113 §8.3.1).
/// The guard has judged HTTP/1 already; this holds even without it.
fn host_of(head: &Parts) -> Result<HeaderValue, Refusal> {
    let mut fields = head.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Refusal::BadRequest("more than one Host"));
    }
    match (head.uri.authority(), field) {
        (Some(target), Some(field)) if field.as_bytes() != target.as_str().as_bytes() => {
            let same = field.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes());
            if same { Ok(field.clone()) } else { Err(Refusal::BadRequest("two hosts")) }
        }
        (_, Some(field)) => Ok(field.clone()),
        (Some(target), None) if head.version == Version::HTTP_2 => {
            HeaderValue::from_str(target.as_str()).map_err(|_| Refusal::BadRequest("a bad host"))
        }
        (_, None) if head.version == Version::HTTP_10 => Ok(HeaderValue::from_static("")),
        (_, None) => Err(Refusal::BadRequest("no Host")),
    }
}

/// What is asked of the host, in origin form (RFC 9112 §3.2.1): `http://a?x` asks for `/?x`, and only OPTIONS may ask
/// for `*`. HTTP/2 lets bytes through that an HTTP/1 request line can't hold.
fn target_of(head: &Parts) -> Result<PathAndQuery, Refusal> {
    let Some(target) = head.uri.path_and_query() else { return Ok(PathAndQuery::from_static("/")) };
    let text = target.as_str();
    let bad = || Refusal::BadRequest("a bad target");
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad());
    }
    match text.as_bytes().first() {
        Some(b'/') => Ok(target.clone()),
        Some(b'?') => PathAndQuery::try_from(format!("/{text}")).map_err(|_| bad()),
        _ if text == "*" && head.method == Method::OPTIONS => Ok(target.clone()),
        _ => Err(bad()),
    }
}

/// Whether the client's own connection was TLS: to us, or to a trusted proxy before us, which says so.
fn came_by_https(conn: &Conn, head: &Parts) -> bool {
    let told = || head.headers.get(X_FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
    conn.tls.is_some() || (conn.peer.is_trusted() && told())
}

/// The answer to a pending HTTP-01 challenge (RFC 8555 §8.3). Other tokens are the app's business.
async fn challenge(conn: &Conn, token: &str, matched: &Matched) -> Option<Response<Bytes>> {
    let now = conn.worker.time.date(conn.worker.time.coarse()).into();
    let answer = conn.worker.tables.challenge(matched.name()?, token, now).await?;
    let mut response = Response::new(Bytes::from(answer));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Some(response)
}

/// Sends a client to HTTPS; path and query go with it byte for byte.
fn to_https(
    conn: &Conn,
    method: &Method,
    target: &PathAndQuery,
    matched: &Matched,
) -> Response<Bytes> {
    let target = if target == "*" { "/" } else { target.as_str() };
    let host = matched.name().unwrap_or_default();
    let location = match conn.worker.https_port {
        443 => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = match *method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    // Made of a request's own parts: valid.
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn finish(mut record: Box<Record>, mut response: Response<Source>) -> Response<Reply> {
    record.answers(response.status());
    if response.status().as_u16() >= 400 {
        response = with_own_page(&record, response);
    }
    record.change_answer(response.headers_mut());
    if let Some(coding) = record.compression() {
        response = compressed(response, coding, record.is_head());
    }
    // The length is that of the page which GET would have got.
    if let (true, Source::Page(page)) = (record.is_head(), response.body()) {
        let length = HeaderValue::from(page.len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        *response.body_mut() = Source::Nothing;
    }
    response.map(|source| Reply::new(source, record))
}
