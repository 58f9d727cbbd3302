use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::answer;
use crate::App;
use crate::error::Failure;
use crate::extract::Caller;
use crate::types::StatusView;

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
