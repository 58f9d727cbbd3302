//! An edit of one host changes nothing of another.

use std::net::SocketAddr;
use std::path::Path;

use http::{HeaderMap, Request};
use serde_json::json;
use testkit::client::{self, Connection, Front};
use testkit::{App, Random, RawOrigin, System, seed, shared};

use crate::random_rules::{Parts, record, set};

const EDITS: usize = 60;
/// Edited: beside the other host, around it, and a pattern that would stand for its name.
const EDITED: [&str; 4] = ["a.localhost", "*.localhost", "**.localhost", "*.b.localhost"];
const OTHER: &str = "b.localhost";

const PATHS: [&str; 12] = [
    "/",
    "/page?x=y",
    "/api/users",
    "/api",
    "/files/",
    "/files",
    "/files/a.txt",
    "/files/missing",
    "/api/../x",
    "/%61pi/z",
    "/login",
    "/.well-known/x",
];

/// Status, fields but for time and request, and body.
type Answer = (u16, HeaderMap, Vec<u8>);

/// Edits of other hosts by chance, rules of all kinds; the other host's answers stay the same to the byte.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_one_host_changes_no_byte_of_anothers_answers() {
    let _turn = shared().await;
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("index.html"), "the start page").unwrap();
    std::fs::write(files.path().join("a.txt"), "some text").unwrap();
    let root = files.path().to_str().unwrap();
    let system = System::builder().set("STATIC_ROOTS", root).start().await;
    let (app, api) = (echo(), echo());
    let strangers = [App::start("0"), App::start("1")];
    let mut upstreams = strangers.each_ref().map(App::addr).to_vec();
    // Both use this one: its connections are shared, and its answers.
    upstreams.push(app.addr());
    make(&system, app.addr(), api.addr(), root).await;

    let mut random = Random::new(seed());
    let before = answers(&system.proxies[0]).await;
    assert!(before.len() >= 30 && before.iter().any(|(status, ..)| *status == 200));
    let parts = Parts { upstreams: &upstreams, root: Path::new(root) };
    let mut gone = 0;
    for edit in 0..EDITS {
        let pattern = random.one(&EDITED);
        if random.once_in(6) {
            let answer = system.api.delete(&format!("/api/host/{pattern}?wait=applied")).await;
            gone += usize::from(answer.status == 200);
        } else {
            set(&system, &record(&mut random, &parts, pattern)).await;
        }
        for (number, (now, was)) in
            answers(&system.proxies[0]).await.iter().zip(&before).enumerate()
        {
            assert_eq!(now, was, "request {number} after edit {edit}, of {pattern}");
        }
    }
    println!(
        "{EDITS} edits, {gone} of them deletions; {} answers compared each time",
        before.len()
    );
}

/// The host that must not notice: with rules of its own.
async fn make(system: &System, app: SocketAddr, api: SocketAddr, root: &str) {
    let record = json!({
        "host": OTHER,
        "upstreams": [app.to_string()],
        "force_https": false,
        "routes": [
            { "path": "/api", "upstreams": [api.to_string()], "strip_prefix": true },
            { "path": "/files", "static": { "root": root }, "strip_prefix": true },
        ],
        "deny": ["192.0.2.0/24"],
        "request_headers": { "set": { "x-host": "b" } },
        "response_headers": { "set": { "x-answer": "of b" } },
        "hsts": { "max_age": 60 },
        "security_headers": true,
    });
    system.api.create(&record).await;
}

/// An app that answers with the head of the request, but for the one field that is never the same twice.
fn echo() -> RawOrigin {
    RawOrigin::start(|mut conversation| async move {
        while let Some(head) = conversation.read_head().await {
            let lines =
                head.lines().filter(|line| !line.to_lowercase().starts_with("x-request-id:"));
            let body = lines.collect::<Vec<_>>().join("\n");
            let length = body.len();
            let body = if head.starts_with("HEAD ") { "" } else { &body };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nlocation: http://localhost/x\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            conversation.write(answer.as_bytes()).await;
        }
    })
}

async fn answers(front: &Front) -> Vec<Answer> {
    let mut plain = client::plain(front.http).await.unwrap();
    let mut secure = client::h1(front, OTHER).await.unwrap();
    let mut all = Vec::new();
    for path in PATHS {
        for method in ["GET", "HEAD"] {
            all.push(answer(&mut plain, method, "http", path).await);
        }
        all.push(answer(&mut secure, "GET", "https", path).await);
    }
    all
}

/// Pages of the gateway's own name the request in a line.
fn without_id(body: &[u8]) -> Vec<u8> {
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| !line.starts_with(b"Request ")).collect::<Vec<_>>().concat()
}

async fn answer(connection: &mut Connection, method: &str, scheme: &str, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(format!("{scheme}://{OTHER}{path}"));
    let request = request.header("accept-encoding", "gzip").body(client::empty()).unwrap();
    let (mut head, body) = connection.fetch(request).await.unwrap().into_parts();
    head.headers.remove("date");
    head.headers.remove("x-request-id");
    (head.status.as_u16(), head.headers, without_id(&body))
}
