//! Redis, `gatewright-api` and `gatewright-proxy` as three processes: what a person gets through them.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use testkit::client::{self, Front};
use testkit::{App, Curl, Process, System, node, shared, until, within};
use tokio_tungstenite::tungstenite::Message;

const NAME: &str = "app.localhost";

/// The app's bytes come through HTTPS with a certificate of the local authority, which curl verifies.
#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_the_apps_bytes_over_https() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route(NAME, app.addr()).await;

    let answer = Curl::new(&system.proxies[0]).get("https://app.localhost/some/path?q=1&q=2").await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["x-app"], "app");
    let seen: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(seen["uri"], "/some/path?q=1&q=2");
    assert_eq!(seen["headers"]["host"], json!([NAME]));
    assert_eq!(seen["headers"]["x-forwarded-proto"], json!(["https"]));
    assert_eq!(seen["headers"]["x-forwarded-for"], json!(["127.0.0.1"]));
}

/// Plain HTTP answers a redirect to the HTTPS port with path and query kept; what is no GET or HEAD keeps its method.
#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_redirected_with_the_query_kept() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    let host = json!({ "host": NAME, "upstreams": [app.addr().to_string()] });
    system.api.create(&host).await;
    let proxy = &system.proxies[0];

    let answer = Curl::new(proxy).get("http://app.localhost/a%20b?next=%2Fc&x=1").await;
    assert_eq!(answer.status, 301);
    let target = format!("https://app.localhost:{}/a%20b?next=%2Fc&x=1", proxy.https.port());
    assert_eq!(answer.headers["location"], target);

    let posted = Curl::new(proxy).with(&["--data", "x=1"]).get("http://app.localhost/form").await;
    assert_eq!(posted.status, 308);
}

/// A client that offers h2 gets it, one that does not gets HTTP/1.1, and HTTP/1.0 is answered too.
#[tokio::test(flavor = "multi_thread")]
async fn alpn_chooses_the_protocol() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route(NAME, app.addr()).await;

    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1"), ("--http1.0", "1.1 1.0 1")] {
        let answer =
            Curl::new(&system.proxies[0]).with(&[option]).get("https://app.localhost/").await;
        assert_eq!(answer.status, 200, "{option}");
        let versions: Vec<_> = version.split(' ').collect();
        assert!(versions.contains(&answer.version.as_str()), "{option}: HTTP/{}", answer.version);
    }
}

/// A WebSocket over TLS echoes text and a message of a megabyte, and closes in good order.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_echoes() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route(NAME, app.addr()).await;
    let stream = client::tls(&system.proxies[0], NAME, &["http/1.1"]).await.unwrap();

    let url = format!("wss://{NAME}/ws");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![7; 1 << 20])] {
        socket.send(message.clone()).await.unwrap();
        let echo = within("an echo", Duration::from_secs(10), socket.next()).await;
        assert_eq!(echo.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    let end = within("the close", Duration::from_secs(10), socket.next()).await;
    assert!(end.is_none() || end.is_some_and(|it| it.unwrap().is_close()));
}

/// The real Socket.IO client starts with polling, moves to a WebSocket and gets its acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn socket_io_goes_from_polling_to_websocket() {
    let _turn = shared().await;
    let system = System::start().await;
    let app = Process::spawn("app", node("app.js"), system.dir.path());
    let port = until("the app prints its port", Duration::from_secs(20), async || {
        app.stdout().trim().parse::<u16>().ok()
    })
    .await;
    system.api.route(NAME, ([127, 0, 0, 1], port).into()).await;

    let front: &Front = &system.proxies[0];
    let mut client: Command = node("socketio.js");
    client.arg(NAME).arg(front.https.port().to_string()).arg(&front.ca_file);
    client.stdin(Stdio::null());
    let output = tokio::process::Command::from(client).output().await.unwrap();

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told, json!({ "transports": ["polling", "websocket"], "echo": "heard hello" }));
}

/// A name that no pattern matches is told so, over plain HTTP and over TLS with the fallback certificate.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_a_404() {
    let _turn = shared().await;
    let system = System::start().await;
    let curl = Curl::new(&system.proxies[0]).with(&["--insecure"]);
    for url in ["http://nobody.localhost/", "https://nobody.localhost/"] {
        assert_eq!(curl.get(url).await.status, 404, "{url}");
    }
}

/// A deleted host stops being served by the moment the API has answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_host_is_gone_when_the_answer_says_so() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route(NAME, app.addr()).await;
    let curl = Curl::new(&system.proxies[0]);
    assert_eq!(curl.get("http://app.localhost/").await.status, 200);

    let gone = system.api.delete("/api/host/app.localhost?wait=applied").await;
    assert!(gone.status.is_success(), "{}", gone.status);
    assert_eq!(curl.get("http://app.localhost/").await.status, 404);
}
