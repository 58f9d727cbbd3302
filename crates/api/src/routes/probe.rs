use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::App;
use crate::error::Failure;

/// Whether the process runs.
#[utoipa::path(get, path = "/livez", tag = "probe", operation_id = "livez", security(()),
    responses((status = 200, body = String, content_type = "text/plain", description = "It does.")))]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether requests should be sent here.
#[utoipa::path(get, path = "/readyz", tag = "probe", operation_id = "readyz", security(()),
    responses((status = 200, body = String, content_type = "text/plain", description = "They should.")))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, Failure> {
    let ready = (app.ready)() && app.control.ready().await;
    match (app.was_ready.swap(ready, Ordering::Relaxed), ready) {
        (false, true) => tracing::info!("ready"),
        (true, false) => tracing::warn!("not ready any more"),
        _ => {}
    }
    if ready { Ok("ok\n") } else { Err(Failure::not_ready()) }
}

/// Figures in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "probe", operation_id = "metrics", security(()),
    responses((status = 200, body = String, content_type = "text/plain", description = "The figures.")))]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, kind)], app.metrics.render()).into_response()
}
