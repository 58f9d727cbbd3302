//! The admin listener: health, metrics, and what the table holds. Read-only, for this machine or a private network.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::{Shutdown, Tasks, Workers};
use telemetry::Metrics;
use tokio::net::TcpStream;

use crate::explain::Explainer;
use crate::{Error, Surroundings, Tables};

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// What readiness depends on besides the tables: in one process with the control plane, that one's readiness.
pub type AlsoReady = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// What the admin listener shows.
#[derive(Clone)]
struct Admin {
    tables: Arc<Tables>,
    metrics: Metrics,
    shutdown: Shutdown,
    also_ready: Option<AlsoReady>,
    explainer: Explainer,
}

/// Starts the admin listener, if there is one, on a thread of its own: a busy proxy still answers. It ends with `over`.
pub(crate) fn start(
    socket: Option<TcpListener>,
    tables: &Arc<Tables>,
    around: &Surroundings,
    also_ready: Option<AlsoReady>,
    explainer: Explainer,
    shutdown: &Shutdown,
    over: &Shutdown,
) -> Result<Option<Workers>, Error> {
    let Some(socket) = socket else { return Ok(None) };
    let (tables, metrics) = (tables.clone(), around.metrics.clone());
    let admin = Admin { tables, metrics, shutdown: shutdown.clone(), also_ready, explainer };
    let (socket, over) = (Arc::new(socket), over.clone());
    let started = Workers::spawn(1, "proxy-admin", move |_| {
        let (admin, socket, over) = (admin.clone(), socket.clone(), over.clone());
        async move {
            match socket.try_clone().and_then(tokio::net::TcpListener::from_std) {
                Ok(listener) => tokio::select! {
                    () = accept(&listener, &admin) => {}
                    () = over.draining() => {}
                },
                Err(error) => tracing::error!(%error, "the admin listener can't be used"),
            }
        }
    });
    started.map(Some).map_err(Error::Worker)
}

async fn accept(listener: &tokio::net::TcpListener, admin: &Admin) {
    let tasks = Tasks::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => tasks.spawn_local("admin connection", serve(stream, admin.clone())),
            Err(error) => {
                tracing::warn!(%error, "can't accept admin connections");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, admin: Admin) {
    let service = service_fn(async |request| Ok::<_, Infallible>(admin.answer(&request).await));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "admin connection ended");
    }
}

impl Admin {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready().await,
            "/metrics" => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                reply(StatusCode::OK, kind, self.metrics.render())
            }
            "/debug/table" => self.table(),
            "/debug/explain" => self.explain(request.uri().query().unwrap_or_default()),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    async fn ready(&self) -> Response<Full<Bytes>> {
        if self.shutdown.is_draining() {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else if !self.tables.state().loaded {
            text(StatusCode::SERVICE_UNAVAILABLE, "no table yet\n")
        } else if let Some(also_ready) = &self.also_ready
            && !also_ready().await
        {
            text(StatusCode::SERVICE_UNAVAILABLE, "the control plane is not ready\n")
        } else {
            text(StatusCode::OK, "ok\n")
        }
    }

    fn table(&self) -> Response<Full<Bytes>> {
        let state = self.tables.state();
        let revision = state.revision.as_ref();
        let guard = state.guard.as_ref().map(|guard| {
            serde_json::json!({
                "reason": guard.reason,
                "detail": guard.detail,
                "seen": guard.seen.to_string(),
                "since": guard.since.to_string(),
            })
        });
        let table = serde_json::json!({
            "epoch": revision.map(|revision| revision.epoch.as_str()),
            "n": revision.map(|revision| revision.n),
            "hosts": self.tables.hosts(),
            "certs": self.tables.certs().len(),
            "digest": self.tables.digest().to_string(),
            "loaded": state.loaded,
            "stale": state.stale,
            "guard": guard,
        });
        json(&table)
    }

    fn explain(&self, query: &str) -> Response<Full<Bytes>> {
        match self.explainer.explain(&self.tables, query) {
            Ok(told) => json(&told),
            Err(wrong) => text(StatusCode::BAD_REQUEST, wrong),
        }
    }
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut body = String::new();
    let _ = writeln!(body, "{value}");
    reply(StatusCode::OK, "application/json", body)
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", body.to_owned())
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
