use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::Parts;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use telemetry::Metrics;
use tower::ServiceExt;

/// The API over a control plane of its own.
pub(crate) struct Api {
    pub(crate) world: control::test_util::World,
    pub(crate) ready: Arc<AtomicBool>,
    router: Router,
    token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

pub(crate) const PASSWORD: &str = "correct horse";

impl Api {
    /// Without an account.
    pub(crate) fn empty() -> Self {
        let world = control::test_util::World::new();
        let ready = Arc::new(AtomicBool::new(true));
        let also = ready.clone();
        let metrics = Metrics::new();
        metrics.process_info();
        let router = api::router(Parts {
            control: world.control.clone(),
            metrics,
            ready: Arc::new(move || also.load(Ordering::Relaxed)),
        });
        Self { world, ready, router, token: None }
    }

    /// With the administrator `admin`, who is asking.
    pub(crate) async fn new() -> Self {
        let mut api = Self::empty();
        let password = Some(model::Secret::new(PASSWORD.to_owned()));
        api.world.control.bootstrap(&"admin".parse().unwrap(), password).await.unwrap();
        api.log_in("admin").await;
        api
    }

    /// From now on this account asks.
    pub(crate) async fn log_in(&mut self, name: &str) {
        let body = serde_json::json!({ "username": name, "password": PASSWORD });
        let answer = self.post("/api/auth/login", &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        self.token = Some(answer.json()["token"].as_str().unwrap().to_owned());
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    /// From now on nobody asks.
    pub(crate) fn forget(&mut self) {
        self.token = None;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.with_body(Method::POST, path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.with_body(Method::PUT, path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &str) -> Answer {
        self.with_body(Method::PATCH, path, body).await
    }

    pub(crate) async fn with_body(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = self.request(method, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// A request of whoever is asking, to be completed.
    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(path);
        match &self.token {
            Some(token) => request.header("auth-token", token),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let answer = Answer { status: parts.status, headers: parts.headers, text };
        answer.check_what_always_holds();
        answer
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("a JSON body")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A problem of this status and code.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code().as_str()), (status, code), "{}", self.text);
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The places that a 422 names, in order.
    #[track_caller]
    pub(crate) fn pointers(&self) -> Vec<String> {
        self.is(422, "invalid");
        let json = self.json();
        let errors = json["errors"].as_array().expect("errors");
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }

    /// Of every answer: it has an id, safe headers, and each error is a problem.
    fn check_what_always_holds(&self) {
        let id = self.header("x-request-id").expect("an id");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert!(self.headers.contains_key("content-security-policy"));
        if self.status.is_client_error() || self.status.is_server_error() {
            assert_eq!(self.header("content-type"), Some("application/problem+json"));
            let json = self.json();
            assert_eq!(json["status"], self.status.as_u16());
            assert_eq!(json["type"], "about:blank");
            assert_eq!(json["request_id"], id);
            for member in ["title", "detail", "code"] {
                assert!(!json[member].as_str().unwrap().is_empty(), "{member}: {}", self.text);
            }
            assert_eq!(self.status == 401, self.headers.contains_key("www-authenticate"));
        }
    }
}
