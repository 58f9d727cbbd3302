//! The handlers: each reads its request, calls one use case and writes the answer.

pub(crate) mod auth;
pub(crate) mod backup;
pub(crate) mod cert;
pub(crate) mod dns;
pub(crate) mod history;
pub(crate) mod host;
pub(crate) mod probe;
pub(crate) mod system;
pub(crate) mod user;

use axum::response::{IntoResponse, Response};
use control::Control;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderValue, StatusCode};
use model::Revision;
use serde::Serialize;

use crate::error::Failure;
use crate::extract::WriteParameters;
use crate::types::{Applied, Written};

/// An answer in JSON, with the record's entity tag when there is one.
fn answer(
    status: StatusCode,
    etag: Option<&str>,
    body: &impl Serialize,
) -> Result<Response, Failure> {
    let text = serde_json::to_vec(body).map_err(|_| Failure::internal())?;
    let mut answer = (status, text).into_response();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(tag) = etag.and_then(|tag| HeaderValue::try_from(format!("\"{tag}\"")).ok()) {
        headers.insert(ETAG, tag);
    }
    Ok(answer)
}

/// The answer to a write, once it runs everywhere if that was asked for.
async fn written<T>(
    control: &Control,
    revision: &Revision,
    parameters: WriteParameters,
    record: T,
) -> Result<Written<T>, Failure> {
    let applied = match parameters.wait.filter(|_| !parameters.dry_run) {
        Some(timeout) => Some(Applied::from(control.wait_applied(revision, timeout).await?)),
        None => None,
    };
    Ok(Written { record, applied })
}
