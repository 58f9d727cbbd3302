use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use super::{answer, written};
use crate::App;
use crate::error::Failure;
use crate::extract::{Caller, Parameters};
use crate::reader::Errors;
use crate::types::{ExplainAnswer, StatusView, StoreAccepted, Written};

/// How the whole stands: the store, the proxies, background tasks, certificates due.
#[utoipa::path(get, path = "/api/status", tag = "system", operation_id = "status",
    responses((status = 200, body = StatusView, description = "How the whole stands.")))]
pub(crate) async fn status(
    State(app): State<App>,
    Caller(actor): Caller,
) -> Result<Response, Failure> {
    let status = app.control.status(&actor).await?;
    answer(StatusCode::OK, None, &StatusView::from(status))
}

/// What would become of a request, and why, gate by gate. Limits and passwords live in the proxies: here nobody has asked before,
/// and no password was checked.
#[utoipa::path(get, path = "/api/explain", tag = "system", operation_id = "explain",
    params(crate::openapi::ExplainQuery),
    responses((status = 200, body = ExplainAnswer, description = "What would become of it.")))]
pub(crate) async fn explain(
    State(app): State<App>,
    Caller(actor): Caller,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let method = parameters.text("method", &mut errors).unwrap_or_else(|| "GET".to_owned());
    let method = method.parse().map_err(|_| errors.add("?method", "must be a method")).ok();
    let url = parameters.text("url", &mut errors);
    let url = url.and_then(|url| url.parse::<Uri>().ok()).filter(|url| url.authority().is_some());
    if url.is_none() {
        errors.add("?url", "must be a URL with a host: https://app.example.com/path");
    }
    let client = parameters.text("client", &mut errors).unwrap_or_else(|| "127.0.0.1".to_owned());
    let client = client.parse().map_err(|_| errors.add("?client", "must be an IP address")).ok();
    let mut headers = HeaderMap::new();
    for line in parameters.texts("header") {
        let read = line.split_once(':').and_then(|(name, value)| {
            let name = name.trim().parse::<HeaderName>().ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        match read {
            Some((name, value)) => drop(headers.append(name, value)),
            None => errors.add("?header", "must be name:value"),
        }
    }
    parameters.none(&mut errors);
    let asked = method.zip(url).zip(client).map(|((method, url), client)| control::Imagined {
        method,
        url,
        client,
        headers,
    });
    let asked = errors.check(asked)?;
    let explained = app.control.explain(&actor, &asked).await?;
    answer(StatusCode::OK, None, &ExplainAnswer::from(explained))
}

/// Has proxies whose guard is up believe the store as it is now. For administrators.
#[utoipa::path(post, path = "/api/store/accept", tag = "system", operation_id = "accept_store",
    params(crate::openapi::WaitQuery),
    responses((status = 200, body = Written<StoreAccepted>, description = "It is accepted.")))]
pub(crate) async fn accept_store(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.wait(&mut errors);
    errors.check(Some(()))?;
    let accepted = app.control.accept_store(&actor).await?;
    let revision = accepted.revision.clone();
    let body = written(&app.control, &revision, asked, StoreAccepted::from(accepted)).await?;
    answer(StatusCode::OK, None, &body)
}

/// The root certificate of the local authority, for clients to trust. It is public: no login is needed.
#[utoipa::path(get, path = "/api/ca", tag = "system", operation_id = "local_root", security(()),
    responses((status = 200, body = String, content_type = "application/pem-certificate-chain",
        description = "The certificate, PEM.")))]
pub(crate) async fn local_root(State(app): State<App>) -> Result<Response, Failure> {
    let pem = app.control.ca_root_pem().await?;
    let kind = HeaderValue::from_static("application/pem-certificate-chain");
    Ok(([(CONTENT_TYPE, kind)], pem).into_response())
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "system", operation_id = "openapi", security(()),
    responses((status = 200, content_type = "application/json", description = "OpenAPI 3.1.")))]
pub(crate) async fn openapi(State(app): State<App>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], app.openapi).into_response()
}
