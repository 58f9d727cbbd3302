use axum::body::Body;
use control::{Attempt, AttemptFailure, Issuance, Window};
use http::Method;
use model::{Secret, Timestamp};
use serde_json::{Value, json};

use crate::world::Api;

/// What the world's clock says at the beginning, in milliseconds.
const NOW: u64 = 1_790_000_000_000;

/// A host of the local authority; its certificate and key.
async fn local(api: &Api, name: &str) -> (String, String) {
    api.post("/api/host", &json!({ "host": name }).to_string()).await;
    let renewed = api.post(&format!("/api/host/{name}/renew"), "").await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    assert!(!renewed.text.contains("PRIVATE KEY"));
    let exported = api.get(&format!("/api/cert/{name}/export")).await.json();
    assert_eq!(exported["name"], name);
    let text = |member: &str| exported[member].as_str().unwrap().to_owned();
    (text("chain"), text("key"))
}

async fn upload(api: &Api, path: &str, chain: &str, key: &str) -> crate::world::Answer {
    api.put(path, &json!({ "chain": chain, "key": key }).to_string()).await
}

#[tokio::test]
async fn a_certificate_is_shown_whole_and_without_its_key() {
    let api = Api::new().await;
    let (chain, _) = local(&api, "a.test").await;
    let shown = api.get("/api/cert/A.test.").await;
    let json = shown.json();
    let etag = format!("\"{}\"", json["etag"].as_str().unwrap());
    assert_eq!(shown.header("etag"), Some(etag.as_str()));
    assert_eq!((&json["name"], &json["status"]), (&json!("a.test"), &json!("valid")));
    assert_eq!((&json["source"], &json["names"]), (&json!("local"), &json!(["a.test"])));
    assert_eq!((&json["key_kind"], &json["chain"]), (&json!("ECDSA P-256"), &json!(chain)));
    assert_eq!((&json["issuance"], &json["attempts"]), (&Value::Null, &json!([])));
    assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
    for member in ["issuer", "serial", "not_before", "not_after", "renew_at", "revision"] {
        assert!(!json[member].as_str().unwrap().is_empty(), "{member}");
    }
    assert!(!shown.text.contains("PRIVATE KEY"));

    local(&api, "b.test").await;
    let page = api.get("/api/cert?limit=1").await;
    assert_eq!(page.json()["next"], "a.test");
    assert!(page.json()["results"][0].get("chain").is_none() && !page.text.contains("PRIVATE"));
    let page = api.get("/api/cert?after=a.test").await.json();
    assert_eq!((&page["results"][0]["name"], &page["next"]), (&json!("b.test"), &Value::Null));
    api.get("/api/cert/none.test").await.is(404, "not_found");
    assert_eq!(api.get("/api/cert/a%20b?x=1").await.pointers(), ["?x", "{name}"]);
}

#[tokio::test]
async fn one_of_ones_own_is_uploaded_replaced_and_deleted() {
    let api = Api::new().await;
    let (chain, key) = local(&api, "a.test").await;
    let (other, _) = local(&api, "b.test").await;
    assert_eq!(api.delete("/api/cert/a.test?wait=applied").await.json()["applied"], true);
    let path = "/api/cert/a.test";
    api.get(path).await.is(404, "not_found");

    let tried = upload(&api, "/api/cert/a.test?dry_run=true", &chain, &key).await;
    assert_eq!((tried.status.as_u16(), tried.header("etag")), (200, None));
    assert_eq!((&tried.json()["source"], tried.json().get("etag")), (&json!("custom"), None));
    api.get(path).await.is(404, "not_found");

    let made = upload(&api, "/api/cert/a.test?wait=applied", &chain, &key).await;
    assert_eq!((made.status.as_u16(), &made.json()["applied"]), (201, &json!(true)));
    assert_eq!((&made.json()["renew_at"], &made.json()["status"]), (&Value::Null, &json!("valid")));
    assert!(!made.text.contains("PRIVATE KEY"));
    assert_eq!(upload(&api, path, &chain, &key).await.status, 200);

    // The chain of another name and key: each fault is named.
    let wrong = upload(&api, path, &other, &key).await;
    assert_eq!(wrong.pointers(), ["/chain", "/key"]);
    assert!(wrong.text.contains("covers b.test, but not a.test"), "{}", wrong.text);

    let body = json!({ "chain": chain, "key": key }).to_string();
    for method in [Method::PUT, Method::DELETE] {
        let request = api.request(method, path).header("if-match", "\"old\"");
        let request = request.header("content-type", "application/json");
        api.send(request.body(Body::from(body.clone())).unwrap()).await.is(412, "stale");
    }
    api.post("/api/host/a.test/renew", "").await;
    api.patch("/api/host/a.test", r#"{"certificate":"custom"}"#).await;
    api.post("/api/host/a.test/renew", "").await.is(409, "refused");
    assert_eq!(api.delete(path).await.json()["deleted"], "a.test");
    api.delete(path).await.is(404, "not_found");
}

#[tokio::test]
async fn every_wrong_value_of_an_upload_is_named() {
    let api = Api::new().await;
    let long = "a".repeat(300_000);
    for (body, places) in [
        (json!([]), &[""][..]),
        (json!({}), &["/chain", "/key"]),
        (json!({ "chain": 1, "key": null, "pkcs12": "" }), &["/chain", "/key", "/pkcs12"]),
        (json!({ "chain": "", "key": "canary" }), &["/chain", "/key"]),
        (json!({ "chain": long, "key": long }), &["/chain", "/key"]),
    ] {
        let answer = api.put("/api/cert/a.test", &body.to_string()).await;
        assert_eq!(answer.pointers(), places);
        assert!(!answer.text.contains("canary"));
    }
    let answer = api.put("/api/cert/a%20b?wait=no", "{}").await;
    assert_eq!(answer.pointers(), ["?wait", "{name}", "/chain", "/key"]);
    api.post("/api/cert/a.test", "{}").await.is(405, "method_not_allowed");
}

#[tokio::test]
async fn a_key_is_for_administrators() {
    let mut api = Api::new().await;
    let (chain, key) = local(&api, "a.test").await;
    for (name, role) in [("ann", "viewer"), ("max", "manager")] {
        let body = json!({ "username": name, "role": role, "password": crate::world::PASSWORD });
        assert_eq!(api.post("/api/user", &body.to_string()).await.status, 201);
    }
    api.log_in("max").await;
    api.get("/api/cert/a.test/export").await.is(403, "forbidden");
    assert_eq!(upload(&api, "/api/cert/a.test", &chain, &key).await.status, 200);
    api.log_in("ann").await;
    assert_eq!(api.get("/api/cert/a.test").await.status, 200);
    api.get("/api/cert/a.test/export").await.is(403, "forbidden");
    upload(&api, "/api/cert/a.test", &chain, &key).await.is(403, "forbidden");
    api.delete("/api/cert/a.test").await.is(403, "forbidden");
    api.post("/api/host/a.test/renew", "").await.is(403, "forbidden");
    api.forget();
    api.get("/api/cert/a.test/export").await.is(401, "unauthorised");
}

#[tokio::test]
async fn a_renewal_elsewhere_is_begun_and_its_failures_are_facts() {
    let api = Api::new().await;
    api.post("/api/host", r#"{"host":"a.example","certificate":"acme"}"#).await;
    let begun = api.post("/api/host/a.example/renew?wait=applied", "").await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let json = begun.json();
    assert_eq!((&json["status"], &json["chain"]), (&json!("pending"), &Value::Null));
    assert_eq!(json["issuance"]["requested_at"], "2026-09-21T14:13:20Z");

    let at = |millis| Timestamp::from_millis(NOW + millis);
    let problem = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}"#;
    let failure = AttemptFailure {
        stage: "order".to_owned(),
        code: "rateLimited".to_owned(),
        detail: "the authority limits orders for a.example".to_owned(),
        problem: Some(problem.to_owned()),
    };
    let attempt = Attempt {
        at: at(0),
        took_ms: 12,
        holder: "api-1".to_owned(),
        directory: Some("https://ca.example/directory".to_owned()),
        failure: Some(failure),
    };
    let mut issuance = Issuance::new("a.example".parse().unwrap());
    issuance.failures = 2;
    issuance.retry_at = Some(at(60_000));
    issuance.order = Some("an order".to_owned());
    issuance.order_key = Some(Secret::new("canary".to_owned()));
    issuance.window = Some(Window { start: Some(at(1_000)), end: None, ask_at: at(2_000) });
    issuance.remember(attempt);
    api.world.keep(&issuance).await;

    let shown = api.get("/api/cert/a.example").await;
    assert!(!shown.text.contains("canary") && !shown.text.contains("an order"));
    let json = shown.json();
    assert_eq!((&json["status"], &json["issuance"]["failures"]), (&json!("failed"), &json!(2)));
    let window = &json["issuance"]["window"];
    assert_eq!((&window["start"], &window["end"]), (&json!("2026-09-21T14:13:21Z"), &Value::Null));
    let attempt = &json["attempts"][0];
    assert_eq!((&attempt["took_ms"], &attempt["holder"]), (&json!(12), &json!("api-1")));
    assert_eq!(attempt["failure"]["problem"]["detail"], "too many");
    assert_eq!(json["issuance"]["failure"], attempt["failure"]);

    let status = api.get("/api/status").await.json();
    assert_eq!(status["certificates_failing"], 1);
    let failing = &status["failing"][0];
    assert_eq!((&failing["name"], &failing["code"]), (&json!("a.example"), &json!("rateLimited")));
    assert!(failing["action"].as_str().unwrap().contains("by hand"), "{failing}");
    let limited = api.post("/api/host/a.example/renew", "").await;
    limited.is(429, "rate_limited");
    assert_eq!(limited.header("retry-after"), Some("60"));

    api.post("/api/host", r#"{"host":"*.b.test"}"#).await;
    api.post("/api/host/*.b.test/renew", "").await.is(409, "refused");
    api.post("/api/host/none.test/renew", "").await.is(404, "not_found");
    let answer = api.post("/api/host/a%20b/renew?dry_run=true", "").await;
    assert_eq!(answer.pointers(), ["?dry_run", "{pattern}"]);
}
