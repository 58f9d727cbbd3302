use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use serde_json::json;

use crate::world::Api;

#[tokio::test]
async fn there_is_nothing_elsewhere() {
    let api = Api::new().await;
    for path in ["/", "/api", "/api/", "/api/hosts", "/api/host/a/b", "/api/host/", "/favicon.ico"]
    {
        api.get(path).await.is(404, "unknown_route");
    }
    api.get("/api/host/%ff").await.is(400, "malformed");
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_names_those_it_does() {
    let api = Api::new().await;
    for (path, method, allowed) in [
        ("/api/host", Method::PUT, "GET,HEAD,POST"),
        ("/api/host/a.test", Method::POST, "DELETE,GET,HEAD,PATCH,PUT"),
        ("/api/auth/login", Method::GET, "POST"),
        ("/api/user/password", Method::POST, "PUT"),
        ("/api/status", Method::OPTIONS, "GET,HEAD"),
        ("/livez", Method::TRACE, "GET,HEAD"),
    ] {
        let request = api.request(method, path).body(Body::empty()).unwrap();
        let answer = api.send(request).await;
        answer.is(405, "method_not_allowed");
        let mut methods: Vec<_> = answer.header("allow").unwrap().split(',').collect();
        methods.sort_unstable();
        assert_eq!(methods.join(","), allowed, "{path}");
    }
}

#[tokio::test]
async fn a_request_has_its_own_id_or_the_clients_when_it_is_plain() {
    let api = Api::new().await;
    let ask = async |id: &str| {
        let request = Request::get("/livez").header("x-request-id", id.as_bytes());
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask("abc-1.2_3").await, "abc-1.2_3");
    for wrong in ["", "a b", "<script>", "é", &"x".repeat(65)] {
        let id = ask(wrong).await;
        assert_ne!(id, wrong);
        assert_eq!(id.len(), 24);
    }
    assert_ne!(ask("").await, ask("").await);
}

#[tokio::test]
async fn an_unreachable_store_is_503_and_tells_when_to_come_again() {
    let api = Api::new().await;
    assert_eq!(api.get("/readyz").await.status, 200);
    api.world.unplug(true);
    for answer in [
        api.get("/api/host").await,
        api.get("/api/user/me").await,
        api.post("/api/auth/login", r#"{"username":"a","password":"b"}"#).await,
        api.get("/api/ca").await,
    ] {
        answer.is(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(!answer.text.contains("unplugged"), "the cause is for the log");
    }
    api.get("/readyz").await.is(503, "unavailable");
    assert_eq!(api.get("/livez").await.status, 200);
    api.world.unplug(false);
    assert_eq!(api.get("/api/host").await.status, 200);
}

#[tokio::test]
async fn not_ready_when_the_process_is_not() {
    let api = Api::new().await;
    api.ready.store(false, Ordering::Relaxed);
    api.get("/readyz").await.is(503, "unavailable");
    assert_eq!(api.get("/livez").await.text, "ok\n");
}

#[tokio::test]
async fn metrics_need_no_login() {
    let mut api = Api::new().await;
    api.forget();
    let answer = api.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
    for line in [
        "gatewright_build_info",
        "gatewright_api_requests_total{method=\"POST\",code=\"2xx\"} 1",
        "gatewright_control_hosts 0",
        "gatewright_control_certificates{state=\"due\"} 0",
    ] {
        assert!(answer.text.contains(line), "{line} in {}", answer.text);
    }
}

#[tokio::test]
async fn the_root_of_the_local_authority_is_public_and_its_key_is_not() {
    let mut api = Api::new().await;
    api.forget();
    let answer = api.get("/api/ca").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/pem-certificate-chain"));
    assert!(answer.text.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(!answer.text.contains("PRIVATE KEY"));
    assert_eq!(api.get("/api/ca").await.text, answer.text);
}

#[tokio::test]
async fn status_shows_the_whole() {
    let api = Api::new().await;
    let revision = api.world.revision().await;
    api.world.report("edge-1", revision.clone()).await;
    api.post("/api/host", r#"{"host":"a.test"}"#).await;
    let status = api.get("/api/status").await.json();
    assert_eq!(status["store"]["reachable"], true);
    let proxy = &status["proxies"][0];
    assert_eq!((&proxy["instance"], &proxy["lag"]), (&json!("edge-1"), &json!(1)));
    assert_eq!(proxy["revision"], revision.to_string());
    assert_eq!(proxy["rejected"], json!([{ "key": "Host_odd.test", "reason": "odd" }]));
    assert_eq!(status["certificates"], 0);

    api.world.hand.advance(Duration::from_secs(10));
    assert_eq!(api.get("/api/status").await.json()["proxies"], json!([]));
}
