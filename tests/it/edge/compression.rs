//! Answers that came uncompressed are compressed where the host says so, the client takes it, and it is worth it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use testkit::{Curl, Fetched, RawOrigin, System, shared};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Notify;

use crate::gateway::{Fixed, header, set, url};

/// An app whose page is long and repeats itself.
fn page(fields: &str) -> Fixed {
    let body = "All work and no play makes Jack a dull boy.\n".repeat(100);
    Fixed::start(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len()))
}

const HTML: &str = "content-type: text/html\r\netag: \"1\"\r\naccept-ranges: bytes\r\n";

async fn ask(system: &System, options: &[&str]) -> Fetched {
    Curl::new(&system.proxies[0]).with(options).get(&url("/")).await
}

/// By weight, by what is known, over HTTP/1.1 and HTTP/2, the content unchanged; HEAD is told the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_coding_it_likes_best() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, page(HTML));
    let rules = json!({"upstreams": [app.addr()], "compress": true});
    set(&system, "app.localhost", rules).await;
    let plain = ask(&system, &[]).await;
    assert_eq!((header(&plain, "content-encoding"), plain.body.len()), (None, 4400));
    assert_eq!(header(&plain, "vary"), Some("accept-encoding"));
    assert_eq!(header(&plain, "etag"), Some("\"1\""));
    for (accepted, coding) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, br", Some("br")),
        ("gzip;q=0.9, br;q=0.1", Some("gzip")),
        ("*", Some("gzip")),
        ("identity", None),
        ("br;q=0", None),
        ("gzip;q=0.5, identity;q=0.8", None),
    ] {
        for version in ["http", "https"] {
            let accept = format!("accept-encoding: {accepted}");
            let curl = Curl::new(&system.proxies[0]).with(&["-H", &accept]);
            let address = format!("{version}://app.localhost/");
            let raw = curl.get(&address).await;
            assert_eq!(header(&raw, "content-encoding"), coding, "{accepted} by {version}");
            assert_eq!(header(&raw, "vary"), Some("accept-encoding"));
            if coding.is_some() {
                assert!(raw.body.len() < 400, "{accepted}: {}", raw.body.len());
                assert_eq!(header(&raw, "etag"), Some("W/\"1\""));
                for gone in ["content-length", "accept-ranges"] {
                    assert_eq!(header(&raw, gone), None, "{gone}");
                }
            }
            let whole = curl.with(&["--compressed"]).get(&address).await;
            assert!(whole.body == plain.body, "{accepted}: other content");
            let told = Curl::new(&system.proxies[0]).with(&["-H", &accept, "--head"]);
            let told = told.get(&address).await;
            for field in ["content-encoding", "content-length", "vary", "etag", "accept-ranges"] {
                assert_eq!(
                    header(&told, field),
                    header(&raw, field),
                    "{field} of HEAD, {accepted}"
                );
            }
        }
    }
}

/// What is small, coded, a part, or not to be changed passes as it is; so does everything without the rule.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_compressed_is_not() {
    let _turn = shared().await;
    let system = System::start().await;
    let accept = ["-H", "accept-encoding: gzip, br, zstd"];
    for fields in [
        "content-type: image/png\r\n",
        "content-type: text/event-stream\r\n",
        "content-type: application/grpc\r\n",
        "content-type: text/html\r\ncontent-encoding: x-own\r\n",
        "content-type: text/html\r\ncache-control: private, no-transform\r\n",
    ] {
        let app = page(fields);
        set(&system, "app.localhost", json!({"upstreams": [app.addr()], "compress": true})).await;
        let answer = ask(&system, &accept).await;
        assert_eq!(answer.body.len(), 4400, "{fields}");
        assert_eq!(header(&answer, "vary"), None, "{fields}");
    }
    let small =
        Fixed::start("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nok");
    set(&system, "app.localhost", json!({"upstreams": [small.addr()], "compress": true})).await;
    assert_eq!(ask(&system, &accept).await.body, b"ok");
    let part = Fixed::start(
        "HTTP/1.1 206 Partial Content\r\ncontent-type: text/html\r\ncontent-range: bytes 0-1/9\r\n\
         content-length: 2\r\n\r\nok",
    );
    set(&system, "app.localhost", json!({"upstreams": [part.addr()], "compress": true})).await;
    assert_eq!(ask(&system, &accept).await.body, b"ok");
    let app = page(HTML);
    set(&system, "app.localhost", json!({"upstreams": [app.addr()]})).await;
    let untouched = ask(&system, &accept).await;
    assert_eq!((untouched.body.len(), header(&untouched, "vary")), (4400, None));
}

/// A piece reaches the client while the app thinks about the next.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_is_sent_when_the_app_pauses() {
    let _turn = shared().await;
    let system = System::start().await;
    for coding in ["gzip", "br", "zstd"] {
        let seen = Arc::new(Notify::new());
        let heard = seen.clone();
        let app = RawOrigin::start(move |mut conversation| {
            let heard = heard.clone();
            async move {
                conversation.read_head().await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
                conversation.write(head.as_bytes()).await;
                conversation.write(b"6\r\nfirst \r\n").await;
                heard.notified().await;
                conversation.write(b"6\r\nsecond\r\n0\r\n\r\n").await;
            }
        });
        let rules = json!({"upstreams": [app.addr().to_string()], "compress": true});
        set(&system, "app.localhost", rules).await;
        let at = system.proxies[0].front().http;
        let mut curl = Command::new("curl")
            .args(["--silent", "--no-buffer", "--compressed", "--max-time", "30"])
            .args(["--noproxy", "*", "--header", &format!("accept-encoding: {coding}")])
            .args(["--connect-to", &format!("app.localhost:80:{}:{}", at.ip(), at.port())])
            .arg(url("/"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut out = curl.stdout.take().unwrap();
        let mut first = [0; 6];
        let read = tokio::time::timeout(Duration::from_secs(10), out.read_exact(&mut first));
        read.await.unwrap_or_else(|_| panic!("{coding}: the first piece is held back")).unwrap();
        assert_eq!(&first, b"first ");
        seen.notify_one();
        let mut rest = String::new();
        out.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "second", "{coding}");
        assert!(curl.wait().await.unwrap().success());
    }
}

/// Files without a compressed one beside them, and an answer that breaks off.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_compressed_and_a_broken_answer_stays_broken() {
    let _turn = shared().await;
    let files = tempfile::tempdir().unwrap();
    let text = "let x = 1;\n".repeat(20_000);
    std::fs::write(files.path().join("app.js"), &text).unwrap();
    std::fs::write(files.path().join("small.js"), "let x;").unwrap();
    let roots = files.path().to_str().unwrap().to_owned();
    let system = System::builder().set("STATIC_ROOTS", &roots).start().await;
    let rules = json!({"static": {"root": roots}, "compress": true});
    set(&system, "app.localhost", rules).await;
    let curl = || Curl::new(&system.proxies[0]).with(&["-H", "accept-encoding: br"]);
    let script = curl().get(&url("/app.js")).await;
    assert_eq!(header(&script, "content-encoding"), Some("br"));
    assert!(script.body.len() < 2000, "{}", script.body.len());
    let tag = header(&script, "etag").unwrap().to_owned();
    assert!(tag.starts_with("W/"), "{tag}");
    let whole = curl().with(&["--compressed"]).get(&url("/app.js")).await;
    assert!(whole.body == text.as_bytes());
    let again = curl().with(&["-H", &format!("if-none-match: {tag}")]).get(&url("/app.js")).await;
    assert_eq!(again.status, 304);
    let part = curl().with(&["-H", "range: bytes=0-3"]).get(&url("/app.js")).await;
    assert_eq!((part.status, part.body.as_slice()), (206, b"let ".as_slice()));
    assert_eq!(curl().get(&url("/small.js")).await.body, b"let x;");

    let broken = RawOrigin::start(|mut conversation| async move {
        conversation.read_head().await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5000\r\n\r\nabc";
        conversation.write(head.as_bytes()).await;
    });
    let rules = json!({"upstreams": [broken.addr().to_string()], "compress": true});
    set(&system, "app.localhost", rules).await;
    let error = curl().with(&["--compressed"]).try_get(&url("/")).await.unwrap_err();
    assert!(!error.is_empty(), "a part passed for the whole");
}
