//! Bad input to the API: every error is named at once, and nothing is half-written.

use http::{Method, header};
use serde_json::{Value, json};
use testkit::{Answer, Api, System, shared};

/// A host of which everything is wrong is refused with every field named, and leaves no trace.
#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_is_named_and_nothing_is_written() {
    let _turn = shared().await;
    let system = System::builder().proxies(0).start().await;
    let before = system.redis.command(&["DUMP", "proxy_Host"]).await;
    let revision = system.api.get("/api/status").await.expect(200)["store"].clone();

    let bad = json!({
        "host": "not a host",
        "upstreams": ["http://127.0.0.1:80", "127.0.0.1:0", "127.0.0.1:9000"],
        "upstream_tls": "maybe",
        "certificate": "gold",
        "force_https": "yes",
        "no_such_field": 1,
    });
    let answer = system.api.post("/api/host", &bad).await;

    let pointers = problem(&answer, 422);
    for wanted in [
        "/host",
        "/upstreams/0",
        "/upstreams/1",
        "/upstream_tls",
        "/certificate",
        "/force_https",
        "/no_such_field",
    ] {
        assert!(pointers.iter().any(|it| it == wanted), "{wanted} is not among {pointers:?}");
    }
    assert!(!pointers.iter().any(|it| it == "/upstreams/2"), "what is right is not complained of");
    assert_eq!(system.redis.command(&["DUMP", "proxy_Host"]).await, before);
    assert_eq!(system.api.get("/api/status").await.expect(200)["store"], revision);
    assert_eq!(system.api.get("/api/host").await.expect(200)["results"], json!([]));
}

/// A bad replacement or change leaves the host as it was, ETag included.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_change_leaves_the_record_as_it_was() {
    let _turn = shared().await;
    let system = System::builder().proxies(0).start().await;
    let host = json!({ "host": "a.localhost", "upstreams": ["127.0.0.1:9000"] });
    system.api.create(&host).await;
    let before = system.api.get("/api/host/a.localhost").await;
    let etag = before.headers[header::ETAG].clone();

    for (method, body, pointer) in [
        (Method::PUT, json!({ "host": "a.localhost", "upstreams": "127.0.0.1:1" }), "/upstreams"),
        (Method::PATCH, json!({ "upstreams": ["nonsense"] }), "/upstreams/0"),
        (Method::PATCH, json!({ "enabled": 3 }), "/enabled"),
    ] {
        let answer =
            system.api.call(method.clone(), "/api/host/a.localhost", Some(&body), &[]).await;
        let pointers = problem(&answer, 422);
        assert!(pointers.iter().any(|it| it == pointer), "{method}: {pointer} not in {pointers:?}");
    }
    let after = system.api.get("/api/host/a.localhost").await;
    assert_eq!(after.headers[header::ETAG], etag);
    let (after, before) = (after.json(), before.json());
    for field in ["upstreams", "enabled", "updated_at"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}

/// Writes that expect what is not so are refused: exists already, is not there, has changed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn writes_on_wrong_expectations_are_refused() {
    let _turn = shared().await;
    let system = System::builder().proxies(0).start().await;
    let host = json!({ "host": "a.localhost", "upstreams": ["127.0.0.1:9000"] });
    system.api.create(&host).await;

    problem(&system.api.post("/api/host", &host).await, 409);
    problem(&system.api.get("/api/host/b.localhost").await, 404);
    problem(&system.api.delete("/api/host/b.localhost").await, 404);
    let stale = [("if-match", "\"0000\"")];
    let path = "/api/host/a.localhost";
    problem(&system.api.call(Method::PUT, path, Some(&host), &stale).await, 412);
    problem(&system.api.call(Method::DELETE, path, None, &stale).await, 412);

    let etag = system.api.get(path).await.headers[header::ETAG].clone();
    let fresh = [("if-match", etag.to_str().unwrap())];
    system.api.call(Method::PUT, path, Some(&host), &fresh).await.expect(200);
}

/// `dry_run` says what would be wrong and writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing() {
    let _turn = shared().await;
    let system = System::builder().proxies(0).start().await;
    let host = json!({ "host": "a.localhost", "upstreams": ["127.0.0.1:9000"] });
    let answer = system.api.post("/api/host?dry_run=true", &host).await;
    assert!(answer.status.is_success(), "{}", answer.status);
    assert_eq!(system.api.get("/api/host/a.localhost").await.status, 404);
    problem(&system.api.post("/api/host?dry_run=true", &json!({ "host": "-" })).await, 422);
}

/// Bytes that are no JSON, another media type, a path that is none, a method that is none: each a problem document.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_document() {
    let _turn = shared().await;
    let system = System::builder().proxies(0).start().await;
    let anonymous = Api::new(system.api_addr);
    problem(&anonymous.get("/api/host").await, 401);
    problem(&anonymous.post("/api/host", &json!({ "host": "x.localhost" })).await, 401);
    let wrong = json!({ "username": "admin", "password": "wrong" });
    problem(&anonymous.post("/api/auth/login", &wrong).await, 401);
    problem(&system.api.get("/api/no/such/path").await, 404);
    problem(&system.api.post("/api/host", &json!("text")).await, 422);
    problem(&system.api.get("/api/host?limit=0").await, 422);
    problem(&system.api.get("/api/host?limit=501").await, 422);
}

/// Guessing passwords is slowed: the sixth try within a minute is told when to come back, right password or not.
#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_login_in_a_minute_is_told_to_wait() {
    let _turn = shared().await;
    let system = System::builder().proxies(0).start().await;
    let anonymous = Api::new(system.api_addr);
    let wrong = json!({ "username": "somebody", "password": "guess" });
    for _ in 0..5 {
        problem(&anonymous.post("/api/auth/login", &wrong).await, 401);
    }
    let answer = anonymous.post("/api/auth/login", &wrong).await;
    problem(&answer, 429);
    let wait: u64 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

/// After a logout the token is worth nothing, and what the store holds never was the token.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_dies_with_the_logout() {
    let _turn = shared().await;
    let system = System::builder().proxies(0).start().await;
    assert_eq!(system.api.get("/api/user/me").await.expect(200)["username"], "admin");
    let out = system.api.post("/api/auth/logout", &json!({})).await;
    assert!(out.status.is_success(), "{}", out.status);
    problem(&system.api.get("/api/user/me").await, 401);
}

/// Checks that an answer is an RFC 9457 problem of this status, and gives the pointers of its errors.
#[track_caller]
fn problem(answer: &Answer, status: u16) -> Vec<String> {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{text}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{text}");
    for member in ["type", "title", "code", "request_id"] {
        assert!(problem[member].is_string(), "{member} in {text}");
    }
    let errors = problem["errors"].as_array().into_iter().flatten();
    errors.map(|it: &Value| it["pointer"].as_str().unwrap_or_default().to_owned()).collect()
}
