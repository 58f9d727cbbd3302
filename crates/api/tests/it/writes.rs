//! What every write may be asked besides: conditions, trying out, waiting.

use std::time::Duration;

use axum::body::Body;
use http::Method;
use serde_json::json;

use crate::world::{Answer, Api};

async fn if_match(api: &Api, method: Method, tags: &[&str]) -> Answer {
    let mut request = api.request(method, "/api/host/a.test");
    for tag in tags {
        request = request.header("if-match", *tag);
    }
    let request = request.header("content-type", "application/json");
    api.send(request.body(Body::from("{}")).unwrap()).await
}

#[tokio::test]
async fn a_stale_tag_is_412() {
    let api = Api::new().await;
    let made = api.post("/api/host", r#"{"host":"a.test"}"#).await;
    let old = made.header("etag").unwrap().to_owned();
    api.world.hand.advance(Duration::from_secs(1));
    let now = if_match(&api, Method::PATCH, &[&old]).await;
    assert_eq!(now.status, 200);
    let tag = now.header("etag").unwrap();
    assert_ne!(tag, old);
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let weak = format!("W/{tag}");
        for tags in [&[old.as_str()][..], &[&weak], &["\"x\", \"y\""], &["x"], &[""]] {
            if_match(&api, method.clone(), tags).await.is(412, "stale");
        }
    }
    assert_eq!(if_match(&api, Method::PUT, &["\"x\"", tag]).await.status, 200);
    assert_eq!(if_match(&api, Method::DELETE, &["*"]).await.status, 200);
    if_match(&api, Method::DELETE, &["*"]).await.is(404, "not_found");
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let api = Api::new().await;
    let answer = api.post("/api/host?dry_run=true&wait=applied", r#"{"host":"a.test"}"#).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("etag").is_none() && answer.header("location").is_none());
    assert!(answer.json().get("etag").is_none() && answer.json().get("applied").is_none());
    api.get("/api/host/a.test").await.is(404, "not_found");

    api.post("/api/host?dry_run=false", r#"{"host":"a.test"}"#).await;
    let before = api.world.revision().await;
    api.post("/api/host?dry_run=true", r#"{"host":"a.test"}"#).await.is(409, "exists");
    assert_eq!(api.put("/api/host/a.test?dry_run=true", "{}").await.status, 200);
    let tried = api.patch("/api/host/a.test?dry_run=true", r#"{"enabled":false}"#).await;
    assert_eq!(tried.json()["enabled"], false);
    assert_eq!(api.delete("/api/host/a.test?dry_run=true").await.status, 200);
    let twice = r#"{"upstreams":["a:1","a:1"]}"#;
    assert_eq!(api.put("/api/host/a.test?dry_run=true", twice).await.pointers(), ["/upstreams/1"]);
    assert_eq!(api.world.revision().await, before);
}

#[tokio::test]
async fn without_a_proxy_a_change_is_applied_at_once() {
    let api = Api::new().await;
    let made = api.post("/api/host?wait=applied", r#"{"host":"a.test"}"#).await;
    assert_eq!(made.status, 201);
    for answer in [
        made,
        api.put("/api/host/a.test?wait=applied", "{}").await,
        api.patch("/api/host/a.test?wait=applied&timeout=250ms", "{}").await,
        api.delete("/api/host/a.test?wait=applied").await,
    ] {
        let json = answer.json();
        assert_eq!((&json["applied"], &json["proxies"]), (&json!(true), &json!(0)));
        assert_eq!(json["laggards"], json!([]));
    }
    let plain = api.post("/api/host", r#"{"host":"a.test"}"#).await;
    assert!(plain.json().get("applied").is_none());
}

#[tokio::test]
async fn a_late_proxy_is_named_and_the_status_is_the_writes_own() {
    let api = Api::new().await;
    api.world.report("edge-1", api.world.revision().await).await;
    let write = api.post("/api/host?wait=applied&timeout=2s", r#"{"host":"a.test"}"#);
    let time = async { api.world.hand.advance(Duration::from_secs(2)) };
    let (answer, ()) = tokio::join!(write, time);
    assert_eq!(answer.status, 201);
    let json = answer.json();
    assert_eq!((&json["applied"], &json["laggards"]), (&json!(false), &json!(["edge-1"])));
    assert_eq!(json["host"], "a.test");

    let revision = api.world.revision().await;
    let write = api.delete("/api/host/a.test?wait=applied");
    let proxy = async {
        tokio::task::yield_now().await;
        let n = revision.n + 1;
        api.world.report("edge-1", model::Revision { n, ..revision.clone() }).await;
        api.world.hand.advance(Duration::from_millis(4));
    };
    let (answer, ()) = tokio::join!(write, proxy);
    let json = answer.json();
    assert_eq!((&json["applied"], &json["proxies"]), (&json!(true), &json!(1)));
    assert_eq!(json["deleted"], "a.test");
}
