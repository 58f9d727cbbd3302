//! What a host does with requests besides passing them on: who is let in, what stands behind which path, and in whose name
//! an app answers.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{App, Curl, Fetched, RawOrigin, System, shared};

/// An app that gives one answer to everything and remembers the heads of what it was asked.
pub(crate) struct Fixed {
    origin: RawOrigin,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Fixed {
    pub(crate) fn start(answer: impl Into<String>) -> Self {
        let (answer, heads) = (answer.into(), Arc::<Mutex<Vec<String>>>::default());
        let seen = heads.clone();
        let origin = RawOrigin::start(move |mut conversation| {
            let (answer, seen) = (answer.clone(), seen.clone());
            async move {
                let port = conversation.stream().local_addr().unwrap().port();
                let answer = answer.replace("PORT", &port.to_string());
                while let Some(head) = conversation.read_head().await {
                    seen.lock().unwrap().push(head);
                    conversation.write(answer.as_bytes()).await;
                }
            }
        });
        Self { origin, heads }
    }

    pub(crate) fn ok() -> Self {
        Self::start("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    }

    pub(crate) fn addr(&self) -> String {
        self.origin.addr().to_string()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

pub(crate) fn header<'a>(answer: &'a Fetched, name: &str) -> Option<&'a str> {
    answer.headers.get(name).and_then(|value| value.to_str().ok())
}

/// Makes or replaces a host that serves plain HTTP, and waits until every proxy runs it.
pub(crate) async fn set(system: &System, host: &str, rules: Value) {
    let mut record = json!({"host": host, "force_https": false});
    let members = record.as_object_mut().unwrap();
    members.extend(rules.as_object().unwrap().clone());
    let path = format!("/api/host/{host}?wait=applied");
    let answer = system.api.put(&path, &record).await;
    let answer = if answer.status == 404 {
        system.api.post("/api/host?wait=applied", &record).await.expect(201)
    } else {
        answer.expect(200)
    };
    assert_eq!(answer["applied"], true, "{answer}");
}

pub(crate) fn url(path: &str) -> String {
    format!("http://app.localhost{path}")
}

/// Networks, maintenance and rates each keep out whom they should, with a reason; a list that can't be read is refused.
#[tokio::test(flavor = "multi_thread")]
async fn gates_keep_out_whom_they_should() {
    let _turn = shared().await;
    let (system, app) = (System::builder().set("WORKERS", "2").start().await, App::start("app"));
    let upstreams = json!([app.addr().to_string()]);
    let curl = Curl::new(&system.proxies[0]);
    let status = async |path: &str| curl.get(&url(path)).await.status;

    set(&system, "app.localhost", json!({"upstreams": upstreams, "deny": ["127.0.0.0/8"]})).await;
    assert_eq!(status("/").await, 403);
    set(&system, "app.localhost", json!({"upstreams": upstreams, "allow": ["10.0.0.0/8"]})).await;
    assert_eq!(status("/").await, 403);
    set(&system, "app.localhost", json!({"upstreams": upstreams, "allow": ["private_ranges"]}))
        .await;
    assert_eq!(status("/").await, 200);
    let wrong =
        json!({"host": "app.localhost", "allow": ["10.0.0.0/33"], "redirect": {"to": "ftp://x"}});
    let told = system.api.put("/api/host/app.localhost", &wrong).await.expect(422);
    let places: Vec<_> =
        told["errors"].as_array().unwrap().iter().map(|it| &it["pointer"]).collect();
    assert_eq!(places, ["/allow/0", "/redirect"], "{told}");
    assert_eq!(status("/").await, 200, "what was refused changed nothing");

    set(
        &system,
        "app.localhost",
        json!({"upstreams": upstreams, "maintenance": {"retry_after": 60}}),
    )
    .await;
    let closed = curl.get(&url("/")).await;
    assert_eq!((closed.status, header(&closed, "retry-after")), (503, Some("60")));

    // Over both workers: new connections, which the kernel shares out.
    let rate = json!([{"requests": 5, "per_seconds": 3600}]);
    set(&system, "app.localhost", json!({"upstreams": upstreams, "rate_limit": rate})).await;
    let mut admitted = 0;
    for _ in 0..12 {
        let answer = curl.get(&url("/")).await;
        match answer.status {
            200 => admitted += 1,
            429 => assert!(header(&answer, "retry-after").is_some()),
            other => panic!("{other}"),
        }
        assert!(header(&answer, "ratelimit").is_some());
    }
    assert_eq!(admitted, 5);
}

/// A password is asked for, checked, kept as a hash and shown to nobody; the app does not see it.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_in() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, Fixed::ok());
    let basic = json!({"users": {"ann": "correct horse"}});
    let rules = json!({"upstreams": [app.addr()], "basic_auth": basic});
    set(&system, "app.localhost", rules.clone()).await;
    let proxy = &system.proxies[0];
    let refused = Curl::new(proxy).get(&url("/")).await;
    assert_eq!(refused.status, 401);
    assert!(header(&refused, "www-authenticate").unwrap().contains("Restricted"));
    assert_eq!(
        Curl::new(proxy).with(&["--user", "ann:wrong horse"]).get(&url("/")).await.status,
        401
    );
    let known = Curl::new(proxy).with(&["--user", "ann:correct horse"]);
    assert_eq!(known.get(&url("/")).await.status, 200);
    let seen = app.heads();
    assert_eq!(seen.len(), 1, "nobody else came through");
    assert!(!seen[0].to_lowercase().contains("authorization"), "{}", seen[0]);

    let shown = system.api.get("/api/host/app.localhost").await.json();
    assert_eq!(shown["basic_auth"]["users"]["ann"], "********");
    // What is shown, given back, changes no password.
    let mut back = rules;
    back["basic_auth"] = shown["basic_auth"].clone();
    set(&system, "app.localhost", back).await;
    assert_eq!(known.get(&url("/")).await.status, 200);
    let history = system.api.get("/api/history").await;
    assert!(!String::from_utf8_lossy(&history.body).contains("$2b$"));
}

/// Who came while a password was being checked had the same one checked again, two at a time, and was turned away after five
/// seconds: each minute, on a host with many requests at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_many_send_at_once_is_checked_for_all_of_them() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, Fixed::ok());
    let basic = json!({"users": {"ann": "correct horse"}});
    set(&system, "app.localhost", json!({"upstreams": [app.addr()], "basic_auth": basic})).await;
    let known = Curl::new(&system.proxies[0]).with(&["--user", "ann:correct horse"]);
    let path = url("/");
    let answers = join_all((0..100).map(|_| known.get(&path))).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

/// Paths lead to other apps and to directories; a whole host leads elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn paths_lead_where_they_should() {
    let _turn = shared().await;
    let files = tempfile::tempdir().unwrap();
    let root = files.path().join("site");
    std::fs::create_dir_all(root.join("assets")).unwrap();
    std::fs::write(root.join("index.html"), "the start page").unwrap();
    std::fs::write(root.join("assets/app.js"), "let x;").unwrap();
    std::fs::write(files.path().join("secret"), "outside").unwrap();
    std::os::unix::fs::symlink("../../secret", root.join("assets/link")).unwrap();
    let system =
        System::builder().set("STATIC_ROOTS", files.path().to_str().unwrap()).start().await;
    let (app, api) = (Fixed::ok(), Fixed::ok());
    let routes = json!([
        {"path": "/api", "upstreams": [api.addr()], "strip_prefix": true},
        {"path": "/files", "static": {"root": root}, "strip_prefix": true},
    ]);
    let rules = json!({"upstreams": [app.addr()], "routes": routes});
    set(&system, "app.localhost", rules).await;
    let curl = Curl::new(&system.proxies[0]);
    let get = async |path: &str| curl.get(&url(path)).await;
    assert_eq!(get("/other").await.status, 200);
    assert_eq!(get("/api/users?id=1").await.status, 200);
    assert_eq!(get("/apix").await.status, 200);
    assert!(api.heads()[0].starts_with("GET /users?id=1 HTTP/1.1"), "{}", api.heads()[0]);
    assert_eq!((api.heads().len(), app.heads().len()), (1, 2));
    let page = get("/files/").await;
    assert_eq!((page.status, page.body.as_slice()), (200, b"the start page".as_slice()));
    assert_eq!(get("/files").await.status, 307);
    assert_eq!(get("/files/assets/app.js").await.status, 200);
    for path in
        ["/files/assets/link", "/files/%2e%2e/secret", "/files/..%2fsecret", "/files/.hidden"]
    {
        let answer = Curl::new(&system.proxies[0]).with(&["--path-as-is"]).get(&url(path)).await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
    }

    let spa = json!({"static": {"root": root, "fallback": "index.html"}});
    set(&system, "app.localhost", spa).await;
    let navigation = Curl::new(&system.proxies[0]).with(&["-H", "accept: text/html"]);
    assert_eq!(navigation.get(&url("/orders/17")).await.status, 200);
    assert_eq!(get("/missing.js").await.status, 404);
    // Only under the roots of the machine.
    set(&system, "app.localhost", json!({"static": {"root": "/etc"}})).await;
    assert_eq!(get("/passwd").await.status, 503);

    set(&system, "app.localhost", json!({"redirect": {"to": "https://new.example"}})).await;
    let sent = get("/a?b=c").await;
    assert_eq!((sent.status, header(&sent, "location")), (308, Some("https://new.example/a?b=c")));
}

/// An app that names itself by its own address is named by the public one; what it says of others stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_answers_in_the_public_name() {
    let _turn = shared().await;
    let system = System::start().await;
    let origin = Fixed::start(
        "HTTP/1.1 302 Found\r\nlocation: http://localhost:PORT/login?next=%2F\r\n\
         link: <http://other.example/x>; rel=next\r\nset-cookie: id=1; Domain=localhost; HttpOnly\r\n\
         x-powered-by: Express\r\nserver: app/1\r\ncontent-length: 0\r\n\r\n",
    );
    let rules = json!({
        "upstreams": [origin.addr()],
        "hsts": {"max_age": 60},
        "security_headers": true,
        "response_headers": {"set": {"x-gateway": "ours"}, "remove": ["link"]},
    });
    set(&system, "app.localhost", rules).await;
    let https = Curl::new(&system.proxies[0]).get("https://app.localhost/").await;
    assert_eq!(https.status, 302);
    let location = header(&https, "location").unwrap();
    assert!(
        location.starts_with("https://app.localhost") && location.ends_with("/login?next=%2F"),
        "{location}"
    );
    assert_eq!(header(&https, "set-cookie"), Some("id=1; HttpOnly"));
    assert_eq!(header(&https, "strict-transport-security"), Some("max-age=60"));
    assert_eq!(header(&https, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&https, "x-gateway"), Some("ours"));
    for gone in ["x-powered-by", "link"] {
        assert_eq!(header(&https, gone), None, "{gone}");
    }
    let plain = json!({"upstreams": [origin.addr()], "rewrite_responses": false});
    set(&system, "app.localhost", plain).await;
    let untouched = Curl::new(&system.proxies[0]).get(&url("/")).await;
    assert!(header(&untouched, "location").unwrap().starts_with("http://localhost:"));
}

/// What would become of a request is told, gate by gate, without its being made.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_explained() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    let rules = json!({"upstreams": [app.addr().to_string()], "deny": ["192.0.2.0/24"]});
    set(&system, "app.localhost", rules).await;
    let ask = async |query: &str| system.api.get(&format!("/api/explain?{query}")).await;
    let let_in = ask("url=http://app.localhost/x&client=203.0.113.9").await.expect(200);
    assert_eq!(
        (let_in["match"].as_str(), let_in["status"].as_u64()),
        (Some("app.localhost"), None)
    );
    let kept_out = ask("url=http://app.localhost/x&client=192.0.2.7").await.expect(200);
    assert_eq!(kept_out["status"], 403, "{kept_out}");
    assert_eq!(kept_out["steps"][0]["gate"], "access");
    assert_eq!(ask("url=nowhere").await.status, 422);
    assert!(app.seen().is_empty());
}

/// Bodies larger than a host takes are refused, announced or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_largest_size() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    let rules = json!({"upstreams": [app.addr().to_string()], "limits": {"max_body": 1000}});
    set(&system, "app.localhost", rules).await;
    let send = async |size: usize, more: &[&str]| {
        let body = "x".repeat(size);
        let options = [&["--data-binary", &body], more].concat();
        Curl::new(&system.proxies[0]).with(&options).get(&url("/")).await.status
    };
    assert_eq!(send(1000, &[]).await, 200);
    assert_eq!(send(1001, &[]).await, 413);
    let chunked = ["-H", "transfer-encoding: chunked"];
    assert_eq!(send(1000, &chunked).await, 200);
    assert_eq!(send(5000, &chunked).await, 413);
}
