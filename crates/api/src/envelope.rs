//! What surrounds every answer: the request's id, a time limit, panics caught, problems written down, safe headers.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use telemetry::{CounterFamily, Metrics, method_label, status_label};

use crate::error::Failure;

/// How long a request may take. Longer than the longest `wait=applied`.
const TIME: Duration = Duration::from_secs(40);
/// How long a DNS provider may take over everything it is asked, with a pause before each repetition.
const PROVIDER_TIME: Duration = Duration::from_secs(80);
/// How long taking in a whole store may take.
const IMPORT_TIME: Duration = Duration::from_secs(3600);
/// The longest id that a client may choose.
const LONGEST_ID: usize = 64;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Counts the answers.
#[derive(Clone)]
pub(crate) struct Counts(CounterFamily<2>);

impl Counts {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let help = "Requests to the API answered.";
        Self(metrics.counter("gatewright_api_requests_total", help, ["method", "code"]))
    }
}

/// The outermost layer.
pub(crate) async fn envelope(
    State(counts): State<Counts>,
    request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let time = match &*path {
        "/api/import" => IMPORT_TIME,
        path if path.starts_with("/api/dns") => PROVIDER_TIME,
        _ => TIME,
    };
    let answer = AssertUnwindSafe(tokio::time::timeout(time, next.run(request))).catch_unwind();
    let mut answer = match answer.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Failure::too_slow().into_response(),
        Err(_) => {
            tracing::error!(request_id = id, %method, path, "a request handler panicked");
            Failure::internal().into_response()
        }
    };
    if let Some(failure) = answer.extensions_mut().remove::<Failure>() {
        if failure.is_remarkable() {
            let causes = failure.causes();
            tracing::warn!(request_id = id, %method, path, causes, "a request failed");
        }
        answer = failure.write(answer, &id);
    }
    let status = answer.status().as_u16();
    tracing::debug!(request_id = id, %method, path, status, "request");
    counts.0.shared([method_label(method.as_str()), status_label(status)]).inc();
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, metrics: &Metrics) -> (u16, serde_json::Value) {
        let router = Router::<()>::new()
            .route("/panic", get(async || -> &'static str { panic!("a mistake") }))
            .route("/sleep", get(async || std::future::pending::<&'static str>().await))
            .layer(from_fn_with_state(Counts::new(metrics), envelope));
        let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_and_a_stall_are_answers_too_and_are_counted() {
        let metrics = Metrics::new();
        let (status, problem) = ask("/panic", &metrics).await;
        assert_eq!((status, problem["code"].as_str()), (500, Some("internal")));
        assert!(!problem.to_string().contains("mistake"));
        let (status, problem) = ask("/sleep", &metrics).await;
        assert_eq!((status, problem["code"].as_str()), (503, Some("timeout")));
        let line = r#"gatewright_api_requests_total{method="GET",code="5xx"} 2"#;
        assert!(metrics.render().contains(line));
    }
}
