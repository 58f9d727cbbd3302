//! What surrounds every answer: the request's id, a time limit, panics caught, problems written down, safe headers.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Failure;

/// How long a request may take. Longer than the longest `wait=applied`.
const TIME: Duration = Duration::from_secs(40);
/// The longest id that a client may choose.
const LONGEST_ID: usize = 64;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost layer.
pub(crate) async fn envelope(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = AssertUnwindSafe(tokio::time::timeout(TIME, next.run(request))).catch_unwind();
    let mut answer = match answer.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Failure::too_slow().into_response(),
        Err(_) => {
            tracing::error!(request_id = id, %method, path, "a request handler panicked");
            Failure::internal().into_response()
        }
    };
    if let Some(failure) = answer.extensions_mut().remove::<Failure>() {
        if answer.status().is_server_error() {
            let causes = failure.causes();
            tracing::warn!(request_id = id, %method, path, causes, "a request failed");
        }
        answer = failure.write(answer, &id);
    }
    tracing::debug!(request_id = id, %method, path, status = answer.status().as_u16(), "request");
    add_headers(answer.headers_mut(), &id);
    answer
}

fn add_headers(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The client's own id when it is short and plain, else a random one.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id) if (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(plain) => id.to_owned(),
        _ => {
            let mut random = [0; 12];
            // An id that is not unique is no reason to refuse a request.
            let _ = aws_lc_rs::rand::fill(&mut random);
            random.iter().map(|byte| format!("{byte:02x}")).collect()
        }
    }
}
