use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::{answer, written};
use crate::App;
use crate::error::Failure;
use crate::extract::{Caller, Parameters};
use crate::reader::Errors;
use crate::types::{StatusView, StoreAccepted, Written};

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
