//! What handlers take from a request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request};
use control::{Actor, Conditions};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::App;
use crate::error::Failure;
use crate::reader::Errors;

/// The largest body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);
const AUTH_TOKEN: HeaderName = HeaderName::from_static("auth-token");

/// Who is asking, proved by a token.
pub(crate) struct Caller(pub(crate) Actor);

impl FromRequestParts<App> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let token = token(&parts.headers).ok_or(control::Error::Unauthorised)?;
        Ok(Self(app.control.authenticate(token).await?))
    }
}

/// The one token that a request has. Two that differ are none: nobody could say whose the request is.
fn token(headers: &HeaderMap) -> Option<&str> {
    let bearers = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let mut all =
        bearers.chain(headers.get_all(AUTH_TOKEN).iter().map(|value| value.to_str().ok()));
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

/// A JSON body, not yet looked into.
pub(crate) struct Json(pub(crate) Value);

impl FromRequest<App> for Json {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &App) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(Failure::unsupported_media_type());
        }
        let announced =
            parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > MAX_BODY) {
            return Err(Failure::too_large());
        }
        let bytes = tokio::time::timeout(BODY_TIME, read(body)).await;
        let bytes = bytes.map_err(|_| Failure::body_too_slow())??;
        let value = serde_json::from_slice(&bytes);
        Ok(Self(
            value.map_err(|error| Failure::malformed(format!("the body is not JSON: {error}")))?,
        ))
    }
}

async fn read(body: Body) -> Result<axum::body::Bytes, Failure> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::too_large()),
        Err(_) => Err(Failure::malformed("the body did not arrive whole")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| {
        ["application/json", "application/merge-patch+json"]
            .iter()
            .any(|known| essence.eq_ignore_ascii_case(known))
    })
}

/// A part of the path, decoded.
pub(crate) struct Segment(pub(crate) String);

impl FromRequestParts<App> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        path.map(|Path(text)| Self(text)).map_err(|_| Failure::malformed("the path is not UTF-8"))
    }
}

/// The conditions in the headers of a write.
pub(crate) struct IfMatch(Option<String>);

impl FromRequestParts<App> for IfMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let mut tags = Vec::new();
        for value in parts.headers.get_all(IF_MATCH) {
            let text = value.to_str().map_err(|_| Failure::malformed("If-Match is not ASCII"))?;
            tags.push(text);
        }
        Ok(Self((!tags.is_empty()).then(|| tags.join(", "))))
    }
}

impl IfMatch {
    /// For a write that can't be tried out.
    pub(crate) fn alone(self) -> Conditions {
        Conditions { if_match: self.0, dry_run: false }
    }

    pub(crate) fn and(self, parameters: &WriteParameters) -> Conditions {
        Conditions { if_match: self.0, dry_run: parameters.dry_run }
    }
}

/// The address a request came from: the peer's, since nobody in between is trusted.
pub(crate) struct Peer(pub(crate) IpAddr);

impl FromRequestParts<App> for Peer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        Ok(Self(peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}

/// The query's parameters. What nobody asks for is an error.
pub(crate) struct Parameters(Vec<(String, String)>);

impl FromRequestParts<App> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let query = Query::from_request_parts(parts, app).await;
        query
            .map(|Query(pairs)| Self(pairs))
            .map_err(|_| Failure::malformed("the query is malformed"))
    }
}

/// What any write may be asked to do besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WriteParameters {
    pub(crate) dry_run: bool,
    /// How long to wait until the change runs everywhere.
    pub(crate) wait: Option<Duration>,
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListParameters {
    pub(crate) limit: usize,
    pub(crate) after: Option<String>,
}

/// How long `wait=applied` waits when it is not said, and at most.
const WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a page is when it is not said, and at most.
const LIMIT: usize = 100;
const LONGEST_LIMIT: usize = 500;

impl Parameters {
    pub(crate) fn write(mut self, errors: &mut Errors) -> WriteParameters {
        let dry_run = self.flag("dry_run", errors);
        WriteParameters { dry_run, ..self.wait(errors) }
    }

    /// For a write that can't be tried out.
    pub(crate) fn wait(mut self, errors: &mut Errors) -> WriteParameters {
        let wait = match self.take("wait", errors).as_deref() {
            None => false,
            Some("applied") => true,
            Some(_) => {
                errors.add("?wait", "must be applied");
                false
            }
        };
        let timeout = match self.take("timeout", errors) {
            None => WAIT,
            Some(text) => duration(&text).unwrap_or_else(|| {
                errors.add("?timeout", "must be a number of s or ms, as in 5s");
                WAIT
            }),
        };
        self.end(errors);
        WriteParameters { dry_run: false, wait: wait.then(|| timeout.min(LONGEST_WAIT)) }
    }

    pub(crate) fn list(mut self, errors: &mut Errors) -> ListParameters {
        let limit = match self.take("limit", errors) {
            None => LIMIT,
            Some(text) => match text.parse() {
                Ok(limit) if (1..=LONGEST_LIMIT).contains(&limit) => limit,
                _ => {
                    errors.add("?limit", "must be a number from 1 to 500");
                    LIMIT
                }
            },
        };
        let after = self.text("after", errors);
        self.end(errors);
        ListParameters { limit, after }
    }

    /// `true` or `false`, which it is when absent.
    pub(crate) fn flag(&mut self, name: &str, errors: &mut Errors) -> bool {
        match self.take(name, errors).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                errors.add(format!("?{name}"), "must be true or false");
                false
            }
        }
    }

    /// A text that may be absent, or empty as forms send what was not filled in.
    pub(crate) fn text(&mut self, name: &str, errors: &mut Errors) -> Option<String> {
        self.take(name, errors).filter(|text| !text.is_empty())
    }

    /// Every text of this name.
    pub(crate) fn texts(&mut self, name: &str) -> Vec<String> {
        let (taken, left) =
            std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// No parameters at all.
    pub(crate) fn none(self, errors: &mut Errors) {
        self.end(errors);
    }

    fn take(&mut self, name: &str, errors: &mut Errors) -> Option<String> {
        let mut found = None;
        self.0.retain_mut(|(key, value)| {
            if key != name {
                return true;
            }
            if found.replace(std::mem::take(value)).is_some() {
                errors.add(format!("?{name}"), "is given twice");
            }
            false
        });
        found
    }

    fn end(self, errors: &mut Errors) {
        for (name, _) in self.0 {
            errors.add(format!("?{name}"), "is not a parameter of this");
        }
    }
}

/// `5s` or `250ms`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}
