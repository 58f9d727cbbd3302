//! Every wrong value is named, all at once, and nothing is half written.

use axum::body::Body;
use http::Method;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::world::Api;

/// A body for `POST /api/host`, and the places that are wrong in it.
const HOSTS: &[(&str, &[&str])] = &[
    ("{}", &["/host"]),
    ("null", &[""]),
    ("[]", &[""]),
    ("7", &[""]),
    ("\"a.test\"", &[""]),
    (r#"{"host":null}"#, &["/host"]),
    (r#"{"host":7}"#, &["/host"]),
    (r#"{"host":""}"#, &["/host"]),
    (r#"{"host":"a b"}"#, &["/host"]),
    (r#"{"host":"a..b"}"#, &["/host"]),
    (r#"{"host":"*a.test"}"#, &["/host"]),
    (r#"{"host":"***"}"#, &["/host"]),
    (r#"{"host":"a.test:80"}"#, &["/host"]),
    (r#"{"host":"http://a.test"}"#, &["/host"]),
    (r#"{"host":"a.test","upstreams":"b:1"}"#, &["/upstreams"]),
    (r#"{"host":"a.test","upstreams":{}}"#, &["/upstreams"]),
    (
        r#"{"host":"a.test","upstreams":["b","c:1",7,"http://d:1","e:0",null]}"#,
        &["/upstreams/0", "/upstreams/2", "/upstreams/3", "/upstreams/4", "/upstreams/5"],
    ),
    (r#"{"host":"a.test","upstreams":["b:1","B:1"]}"#, &["/upstreams/1"]),
    (r#"{"host":"a.test","upstream_tls":"on"}"#, &["/upstream_tls"]),
    (r#"{"host":"a.test","upstream_tls":true}"#, &["/upstream_tls"]),
    (r#"{"host":"a.test","certificate":"Auto"}"#, &["/certificate"]),
    (r#"{"host":"a.test","enabled":"true"}"#, &["/enabled"]),
    (r#"{"host":"a.test","enabled":1}"#, &["/enabled"]),
    (
        r#"{"host":"a.test","preserve_host":0,"force_https":"no"}"#,
        &["/preserve_host", "/force_https"],
    ),
    (r#"{"host":"a.test","created_by":"me","etag":"x"}"#, &["/created_by", "/etag"]),
    (r#"{"host":"a.test","a/b~c":1,"":2}"#, &["/", "/a~1b~0c"]),
    (
        r#"{"host":"-","upstreams":["x"],"upstream_tls":1,"preserve_host":1,"force_https":1,"certificate":1,"enabled":1,"ip":"1.2.3.4"}"#,
        &[
            "/host",
            "/upstreams/0",
            "/upstream_tls",
            "/preserve_host",
            "/force_https",
            "/certificate",
            "/enabled",
            "/ip",
        ],
    ),
];

#[tokio::test]
async fn a_new_host() {
    let api = Api::new().await;
    for (body, places) in HOSTS {
        assert_eq!(api.post("/api/host", body).await.pointers(), *places, "{body}");
    }
    assert_eq!(api.get("/api/host").await.json()["results"], json!([]));
}

#[tokio::test]
async fn a_changed_host() {
    let api = Api::new().await;
    api.post("/api/host", r#"{"host":"a.test"}"#).await;
    for (body, places) in [
        ("[]", &[""][..]),
        (r#"{"host":7,"nothing":null}"#, &["/host", "/nothing"]),
        (r#"{"upstreams":["x"],"enabled":[]}"#, &["/upstreams/0", "/enabled"]),
        (r#"{"revision":"x:1"}"#, &["/revision"]),
    ] {
        assert_eq!(api.put("/api/host/a.test", body).await.pointers(), places, "PUT {body}");
        assert_eq!(api.patch("/api/host/a.test", body).await.pointers(), places, "PATCH {body}");
    }
    api.put("/api/host/a.test", r#"{"host":"b.test"}"#).await.is(409, "refused");
    api.patch("/api/host/a.test", r#"{"host":"b.test"}"#).await.is(409, "refused");
    let answer = api.put("/api/host/a%20b", r#"{"enabled":1}"#).await;
    assert_eq!(answer.pointers(), ["{pattern}", "/enabled"]);
    for answer in [api.get("/api/host/a%20b").await, api.delete("/api/host/a%2Fb").await] {
        assert_eq!(answer.pointers(), ["{pattern}"]);
    }
}

#[tokio::test]
async fn accounts_and_logins() {
    let api = Api::new().await;
    for (body, places) in [
        ("{}", &["/username", "/role", "/password"][..]),
        (
            r#"{"username":"a b","role":"root","password":"short"}"#,
            &["/username", "/role", "/password"],
        ),
        (
            r#"{"username":1,"role":1,"password":1,"x":1}"#,
            &["/username", "/role", "/password", "/x"],
        ),
        (r#"{"username":"ann","role":"viewer","password":"nul\u0000nulnul"}"#, &["/password"]),
        (r#"{"username":"me","role":"viewer","password":"correct horse"}"#, &["/username"]),
    ] {
        assert_eq!(api.post("/api/user", body).await.pointers(), places, "{body}");
    }
    for (body, places) in [
        ("{}", &["/username", "/password"][..]),
        (r#"{"username":"a","password":null,"otp":1}"#, &["/password", "/otp"]),
        ("[1]", &[""]),
    ] {
        assert_eq!(api.post("/api/auth/login", body).await.pointers(), places, "{body}");
    }
}

#[tokio::test]
async fn parameters() {
    let api = Api::new().await;
    for (query, places) in [
        ("limit=0", &["?limit"][..]),
        ("limit=501", &["?limit"]),
        ("limit=-1", &["?limit"]),
        ("limit=ten&offset=3", &["?limit", "?offset"]),
        ("limit=1&limit=2", &["?limit"]),
        ("wait=applied", &["?wait"]),
    ] {
        assert_eq!(api.get(&format!("/api/host?{query}")).await.pointers(), places, "{query}");
    }
    for (query, places) in [
        ("dryrun=true", &["?dryrun"][..]),
        ("dry_run=yes", &["?dry_run"]),
        ("dry_run", &["?dry_run"]),
        ("wait=forever&timeout=5", &["?wait", "?timeout"]),
        ("timeout=-5s", &["?timeout"]),
        ("timeout=s", &["?timeout"]),
        ("timeout=5m", &["?timeout"]),
        ("timeout=99999999999999999999s", &["?timeout"]),
    ] {
        let path = format!("/api/host?{query}");
        assert_eq!(api.post(&path, r#"{"host":"a.test"}"#).await.pointers(), places, "{query}");
    }
    let answer = api.post("/api/host?x=1", r#"{"host":"","y":1}"#).await;
    assert_eq!(answer.pointers(), ["?x", "/host", "/y"], "query and body together");
    assert_eq!(api.get("/api/host").await.json()["results"], json!([]));
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let api = Api::new().await;
    let deep = "[".repeat(100_000);
    for body in ["", "{", "{}{}", "{\"host\":\"a.test\",}", "nan", "\u{feff}{}", "'a'", &deep] {
        api.post("/api/host", body).await.is(400, "malformed");
    }
    let request = api.request(Method::POST, "/api/host").header("content-type", "application/json");
    let bytes = b"{\"host\":\"\xff\"}".to_vec();
    api.send(request.body(Body::from(bytes)).unwrap()).await.is(400, "malformed");
}

#[tokio::test]
async fn bodies_of_another_kind() {
    let api = Api::new().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "é"] {
        let request =
            api.request(Method::POST, "/api/host").header("content-type", kind.as_bytes());
        let answer = api.send(request.body(Body::from(r#"{"host":"a.test"}"#)).unwrap()).await;
        answer.is(415, "unsupported_media_type");
    }
    let request = api.request(Method::POST, "/api/host");
    let answer = api.send(request.body(Body::from(r#"{"host":"a.test"}"#)).unwrap()).await;
    answer.is(415, "unsupported_media_type");
    for kind in ["application/json", "Application/JSON; charset=utf-8"] {
        let request =
            api.request(Method::POST, "/api/host?dry_run=true").header("content-type", kind);
        let answer = api.send(request.body(Body::from(r#"{"host":"a.test"}"#)).unwrap()).await;
        assert_eq!(answer.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_or_too_slow() {
    let api = Api::new().await;
    let large = format!(r#"{{"host":"{}"}}"#, "a".repeat(1 << 20));
    api.post("/api/host", &large).await.is(413, "too_large");
    // Without a length, known only once it is too much.
    let chunks = (0..3).map(|_| Ok::<_, std::io::Error>(vec![b' '; 400_000]));
    let request = api.request(Method::POST, "/api/host").header("content-type", "application/json");
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    api.send(request.body(body).unwrap()).await.is(413, "too_large");

    let broken = [Ok(vec![b'{']), Err(std::io::Error::other("gone"))];
    let request = api.request(Method::POST, "/api/host").header("content-type", "application/json");
    let body = Body::from_stream(futures_util::stream::iter(broken));
    api.send(request.body(body).unwrap()).await.is(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends() {
    let api = Api::new().await;
    let request = api.request(Method::POST, "/api/host").header("content-type", "application/json");
    let body =
        Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    api.send(request.body(body).unwrap()).await.is(408, "timeout");
}

/// Any JSON, with the names and words of the API in it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z*.0-9:\\[\\]-]{0,12}".prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop_oneof!["off", "verify", "auto", "local", "a.test", "127.0.0.1:1"]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let name = prop_oneof![
            3 => prop_oneof!["host", "upstreams", "upstream_tls", "certificate", "enabled", "etag"],
            1 => ".{0,6}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..6).prop_map(|members| json!(members)),
        ]
    })
}

#[test]
fn no_json_brings_a_handler_down() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let api = runtime.block_on(async {
        let api = Api::new().await;
        api.post("/api/host", r#"{"host":"a.test"}"#).await;
        api
    });
    let config = Config { failure_persistence: None, ..Config::with_cases(300) };
    let outcome = TestRunner::new(config).run(&any_json(), |body| {
        let body = body.to_string();
        runtime.block_on(async {
            for answer in [
                api.post("/api/host", &body).await,
                api.put("/api/host/a.test?dry_run=true", &body).await,
                api.patch("/api/host/a.test", &body).await,
                api.put("/api/user/password", &body).await,
                api.post("/api/user?dry_run=true", &body).await,
            ] {
                let status = answer.status.as_u16();
                prop_assert!([200, 201, 409, 422].contains(&status), "{body}: {}", answer.text);
            }
            Ok(())
        })
    });
    outcome.unwrap();
}
