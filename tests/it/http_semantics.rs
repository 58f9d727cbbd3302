//! What HTTP promises, kept across the proxy: both protocols in, HTTP/1.1 out.

use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use testkit::client::{self, Connection};
use testkit::{App, Curl, RawOrigin, System, free_port, shared, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NAME: &str = "app.localhost";
const URL: &str = "https://app.localhost/";

async fn system(upstream: std::net::SocketAddr) -> System {
    let system = System::start().await;
    system.api.route(NAME, upstream).await;
    system
}

/// Both protocols to the first proxy.
async fn connections(system: &System) -> [(&'static str, Connection); 2] {
    let proxy = &system.proxies[0];
    [("h1", client::h1(proxy, NAME).await.unwrap()), ("h2", client::h2(proxy, NAME).await.unwrap())]
}

/// What a client claims about itself in forwarding fields is not passed on as if we had said it; what belongs to one
/// hop stays on it.
#[tokio::test(flavor = "multi_thread")]
async fn forwarding_fields_are_ours_and_hop_by_hop_fields_stay() {
    let _turn = shared().await;
    let app = App::start("app");
    let system = system(app.addr()).await;
    let mut stream = TcpStream::connect(system.proxies[0].http).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: app.localhost\r\nx-forwarded-for: 6.6.6.6\r\n\
        x-forwarded-proto: https\r\nx-forwarded-host: evil.test\r\nx-real-ip: 6.6.6.6\r\n\
        x_forwarded_for: 6.6.6.6\r\nproxy: http://evil.test\r\nx-original-url: /admin\r\n\
        connection: close, x-secret\r\nx-secret: hop\r\nkeep-alive: timeout=5\r\nte: trailers\r\n\
        x-kept: yes\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("an answer", Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();

    let text = String::from_utf8_lossy(&answer);
    let start = text.find("\r\n\r\n").unwrap() + 4;
    let told: Value = serde_json::from_str(&text[start..]).unwrap();
    let headers = told["headers"].as_object().unwrap();
    assert_eq!(headers["x-forwarded-for"], json!(["127.0.0.1"]));
    assert_eq!(headers["x-forwarded-proto"], json!(["http"]));
    assert_eq!(headers["x-forwarded-host"], json!([NAME]));
    assert_eq!(headers["x-kept"], json!(["yes"]));
    for gone in ["x_forwarded_for", "proxy", "x-original-url", "x-secret", "keep-alive"] {
        assert!(!headers.contains_key(gone), "{gone} passed: {told}");
    }
    let real = headers.get("x-real-ip").cloned().unwrap_or(json!(["127.0.0.1"]));
    assert_eq!(real, json!(["127.0.0.1"]));
}

/// Trailers of a request and of an answer come through, in both protocols.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let _turn = shared().await;
    let origin = RawOrigin::start(|mut it| async move {
        while let Some(head) = it.read_head().await {
            if it.read_body(&head).await.is_none() {
                return;
            }
            it.write(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                  2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n",
            )
            .await;
        }
    });
    let system = system(origin.addr()).await;
    for (protocol, mut connection) in connections(&system).await {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sent", protocol.parse().unwrap());
        let frames = [Ok(Frame::data("abc".into())), Ok(Frame::trailers(trailers))];
        let body = client::body(StreamBody::new(futures_util::stream::iter(frames)));
        let request = Request::post(URL).header("trailer", "x-sent").header("te", "trailers");
        let answer = connection.send(request.body(body).unwrap()).await.unwrap();
        let whole = answer.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().expect(protocol)["x-sum"], "42", "{protocol}");
        assert_eq!(whole.to_bytes(), "ok", "{protocol}");
        let received = String::from_utf8_lossy(&origin.received().concat()).to_lowercase();
        assert!(received.contains(&format!("x-sent: {protocol}")), "{received}");
    }
}

/// `Expect: 100-continue` is the app's to answer: the client gets the app's 100, or its refusal before it sends.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_is_told_to_go_on() {
    let _turn = shared().await;
    let app = App::start("app");
    let system = system(app.addr()).await;
    let mut stream = TcpStream::connect(system.proxies[0].http).await.unwrap();
    let head = "POST /sum HTTP/1.1\r\nhost: app.localhost\r\ncontent-length: 5\r\n\
        expect: 100-continue\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    within("a 100", Duration::from_secs(10), stream.read_exact(&mut interim)).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    within("an answer", Duration::from_secs(10), stream.read_to_string(&mut rest)).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 "), "{rest}");
    assert!(rest.contains("\"length\":5"), "{rest}");
}

/// An app's 103 does not disturb what comes after it.
#[tokio::test(flavor = "multi_thread")]
async fn early_hints_do_not_disturb_the_answer() {
    let _turn = shared().await;
    let origin = RawOrigin::start(|mut it| async move {
        while it.read_head().await.is_some() {
            it.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n").await;
            it.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    });
    let system = system(origin.addr()).await;
    for (protocol, mut connection) in connections(&system).await {
        for _ in 0..3 {
            let request = Request::get(URL).body(client::empty()).unwrap();
            let answer = connection.fetch(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{protocol}");
            assert_eq!(answer.body(), "ok", "{protocol}");
        }
    }
}

/// An answer that the app breaks off reaches the client as an error, never as a clean end.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_is_an_error_for_the_client() {
    let _turn = shared().await;
    for head in ["transfer-encoding: chunked\r\n\r\n5\r\nhel", "content-length: 5\r\n\r\nhel"] {
        let origin = RawOrigin::start(move |mut it| async move {
            it.read_head().await;
            it.write(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).await;
        });
        let system = system(origin.addr()).await;
        for (protocol, mut connection) in connections(&system).await {
            let request = Request::get(URL).body(client::empty()).unwrap();
            let answer = connection.fetch(request).await;
            // A proxy that has not begun to answer may still say 502.
            let clean = answer.is_ok_and(|it| it.status() == 200);
            assert!(!clean, "{protocol}: {head:?} ended cleanly");
        }
    }
}

/// The answer to HEAD has the fields of the one to GET and no body, and the connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn head_has_fields_and_no_body() {
    let _turn = shared().await;
    let app = App::start("app");
    let system = system(app.addr()).await;
    for (protocol, mut connection) in connections(&system).await {
        for _ in 0..3 {
            let uri = format!("{URL}bytes/1000");
            let request = Request::head(uri).body(client::empty()).unwrap();
            let answer = connection.fetch(request).await.unwrap();
            assert_eq!(answer.headers()[header::CONTENT_LENGTH], "1000", "{protocol}");
            assert!(answer.body().is_empty(), "{protocol}");
            connection.ready().await.unwrap();
        }
    }
}

/// An app may answer before the upload is over; the client gets that answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_overtakes_the_upload() {
    let _turn = shared().await;
    let origin = RawOrigin::start(|mut it| async move {
        it.read_head().await;
        it.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
            .await;
        while it.read_exact(65_536).await.is_some() {}
    });
    let system = system(origin.addr()).await;
    for (protocol, mut connection) in connections(&system).await {
        let body = client::body(testkit::Pattern::sized(8 << 20));
        let answer = connection.send(Request::post(URL).body(body).unwrap());
        let answer = within("an answer", Duration::from_secs(10), answer).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{protocol}");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "no", "{protocol}");
    }
}

/// Every method, any status and repeated fields come through as they are.
#[tokio::test(flavor = "multi_thread")]
async fn methods_statuses_and_repeated_fields_pass() {
    let _turn = shared().await;
    let app = App::start("app");
    let teapot = RawOrigin::start(|mut it| async move {
        while it.read_head().await.is_some() {
            it.write(
                b"HTTP/1.1 418 Teapot\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n",
            )
            .await;
        }
    });
    let system = system(app.addr()).await;
    system.api.route("teapot.localhost", teapot.addr()).await;
    for (protocol, mut connection) in connections(&system).await {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "X-OWN"] {
            let request = Request::builder()
                .method(Method::from_bytes(method.as_bytes()).unwrap())
                .uri(URL)
                .header("x-many", "1")
                .header("x-many", "2")
                .body(client::empty());
            let answer = connection.fetch(request.unwrap()).await.unwrap();
            let told: Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(told["method"], method, "{protocol}");
            assert_eq!(told["headers"]["x-many"], json!(["1", "2"]), "{protocol}");
            connection.ready().await.unwrap();
        }
    }
    let answer = Curl::new(&system.proxies[0]).get("https://teapot.localhost/").await;
    assert_eq!(answer.status, 418);
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

/// A certificate for one name does not open the door to another on the same connection.
#[tokio::test(flavor = "multi_thread")]
async fn another_host_than_the_certificates_is_misdirected() {
    let _turn = shared().await;
    let app = App::start("app");
    let system = system(app.addr()).await;
    system.api.route("other.localhost", app.addr()).await;
    for (protocol, mut connection) in connections(&system).await {
        let request = Request::get("https://other.localhost/").body(client::empty()).unwrap();
        let answer = connection.fetch(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{protocol}");
    }
}

/// An app that is not there is a bad gateway, and the page names the request as the access log does.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_down_is_a_bad_gateway() {
    let _turn = shared().await;
    let system = system(([127, 0, 0, 1], free_port()).into()).await;
    let answer = Curl::new(&system.proxies[0]).get(URL).await;
    assert_eq!(answer.status, 502);
    let page = String::from_utf8_lossy(&answer.body);
    until("the request is in the access log", Duration::from_secs(10), async || {
        let log = system.proxies[0].process.stdout();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.find(|line| line["status"] == 502)?;
        assert!(page.contains(line["request_id"].as_str().unwrap()), "{page}");
        assert!(line["error"].is_string(), "{line}");
        Some(())
    })
    .await;
}

/// Several upstreams take turns.
#[tokio::test(flavor = "multi_thread")]
async fn upstreams_take_turns() {
    let _turn = shared().await;
    let apps = [App::start("a"), App::start("b"), App::start("c")];
    let system = System::builder().set("WORKERS", "1").start().await;
    let upstreams: Vec<_> = apps.iter().map(|app| app.addr().to_string()).collect();
    let host = json!({ "host": NAME, "upstreams": upstreams, "force_https": false });
    system.api.create(&host).await;
    let mut connection = client::plain(system.proxies[0].http).await.unwrap();
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..30 {
        let request = Request::get("http://app.localhost/").body(client::empty()).unwrap();
        let answer = connection.fetch(request).await.unwrap();
        *counts.entry(answer.headers()["x-app"].to_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}
