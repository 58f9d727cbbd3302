//! The only map from errors to status codes.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use control::Error;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::types::{FieldError, Problem};

/// An error on its way out. The outermost layer adds the request's id and writes it down (RFC 9457).
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    /// For the log only.
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
    /// Whether the log need not hear of each.
    expected: bool,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            status,
            code,
            detail,
            errors: Vec::new(),
            retry_after: None,
            cause: None,
            expected: false,
        }
    }

    /// The answer of a probe, which comes again every few seconds.
    pub(crate) fn not_ready() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { expected: true, ..Self::new(status, "unavailable", "not ready") }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(crate) fn unknown_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_route", "there is nothing at this path")
    }

    pub(crate) fn method_not_allowed() -> Self {
        let detail = "this path does not take this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    pub(crate) fn too_large() -> Self {
        let detail = "the body is larger than 1 MiB";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let detail = "the body must be application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    pub(crate) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time")
    }

    pub(crate) fn too_slow() -> Self {
        let detail = "the request took too long; what it asked for may still happen";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", detail)
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error")
    }

    /// Whether an operator must hear of it.
    pub(crate) fn is_remarkable(&self) -> bool {
        self.status.is_server_error() && !self.expected
    }

    /// What only an operator may read: the causes, outermost first.
    pub(crate) fn causes(&self) -> Option<String> {
        let mut next = self.cause.as_ref().and_then(|error| error.source());
        let mut texts = Vec::new();
        while let Some(cause) = next {
            texts.push(cause.to_string());
            next = cause.source();
        }
        (!texts.is_empty()).then(|| texts.join(": "))
    }

    /// Writes the error down as an answer to the request of this id. Headers of `answer` stay.
    pub(crate) fn write(&self, mut answer: Response, request_id: &str) -> Response {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code.to_owned(),
            errors: self.errors.clone(),
            request_id: request_id.to_owned(),
        };
        // The type has no map with keys other than text and no fallible serialiser.
        let text = serde_json::to_vec(&problem).unwrap_or_default();
        *answer.status_mut() = self.status;
        *answer.body_mut() = text.into();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, wait.as_secs().max(1).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gatewright\""));
        }
        answer
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut answer = self.status.into_response();
        answer.extensions_mut().insert(self);
        answer
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Error::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Error::Exists(_) => (StatusCode::CONFLICT, "exists"),
            Error::Stale(_) => (StatusCode::PRECONDITION_FAILED, "stale"),
            Error::Superseded { .. } => (StatusCode::CONFLICT, "superseded"),
            Error::Unreadable(..) => (StatusCode::CONFLICT, "unreadable"),
            Error::Refused(_) => (StatusCode::CONFLICT, "refused"),
            Error::Unauthorised => (StatusCode::UNAUTHORIZED, "unauthorised"),
            Error::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Error::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Error::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Error::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Error::Upstream(_) => (StatusCode::BAD_GATEWAY, "upstream"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let mut failure = Self::new(status, code, error.to_string());
        failure.retry_after = error.retry_after();
        if let Error::Invalid { errors } = &error {
            failure.errors = errors.iter().cloned().map(FieldError::from).collect();
        }
        failure.cause = Some(Arc::new(error));
        failure
    }
}
