//! DNS providers: a scripted one stands in for Cloudflare, on a socket of its own.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::world::Api;

const TOKEN: &str = "canary-token";

/// Answers every request for zones of whoever has the token; ends when dropped.
struct Provider {
    endpoint: String,
    _serving: JoinSet<()>,
}

impl Provider {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let _ = stream.write_all(answer(&head).as_bytes()).await;
            }
        });
        Self { endpoint, _serving: serving }
    }

    fn spec(&self) -> Value {
        json!({
            "kind": "cloudflare",
            "settings": { "endpoint": self.endpoint },
            "credentials": { "api_token": TOKEN },
        })
    }
}

fn answer(head: &str) -> String {
    let (status, more, body) = if head.contains("slow-down") {
        let errors = json!([{ "code": 10_100, "message": "More than 1200 requests" }]);
        (
            "429 Too Many Requests",
            "retry-after: 70\r\n",
            json!({ "success": false, "errors": errors }),
        )
    } else if head.contains(TOKEN) {
        let zones = json!([
            { "id": "z1", "name": "example.com" },
            { "id": "z2", "name": "example.org" },
        ]);
        let info = json!({ "total_pages": 1 });
        (
            "200 OK",
            "",
            json!({ "success": true, "errors": [], "result": zones, "result_info": info }),
        )
    } else {
        let errors = json!([{ "code": 10_000, "message": "Authentication error" }]);
        ("403 Forbidden", "", json!({ "success": false, "errors": errors }))
    };
    let (body, close) = (body.to_string(), "connection: close");
    format!("HTTP/1.1 {status}\r\n{more}{close}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn the_kinds_say_what_they_need() {
    let api = Api::new().await;
    let kinds = api.get("/api/dns/kinds").await.json();
    let kinds = kinds["results"].as_array().unwrap();
    let cloudflare = kinds.iter().find(|kind| kind["id"] == "cloudflare").unwrap();
    let token = &cloudflare["fields"][0];
    assert_eq!((&token["name"], &token["secret"]), (&json!("api_token"), &json!(true)));
    assert!(!token["help"].as_str().unwrap().is_empty());
    api.put("/api/dns/kinds", "{}").await.is(405, "method_not_allowed");
    api.delete("/api/dns/domain").await.is(405, "method_not_allowed");
}

#[tokio::test]
async fn a_provider_lives_and_dies_and_never_shows_its_credentials() {
    let api = Api::new().await;
    let provider = Provider::new().await;
    let mut spec = provider.spec();
    spec["nameservers"] = json!(["127.0.0.1:5353", "192.0.2.1", "[::1]:53"]);
    let tried = api.post("/api/dns?dry_run=true", &spec.to_string()).await;
    assert_eq!((tried.status.as_u16(), tried.header("etag")), (200, None), "{}", tried.text);
    assert_eq!(api.get("/api/dns").await.json(), json!({ "results": [], "next": null }));

    let made = api.post("/api/dns?wait=applied", &spec.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.header("location"), Some("/api/dns/cloudflare"));
    let json = made.json();
    assert_eq!((&json["id"], &json["applied"]), (&json!("cloudflare"), &json!(true)));
    assert_eq!(json["settings"], json!({ "endpoint": provider.endpoint }));
    assert_eq!(json["credentials_set"], json!(["api_token"]));
    assert_eq!(json["nameservers"], json!(["127.0.0.1:5353", "192.0.2.1:53", "[::1]:53"]));
    assert_eq!(json["zones"], json!(["example.com", "example.org"]));
    assert_eq!(json["created_by"], "admin");

    let page = api.get("/api/dns/domain?limit=1").await.json();
    assert_eq!(page["next"], "example.com@cloudflare");
    let page = api.get("/api/dns/domain?after=example.com@cloudflare").await.json();
    assert_eq!((&page["results"][0]["name"], &page["next"]), (&json!("example.org"), &Value::Null));
    assert_eq!(page["results"][0]["provider"], "cloudflare");

    // Secrets that are left out stay; all else has its default.
    let put = api
        .put(
            "/api/dns/cloudflare",
            &json!({ "kind": "cloudflare", "settings": { "endpoint": provider.endpoint } })
                .to_string(),
        )
        .await;
    assert_eq!(
        (put.status.as_u16(), &put.json()["nameservers"]),
        (200, &json!([])),
        "{}",
        put.text
    );
    assert_eq!(put.json()["credentials_set"], json!(["api_token"]));
    let request = api.request(Method::PUT, "/api/dns/cloudflare").header("if-match", "\"x\"");
    let request = request.header("content-type", "application/json");
    api.send(request.body(Body::from(spec.to_string())).unwrap()).await.is(412, "stale");
    let mut renamed = spec.clone();
    renamed["id"] = json!("other");
    api.put("/api/dns/cloudflare", &renamed.to_string()).await.is(409, "refused");
    renamed["id"] = json!("cloudflare");
    api.post("/api/dns", &renamed.to_string()).await.is(409, "exists");

    let refreshed = api.post("/api/dns/cloudflare/refresh", "").await;
    assert_eq!(refreshed.header("etag"), api.get("/api/dns/cloudflare").await.header("etag"));
    // Both in one object will do.
    let spec = json!({ "id": "b", "kind": "cloudflare", "settings": { "endpoint": provider.endpoint, "api_token": TOKEN } });
    assert_eq!(
        api.post("/api/dns", &spec.to_string()).await.json()["credentials_set"],
        json!(["api_token"])
    );
    let page = api.get("/api/dns?limit=1").await.json();
    assert_eq!((&page["results"][0]["id"], &page["next"]), (&json!("b"), &json!("b")));
    assert_eq!(api.get("/api/dns?after=b").await.json()["results"][0]["id"], "cloudflare");
    for path in ["/api/dns", "/api/dns/b", "/api/dns/domain", "/api/history", "/api/status"] {
        assert!(!api.get(path).await.text.contains("canary"), "{path}");
    }
    assert_eq!(api.delete("/api/dns/b").await.json()["deleted"], "b");
    for answer in [
        api.get("/api/dns/b").await,
        api.delete("/api/dns/b").await,
        api.put("/api/dns/b", &provider.spec().to_string()).await,
        api.post("/api/dns/b/refresh", "").await,
    ] {
        answer.is(404, "not_found");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_where_it_was_written() {
    let api = Api::new().await;
    let long = "a".repeat(9_000);
    for (body, places) in [
        (json!([]), &[""][..]),
        (json!({}), &["/kind"]),
        (
            json!({ "id": "A b", "kind": 1, "settings": [], "credentials": { "x": 1 }, "nameservers": ["x", "1.1.1.1:0"], "zones": [], "y": 1 }),
            &[
                "/id",
                "/kind",
                "/settings",
                "/credentials/x",
                "/nameservers/0",
                "/nameservers/1",
                "/y",
                "/zones",
            ],
        ),
        (json!({ "id": "kinds", "kind": "cloudflare" }), &["/id"]),
        (json!({ "id": "domain", "kind": "cloudflare" }), &["/id"]),
        (json!({ "kind": "route54" }), &["/kind"]),
        (json!({ "kind": "cloudflare" }), &["/credentials/api_token"]),
        (
            json!({ "kind": "cloudflare", "settings": { "tokn": "canary", "endpoint": "ftp://x" }, "credentials": { "api_tokn": "canary" } }),
            &[
                "/credentials/api_tokn",
                "/settings/tokn",
                "/credentials/api_token",
                "/settings/endpoint",
            ],
        ),
        (
            json!({ "kind": "cloudflare", "settings": { "api_token": "can\u{1}ary" } }),
            &["/settings/api_token"],
        ),
        (
            json!({ "kind": "x", "settings": { "a": "1" }, "credentials": { "a": "1" } }),
            &["/credentials/a"],
        ),
        (
            json!({ "kind": "x", "settings": { "a": long, "A/": "1" } }),
            &["/settings/A~1", "/settings/a"],
        ),
        (json!({ "kind": "x", "nameservers": ["::1", "[::1]:53"] }), &["/nameservers"]),
        (json!({ "kind": "x".repeat(65) }), &["/kind"]),
    ] {
        let answer = api.post("/api/dns", &body.to_string()).await;
        assert_eq!(answer.pointers(), places, "{body}");
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    for wrong in ["A", "a%20b", "a.b"] {
        assert_eq!(api.get(&format!("/api/dns/{wrong}")).await.pointers(), ["{id}"], "{wrong}");
    }
    assert_eq!(api.post("/api/dns/x/refresh?dry_run=true", "").await.pointers(), ["?dry_run"]);
}

#[tokio::test]
async fn the_providers_own_words_are_told() {
    let api = Api::new().await;
    let provider = Provider::new().await;
    let mut spec = provider.spec();
    spec["credentials"]["api_token"] = json!("wrong");
    let refused = api.post("/api/dns", &spec.to_string()).await;
    assert_eq!(refused.pointers(), ["/credentials"]);
    assert!(refused.text.contains("Authentication error"), "{}", refused.text);

    spec["credentials"]["api_token"] = json!("slow-down");
    let limited = api.post("/api/dns", &spec.to_string()).await;
    limited.is(502, "upstream");
    assert_eq!(limited.header("retry-after"), Some("70"));
    assert!(limited.text.contains("More than 1200 requests"), "{}", limited.text);
    assert_eq!(api.get("/api/dns").await.json()["results"], json!([]));

    assert_eq!(api.post("/api/dns", &provider.spec().to_string()).await.status, 201);
    drop(provider);
    let gone = api.post("/api/dns/cloudflare/refresh", "").await;
    gone.is(502, "upstream");
    assert!(!gone.text.contains("canary"), "{}", gone.text);
    let zones = api.get("/api/dns/domain").await.json();
    assert_eq!(zones["results"].as_array().unwrap().len(), 2, "they stay");
}

#[tokio::test]
async fn credentials_are_for_administrators() {
    let mut api = Api::new().await;
    let provider = Provider::new().await;
    assert_eq!(api.post("/api/dns", &provider.spec().to_string()).await.status, 201);
    api.post("/api/user", r#"{"username":"max","role":"manager","password":"correct horse"}"#)
        .await;
    api.log_in("max").await;
    api.post("/api/dns", &provider.spec().to_string()).await.is(403, "forbidden");
    api.put("/api/dns/cloudflare", &provider.spec().to_string()).await.is(403, "forbidden");
    api.delete("/api/dns/cloudflare").await.is(403, "forbidden");
    assert_eq!(api.get("/api/dns/cloudflare").await.status, 200);
    assert_eq!(api.post("/api/dns/cloudflare/refresh", "").await.status, 200);
    api.forget();
    for path in ["/api/dns", "/api/dns/kinds", "/api/dns/domain", "/api/dns/cloudflare"] {
        api.get(path).await.is(401, "unauthorised");
    }
}
