use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use crate::world::Api;

#[tokio::test]
async fn the_history_is_listed_shown_and_taken_back() {
    let api = Api::new().await;
    api.post("/api/host", r#"{"host":"a.test","upstreams":["127.0.0.1:1"]}"#).await;
    api.patch("/api/host/a.test", r#"{"upstreams":["127.0.0.1:2"]}"#).await;
    api.post("/api/host", r#"{"host":"b.test"}"#).await;

    let first = api.get("/api/history?limit=1").await.json();
    assert_eq!((&first["results"][0]["id"], &first["next"]), (&json!("b.test"), &json!("4")));
    let page = api.get("/api/history?host=A.test&limit=1&after=4").await.json();
    assert_eq!((&page["results"][0]["number"], &page["next"]), (&json!(3), &json!("3")));
    let page = api.get("/api/history?collection=User&id=admin").await.json();
    assert_eq!((&page["results"][0]["verb"], &page["next"]), (&json!("create"), &Value::Null));
    assert!(page["results"][0].get("by").is_none());

    let shown = api.get("/api/history/3").await;
    assert_eq!(shown.header("etag").unwrap(), format!("{}", shown.json()["etag"]));
    let changes = &shown.json()["changes"];
    let upstreams = changes.as_array().unwrap().iter().find(|it| it["pointer"] == "/upstreams");
    let expected = json!({
        "pointer": "/upstreams", "before": ["127.0.0.1:1"], "after": ["127.0.0.1:2"],
    });
    assert_eq!(upstreams.unwrap(), &expected);

    let tried = api.post("/api/history/3/rollback?dry_run=true", "").await;
    assert_eq!((tried.status.as_u16(), tried.header("etag")), (200, None));
    let back = api.post("/api/history/3/rollback?wait=applied", "").await;
    assert_eq!((&back.json()["verb"], &back.json()["applied"]), (&json!("update"), &json!(true)));
    let now = api.get("/api/host/a.test").await;
    assert_eq!(now.json()["upstreams"], json!(["127.0.0.1:1"]));
    assert_eq!(now.header("etag"), back.header("etag"));

    api.post("/api/history/3/rollback", "").await.is(409, "superseded");
    api.post("/api/history/5/rollback?force=true", "").await;
    let request = api.request(Method::POST, "/api/history/3/rollback").header("if-match", "\"x\"");
    api.send(request.body(Body::empty()).unwrap()).await.is(412, "stale");
    api.get("/api/history/99").await.is(404, "not_found");
    api.post("/api/history/99/rollback", "").await.is(404, "not_found");
}

#[tokio::test]
async fn wrong_questions_are_named() {
    let api = Api::new().await;
    for (path, pointers) in [
        ("/api/history?after=x&host=-", &["?host", "?after"][..]),
        ("/api/history?collection=AuthToken", &["?collection"]),
        ("/api/history?id=x", &["?id"]),
        ("/api/history?host=a.test&collection=Host", &["?host"]),
        ("/api/history/x", &["{n}"]),
        ("/api/history/1?x=1", &["?x"]),
        ("/api/export?secrets=all", &["?secrets"]),
    ] {
        assert_eq!(api.get(path).await.pointers(), pointers, "{path}");
    }
    assert_eq!(api.post("/api/import", "").await.pointers(), ["?mode"]);
    assert_eq!(api.post("/api/history/1/rollback?force=1", "").await.pointers(), ["?force"]);
}

#[tokio::test]
async fn an_export_is_imported() {
    let mut api = Api::new().await;
    api.post("/api/host", r#"{"host":"a.test","upstreams":["127.0.0.1:1"]}"#).await;
    let file = api.get("/api/export").await;
    assert_eq!(file.header("content-type"), Some("application/x-ndjson"));
    api.delete("/api/host/a.test").await;
    api.post("/api/host", r#"{"host":"b.test"}"#).await;

    let tried = api.post("/api/import?mode=replace&dry_run=true", &file.text).await.json();
    assert_eq!(tried["changes"].as_array().unwrap().len(), 2, "{tried}");
    let done = api.post("/api/import?mode=replace&wait=applied", &file.text).await.json();
    assert_eq!((&done["changes"], &done["applied"]), (&tried["changes"], &json!(true)));
    let host = &done["counts"]["Host"];
    assert_eq!((&host["created"], &host["deleted"]), (&json!(1), &json!(1)));
    assert_eq!(api.get("/api/host/a.test").await.status, 200);
    api.get("/api/host/b.test").await.is(404, "not_found");
    assert_eq!(api.post("/api/import?mode=merge", "nonsense").await.pointers(), ["line 1"]);

    let viewer = json!({ "username": "ann", "role": "viewer", "password": crate::world::PASSWORD });
    api.post("/api/user", &viewer.to_string()).await;
    api.log_in("ann").await;
    api.get("/api/export").await.is(403, "forbidden");
    api.post("/api/import?mode=merge", &file.text).await.is(403, "forbidden");
}

/// Sixteen writers with the same tag: one of them wins, the others are told.
#[tokio::test]
async fn of_writers_with_the_same_tag_one_wins() {
    let api = Api::new().await;
    let mut etag = {
        let made = api.post("/api/host", r#"{"host":"a.test"}"#).await;
        made.header("etag").unwrap().to_owned()
    };
    for round in 0..10 {
        let writes = (0..16).map(|writer| {
            let body = json!({ "upstreams": [format!("127.0.0.1:{}", 1 + round * 16 + writer)] });
            let request = api.request(Method::PUT, "/api/host/a.test");
            let request = request.header("content-type", "application/json");
            let request = request.header("if-match", &etag);
            api.send(request.body(Body::from(body.to_string())).unwrap())
        });
        let answers = futures_util::future::join_all(writes).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 15));
        lost.iter().for_each(|answer| answer.is(412, "stale"));
        let now = api.get("/api/host/a.test").await;
        assert_eq!(now.json()["upstreams"], won[0].json()["upstreams"]);
        etag = now.header("etag").unwrap().to_owned();
    }
}

/// Every write of a single record takes a condition, and every record has a strong tag.
#[tokio::test]
async fn every_write_takes_a_condition() {
    let api = Api::new().await;
    let ann = json!({ "username": "ann", "role": "viewer", "password": crate::world::PASSWORD });
    api.post("/api/user", &ann.to_string()).await;
    api.post("/api/host", r#"{"host":"a.test"}"#).await;
    for path in ["/api/host/a.test", "/api/user/ann", "/api/user/me", "/api/history/1"] {
        let tag = api.get(path).await.header("etag").unwrap().to_owned();
        assert!(tag.starts_with('"') && tag.len() == 66, "{path}: {tag}");
    }
    let password = json!({ "current_password": crate::world::PASSWORD, "password": "other horse" });
    let password = password.to_string();
    for (method, path, body) in [
        (Method::PUT, "/api/host/a.test", "{}"),
        (Method::PATCH, "/api/host/a.test", "{}"),
        (Method::DELETE, "/api/host/a.test", ""),
        (Method::PATCH, "/api/user/ann", "{}"),
        (Method::DELETE, "/api/user/ann", ""),
        (Method::PUT, "/api/user/password", &password),
        (Method::POST, "/api/history/3/rollback?force=true", ""),
    ] {
        let request = api.request(method.clone(), path).header("if-match", "\"stale\"");
        let request = request.header("content-type", "application/json");
        api.send(request.body(Body::from(body.to_owned())).unwrap()).await.is(412, "stale");
        let document: Value = serde_json::from_str(&api::openapi()).unwrap();
        let path = path.split('?').next().unwrap();
        let path = path.replace("a.test", "{pattern}").replace("user/ann", "user/{name}");
        let path = path.replace("history/3", "history/{n}");
        let operation = &document["paths"][&path][method.as_str().to_lowercase()];
        assert!(operation["parameters"].to_string().contains("If-Match"), "{method} {path}");
    }
    let tag = api.get("/api/user/me").await.header("etag").unwrap().to_owned();
    let request = api.request(Method::PUT, "/api/user/password").header("if-match", &tag);
    let request = request.header("content-type", "application/json");
    let answer = api.send(request.body(Body::from(password)).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("etag"), api.get("/api/user/me").await.header("etag"));
}
