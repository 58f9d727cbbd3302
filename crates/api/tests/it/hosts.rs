use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::json;

use crate::world::Api;

#[tokio::test]
async fn a_host_is_made_with_its_defaults() {
    let api = Api::new().await;
    let body = r#"{"host":"App.Localhost.","upstreams":["127.0.0.1:9000","[::1]:80","app:80"]}"#;
    let answer = api.post("/api/host", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert_eq!(answer.header("location"), Some("/api/host/app.localhost"));
    let mut json = answer.json();
    let etag = json["etag"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("etag"), Some(format!("\"{etag}\"").as_str()));
    json.as_object_mut().unwrap().remove("revision");
    assert_eq!(
        json,
        json!({
            "host": "app.localhost",
            "upstreams": ["127.0.0.1:9000", "[::1]:80", "app:80"],
            "upstream_tls": "off",
            "preserve_host": true,
            "force_https": true,
            "certificate": "auto",
            "enabled": true,
            "etag": etag,
            "created_by": "admin",
            "created_at": "2026-09-21T14:13:20Z",
            "updated_at": "2026-09-21T14:13:20Z",
            "certificate_status": "pending",
        })
    );
    let seen = api.get("/api/host/app.localhost").await;
    assert_eq!(seen.header("etag"), answer.header("etag"));
    api.post("/api/host", body).await.is(409, "exists");
}

#[tokio::test]
async fn names_in_paths_are_decoded() {
    let api = Api::new().await;
    for (name, path) in [
        ("*.x.test", "/api/host/*.x.test"),
        ("**", "/api/host/%2A%2A"),
        ("a.*.test", "/api/host/a.%2a.test"),
        ("[::1]", "/api/host/%5B%3A%3A1%5D"),
        ("xn--bcher-kva.test", "/api/host/b%C3%BCcher.test"),
        ("lookup", "/api/host/lookup"),
        ("_x.test", "/api/host/_X.test."),
    ] {
        let answer = api.post("/api/host", &json!({ "host": name }).to_string()).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text);
        let location = answer.header("location").unwrap().to_owned();
        for path in [path, &location] {
            let seen = api.get(path).await;
            assert_eq!(seen.status, 200, "{path}");
            assert_eq!(seen.json()["host"], name, "{path}");
        }
        assert_eq!(api.delete(path).await.status, 200, "{path}");
        api.get(path).await.is(404, "not_found");
    }
}

#[tokio::test]
async fn put_replaces_and_patch_changes() {
    let api = Api::new().await;
    let path = "/api/host/a.test";
    api.post("/api/host", r#"{"host":"a.test","upstreams":["a:1"],"force_https":false}"#).await;
    let patched = api.patch(path, r#"{"preserve_host":false,"upstreams":["b:2"]}"#).await.json();
    assert_eq!((&patched["upstreams"], &patched["force_https"]), (&json!(["b:2"]), &json!(false)));
    assert_eq!(patched["preserve_host"], false);

    let back = api.patch(path, r#"{"host":"A.test","force_https":null,"upstreams":null}"#).await;
    assert_eq!(back.json()["force_https"], true);
    assert_eq!(back.json()["upstreams"], json!([]));
    assert_eq!(back.json()["preserve_host"], false);

    let put = api.put(path, r#"{"upstreams":["c:3"],"certificate":null}"#).await.json();
    assert_eq!(put["preserve_host"], true, "what a PUT leaves out has its default");
    assert_eq!(put["created_by"], "admin");

    let request = api.request(Method::PATCH, path);
    let request = request.header("content-type", "application/merge-patch+json");
    let answer = api.send(request.body(Body::from(r#"{"enabled":false}"#)).unwrap()).await;
    assert_eq!(answer.json()["enabled"], false);

    for answer in [
        api.put("/api/host/none.test", "{}").await,
        api.patch("/api/host/none.test", "{}").await,
        api.delete("/api/host/none.test").await,
    ] {
        answer.is(404, "not_found");
        assert_eq!(answer.json()["detail"], "host \"none.test\" does not exist");
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let api = Api::new().await;
    assert_eq!(api.get("/api/host").await.json(), json!({ "results": [], "next": null }));
    for name in ["c.test", "a.test", "b.test"] {
        api.post("/api/host", &json!({ "host": name }).to_string()).await;
    }
    let page = api.get("/api/host?limit=2").await.json();
    assert_eq!(page["results"][0]["host"], "a.test");
    assert_eq!(page["results"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    let page = api.get(&format!("/api/host?limit=2&after={next}")).await.json();
    assert_eq!(page["results"][0]["host"], "c.test");
    assert_eq!(page["next"], json!(null));
}

#[tokio::test]
async fn lookup_explains_itself() {
    let api = Api::new().await;
    for name in ["*.x.test", "**.test", "lookup"] {
        api.post("/api/host", &json!({ "host": name }).to_string()).await;
    }
    let found = api.get("/api/host/lookup/A.x.test.:8443").await.json();
    assert_eq!(found["name"], "a.x.test");
    assert_eq!(found["match"], "*.x.test");
    assert_eq!(found["candidates"][0]["pattern"], "*.x.test");
    assert_eq!(found["candidates"][1]["pattern"], "**.test");
    assert!(found["candidates"][1]["why"].as_str().unwrap().contains("label"));
    let none = api.get("/api/host/lookup/example.com").await.json();
    assert_eq!(none, json!({ "name": "example.com", "match": null, "candidates": [] }));
    assert_eq!(api.get("/api/host/lookup").await.json()["host"], "lookup");
    for wrong in ["*.x.test", "a%20b", "a..b", "%2f"] {
        let answer = api.get(&format!("/api/host/lookup/{wrong}")).await;
        assert_eq!(answer.pointers(), ["{name}"], "{wrong}");
    }
}

#[tokio::test]
async fn roles_hold() {
    let mut api = Api::new().await;
    api.post("/api/host", r#"{"host":"a.test"}"#).await;
    let ann = r#"{"username":"ann","role":"viewer","password":"correct horse"}"#;
    assert_eq!(api.post("/api/user", ann).await.status, 201);
    api.log_in("ann").await;
    for path in ["/api/host", "/api/host/a.test", "/api/host/lookup/a.test", "/api/status"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
    api.post("/api/host", r#"{"host":"b.test"}"#).await.is(403, "forbidden");
    api.put("/api/host/a.test", "{}").await.is(403, "forbidden");
    api.patch("/api/host/a.test", "{}").await.is(403, "forbidden");
    api.delete("/api/host/a.test").await.is(403, "forbidden");
    api.get("/api/user").await.is(403, "forbidden");
}
