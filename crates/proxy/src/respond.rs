//! The pages for what goes wrong: the only place that turns an error into a status.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
    RETRY_AFTER, TRAILER, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Response, StatusCode};
use policy::Answer;
use upstream::BoxError;

use crate::body::Source;
use crate::record::Record;
use runtime::with_causes;

/// Why a request is not answered by the app.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The gateway has no table yet.
    NotReady,
    /// No pattern matches; the status is a setting.
    UnknownHost(StatusCode),
    /// The connection's certificate does not cover the host (RFC 9110 §15.5.20).
    Misdirected,
    /// The request contradicts itself.
    BadRequest(&'static str),
    /// It asks for a tunnel to another host.
    NoForwardProxy,
    /// The client sends its body too slowly.
    SlowBody,
    /// The client's body can't be read to its end.
    BrokenBody(BoxError),
    /// The host has no upstream.
    NoUpstream,
    /// The host's rules keep the request out.
    Denied(Answer),
    /// Another program guards the host in a way that is not known here: by this field of its record.
    ForeignGate(&'static str),
    /// What is to be served can't be: why, for the log.
    NoDirectory(String),
    /// The body is larger than the host takes.
    TooLarge,
    /// More is to be checked than can be done soon.
    Busy,
    /// A file can't be read.
    Unreadable(static_files::Error),
    /// The upstream can't be reached or makes no sense.
    BadGateway(upstream::Error),
    /// The upstream is where none may be.
    OutOfReach(upstream::Error),
    /// The upstream takes too long.
    TimedOut(upstream::Error),
    /// This upstream kept failing and is not asked, for so many seconds.
    BreakerOpen(upstream::Endpoint, u64),
    /// The upstreams have as many requests as they may: what became of this one, for the log.
    Crowded(&'static str),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotReady
            | Self::NoUpstream
            | Self::NoDirectory(_)
            | Self::Busy
            | Self::BreakerOpen(..)
            | Self::Crowded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Denied(answer) => answer.status(),
            Self::ForeignGate(_) => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UnknownHost(status) => *status,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::BadRequest(_) | Self::BrokenBody(_) => StatusCode::BAD_REQUEST,
            Self::NoForwardProxy => StatusCode::NOT_IMPLEMENTED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::BadGateway(_) | Self::OutOfReach(_) => StatusCode::BAD_GATEWAY,
            Self::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What the client is told. Nothing of what is behind the gateway.
    fn explanation(&self) -> (&'static str, &'static str) {
        match self {
            Self::NotReady => ("Starting", "This gateway does not know its hosts yet."),
            Self::UnknownHost(_) => ("Unknown host", "No site of this name is served here."),
            Self::Misdirected => {
                ("Misdirected request", "This connection was made for another site.")
            }
            Self::BadRequest(_) => ("Bad request", "The request contradicts itself."),
            Self::NoForwardProxy => ("Not implemented", "This is not a forward proxy."),
            Self::BrokenBody(_) => ("Bad request", "The request's body can't be read."),
            Self::SlowBody => ("Request timeout", "The request came too slowly."),
            Self::NoUpstream => ("Unavailable", "Nothing serves this site at the moment."),
            Self::Denied(Answer::Forbidden) => ("Forbidden", "You are not let in here."),
            Self::Denied(Answer::TooMany(_)) => ("Too many requests", "Try again later."),
            Self::Denied(Answer::Maintenance(_)) => {
                ("Maintenance", "This site is being worked on. Please come back later.")
            }
            Self::Denied(Answer::Unauthorized(_)) => {
                ("Unauthorized", "This site asks for a name and a password.")
            }
            Self::Denied(_) => ("Bad request", "The path can be read in several ways."),
            Self::ForeignGate(_) => {
                ("Forbidden", "This site is guarded in a way that is not known here.")
            }
            Self::NoDirectory(_) => {
                ("Unavailable", "The files of this site can't be served at the moment.")
            }
            Self::TooLarge => ("Payload too large", "The request is larger than this site takes."),
            Self::Busy => ("Unavailable", "Too much is going on at the moment."),
            Self::Unreadable(_) => ("Internal server error", "A file can't be read."),
            Self::BadGateway(_) => ("Bad gateway", "The app behind this site does not answer."),
            Self::OutOfReach(_) => (
                "Bad gateway",
                "The app behind this site is where this gateway sends nothing. Its operator can allow that with the setting \
                 ALLOW_UPSTREAMS.",
            ),
            Self::TimedOut(_) => {
                ("Gateway timeout", "The app behind this site took too long to answer.")
            }
            Self::BreakerOpen(..) => {
                ("Unavailable", "The app behind this site has failed and is given a rest.")
            }
            Self::Crowded(_) => {
                ("Unavailable", "This site has more to do than it can at the moment.")
            }
        }
    }

    /// What the log is told.
    fn cause(&self) -> String {
        match self {
            Self::BadGateway(error) | Self::TimedOut(error) | Self::OutOfReach(error) => {
                with_causes(error)
            }
            Self::BrokenBody(error) => with_causes(&**error),
            Self::BadRequest(why) => format!("bad request: {why}"),
            Self::ForeignGate(field) => {
                format!("{field} guards this host, which is not known here")
            }
            Self::NoDirectory(why) => why.clone(),
            Self::BreakerOpen(endpoint, seconds) => {
                format!("the breaker of {endpoint} is open for {seconds} s more")
            }
            Self::Crowded(why) => format!("the upstreams have as many requests as they may: {why}"),
            Self::Unreadable(error) => with_causes(error),
            _ => self.explanation().0.to_lowercase(),
        }
    }
}

/// The page for a refusal: HTML for those who read it, else text. Names the request, so that its line in the access
/// log can be found.
pub(crate) fn page(refusal: &Refusal, record: &mut Record) -> Response<Bytes> {
    record.fails(refusal.cause());
    let (status, (title, text)) = (refusal.status(), refusal.explanation());
    let (code, id) = (status.as_u16(), record.id());
    let (kind, body) = match record.wants_html() {
        true => {
            let ours = || html(code, title, text, id);
            ("text/html; charset=utf-8", record.own_page(status).unwrap_or_else(ours))
        }
        false => ("text/plain; charset=utf-8", format!("{code} {title}\n{text}\nRequest {id}\n")),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match refusal {
        Refusal::Denied(Answer::TooMany(seconds)) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        Refusal::Denied(Answer::Maintenance(seconds)) => {
            seconds.map(|seconds| headers.insert(RETRY_AFTER, HeaderValue::from(seconds)));
        }
        Refusal::Denied(Answer::Unauthorized(challenge)) => {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        Refusal::BreakerOpen(_, seconds) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        Refusal::Crowded(_) => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ if status == StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        _ => {}
    }
    response
}

/// The operator's page in place of an answer that is an error: of a directory, which has no page of its own, and of the app
/// if the host wants that and there are no data in it. What else the head says stays.
pub(crate) fn with_own_page(record: &Record, mut response: Response<Source>) -> Response<Source> {
    let replaces = match response.body() {
        Source::File(_) => true,
        Source::Upstream(_) => record.intercepts() && is_dull(response.headers()),
        _ => false,
    };
    if !replaces || !record.wants_html() {
        return response;
    }
    let Some(page) = record.own_page(response.status()) else { return response };
    let headers = response.headers_mut();
    OF_THE_BODY.iter().for_each(|name| drop(headers.remove(name)));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.map(|_| Source::Page(page.into()))
}

/// What a head says of a body that goes.
const OF_THE_BODY: [HeaderName; 9] = [
    ACCEPT_RANGES,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ETAG,
    LAST_MODIFIED,
    TRAILER,
];

/// Whether an app's error is a page or nothing, rather than data.
fn is_dull(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["text/html", "text/plain"].iter().any(|dull| kind.eq_ignore_ascii_case(dull))
}

fn html(code: u16, title: &str, text: &str, id: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>{code} {title}</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}}\
         small{{color:#777}}</style>\
         <h1>{code} {title}</h1><p>{text}</p><p><small>Request {id}</small></p></html>\n"
    )
}
