//! The REST API: translation between HTTP and [`control`], and nothing else.
//!
//! [`router`] is the whole of it, as a function to call; [`serve`] puts it on a socket; [`types`] are what requests and
//! answers look like, shared with the command line; [`openapi`] describes it all. Beside it stands [`LookupSocket`], for data
//! planes on the same machine.
//!
//! Every answer has a request id and safe headers, every error is a problem (RFC 9457) that names all that is wrong,
//! and `error.rs` is the only place that knows status codes.
//!
//! ```
//! use tower::ServiceExt;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let parts = api::Parts {
//!     control: control::test_util::World::new().control,
//!     metrics: telemetry::Metrics::new(),
//!     ready: std::sync::Arc::new(|| true),
//! };
//! let request = http::Request::get("/api/host").body(axum::body::Body::empty())?;
//! let answer = api::router(parts).oneshot(request).await?;
//! assert_eq!(answer.status(), 401);
//! assert_eq!(answer.headers()["content-type"], "application/problem+json");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod envelope;
mod error;
mod extract;
mod lookup;
mod openapi;
mod reader;
mod routes;
mod serve;
pub mod types;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::middleware::from_fn_with_state;
use control::Control;
use telemetry::Metrics;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use lookup::LookupSocket;
pub use serve::serve;

/// What the API stands on.
#[derive(Clone)]
pub struct Parts {
    /// The use cases.
    pub control: Control,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Whether the rest of the process wants requests: not draining, and in one process with a proxy that proxy's own
    /// readiness. `/readyz` also asks for the store.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The whole API. The program that serves it adds each peer's address as axum's `ConnectInfo<SocketAddr>`: login
/// attempts are counted by it.
pub fn router(parts: Parts) -> Router {
    let (router, description) = described().split_for_parts();
    let Parts { control, metrics, ready } = parts;
    control.measure(&metrics);
    let counts = envelope::Counts::new(&metrics);
    let app = App {
        control,
        metrics,
        ready,
        was_ready: Arc::default(),
        openapi: text(&completed(description)).into(),
    };
    router
        .fallback(async || error::Failure::unknown_route())
        .method_not_allowed_fallback(async || error::Failure::method_not_allowed())
        .layer(from_fn_with_state(counts, envelope::envelope))
        .with_state(app)
}

/// The description of the API, OpenAPI 3.1 in JSON, as `GET /api/openapi.json` answers it.
pub fn openapi() -> String {
    text(&completed(described().into_openapi()))
}

#[derive(Clone)]
struct App {
    control: Control,
    metrics: Metrics,
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// What the last probe was told: the log hears of changes only.
    was_ready: Arc<AtomicBool>,
    openapi: axum::body::Bytes,
}

fn described() -> OpenApiRouter<App> {
    use routes::{auth, backup, cert, dns, history, host, probe, system, user};
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(auth::login))
        .routes(routes!(auth::logout))
        .routes(routes!(user::me))
        .routes(routes!(user::change_password))
        .routes(routes!(user::list_users, user::create_user))
        .routes(routes!(user::show_user, user::change_user, user::delete_user))
        .routes(routes!(host::list_hosts, host::create_host))
        .routes(routes!(host::show_host, host::replace_host, host::change_host, host::delete_host))
        .routes(routes!(host::look_up))
        .routes(routes!(cert::renew_cert))
        .routes(routes!(cert::list_certs))
        .routes(routes!(cert::show_cert, cert::upload_cert, cert::delete_cert))
        .routes(routes!(cert::export_cert))
        .routes(routes!(dns::list_providers, dns::create_provider))
        .routes(routes!(dns::list_kinds))
        .routes(routes!(dns::list_domains))
        .routes(routes!(dns::show_provider, dns::replace_provider, dns::delete_provider))
        .routes(routes!(dns::refresh_provider))
        .routes(routes!(history::list_history))
        .routes(routes!(history::show_history))
        .routes(routes!(history::roll_back))
        .routes(routes!(backup::export))
        .routes(routes!(backup::import))
        .routes(routes!(system::status))
        .routes(routes!(system::explain))
        .routes(routes!(system::accept_store))
        .routes(routes!(system::local_root))
        .routes(routes!(system::openapi))
        .routes(routes!(probe::livez))
        .routes(routes!(probe::readyz))
        .routes(routes!(probe::metrics))
}

fn completed(mut description: OpenApi) -> OpenApi {
    openapi::complete(&mut description);
    description
}

fn text(description: &OpenApi) -> String {
    // Plain data: there is nothing in it that JSON can't say.
    let mut text = serde_json::to_string_pretty(description).unwrap_or_default();
    text.push('\n');
    text
}
