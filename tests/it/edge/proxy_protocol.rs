//! Whose a connection is, told by a proxy before us and to apps behind us; with HAProxy and nginx as the other side.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::client::Front;
use testkit::{App, Curl, Process, System, free_port, shared, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Fixed, set};

const PATIENCE: Duration = Duration::from_secs(10);

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// HAProxy before both listeners of a proxy, saying whose connections are in one of both versions.
async fn haproxy(dir: &Path, system: &System, option: &str) -> (Front, Process) {
    let front = system.proxies[0].front();
    let (http, https) = (local(), local());
    let part = |name, at: SocketAddr, to: SocketAddr| {
        format!("listen {name}\n  bind {at}\n  server proxy {to} source 127.0.0.1 {option}\n")
    };
    let text =
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
            .to_owned()
            + &part("plain", http, front.http)
            + &part("tls", https, front.https);
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    let process = Process::spawn("haproxy", command, dir);
    until("HAProxy listens", PATIENCE, async || TcpStream::connect(https).await.ok()).await;
    (Front { http, https, ..front.clone() }, process)
}

/// On both listeners, before TLS: who connected to HAProxy is the client for the log, the rules and the app.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_before_us_says_whose_a_connection_is() {
    let _turn = shared().await;
    let system = System::builder().set("PROXY_PROTOCOL_FROM", "127.0.0.1").start().await;
    let app = App::start("app");
    let rules = json!({"upstreams": [app.addr().to_string()], "deny": ["127.0.0.8"]});
    set(&system, "app.localhost", rules).await;
    for option in ["send-proxy", "send-proxy-v2"] {
        let dir = tempfile::tempdir().unwrap();
        let (front, _haproxy) = haproxy(dir.path(), &system, option).await;
        let from = |ip: &str| Curl::new(&front).with(&["--interface", ip]);
        for address in ["http://app.localhost/who", "https://app.localhost/who"] {
            let answer = from("127.0.0.7").get(address).await;
            let told: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(
                told["headers"]["x-forwarded-for"],
                json!(["127.0.0.7"]),
                "{option}: {told}"
            );
            assert_eq!(from("127.0.0.8").get(address).await.status, 403, "{option}");
        }
    }
    let log = until("four lines", PATIENCE, async || {
        let log = system.proxies[0].process.stdout();
        (log.matches("\"/who\"").count() == 8).then_some(log)
    })
    .await;
    assert_eq!(log.matches("\"remote_ip\":\"127.0.0.7\"").count(), 4, "{log}");
}

/// Without a header there is nobody to serve; from others one is no header; one that does not come ends the connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_must_come_from_these_and_from_nobody_else() {
    let _turn = shared().await;
    let system = System::builder()
        .set("PROXY_PROTOCOL_FROM", "127.0.0.1")
        .set("HEADER_TIMEOUT", "1s")
        .start()
        .await;
    let app = Fixed::ok();
    set(&system, "app.localhost", json!({"upstreams": [app.addr()]})).await;
    let front = system.proxies[0].front();
    let request = "GET / HTTP/1.1\r\nhost: app.localhost\r\nconnection: close\r\n\r\n";
    let send = async |bytes: String| {
        let mut stream = TcpStream::connect(front.http).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Closed with bytes unread it is reset.
        let _ =
            tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed");
        String::from_utf8(answer).unwrap()
    };
    let line = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n";
    assert!(send(format!("{line}{request}")).await.starts_with("HTTP/1.1 200"));
    assert!(app.heads()[0].to_lowercase().contains("x-forwarded-for: 203.0.113.9"));
    assert!(send(format!("PROXY UNKNOWN\r\n{request}")).await.starts_with("HTTP/1.1 200"));
    assert!(app.heads()[1].to_lowercase().contains("x-forwarded-for: 127.0.0.1"));
    for wrong in
        [request.to_owned(), format!("PROXY TCP4 1\r\n{request}"), "PROXY TCP4 20".to_owned()]
    {
        assert_eq!(send(wrong.clone()).await, "", "{wrong}");
    }
    assert!(Curl::new(front).try_get("https://app.localhost/").await.is_err());
    let other = Curl::new(front).with(&["--interface", "127.0.0.2"]);
    assert_eq!(other.get("http://app.localhost/").await.status, 200);
    let forged = other.with(&["--haproxy-protocol"]);
    assert_eq!(forged.get("http://app.localhost/").await.status, 400);
    let (_, metrics) = system.proxies[0].admin("/metrics").await;
    let refused = "gatewright_connections_refused_total{reason=\"proxy_protocol\"} 4\n";
    assert!(metrics.contains(refused), "{metrics}");
}

/// An app behind us is told in either version, each client for itself, however many requests it sends.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_told_whose_a_connection_is() {
    let _turn = shared().await;
    let system = System::start().await;
    let (dir, at) = (tempfile::tempdir().unwrap(), local());
    let file = dir.path().join("nginx.conf");
    let conf = format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log stderr;\n\
         events {{}}\nhttp {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0};\n\
         uwsgi_temp_path {0}; scgi_temp_path {0};\n\
         server {{ listen {at} proxy_protocol; location / {{\n\
         return 200 \"$proxy_protocol_addr for $proxy_protocol_server_port on $connection\"; }} }} }}\n",
        dir.path().display()
    );
    std::fs::write(&file, conf).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
    let _nginx = Process::spawn("nginx", command, dir.path());
    until("nginx listens", PATIENCE, async || TcpStream::connect(at).await.ok()).await;
    let port = system.proxies[0].front().http.port();
    for version in ["v1", "v2"] {
        let rules = json!({"upstreams": [at.to_string()], "upstream_proxy_protocol": version});
        set(&system, "app.localhost", rules).await;
        let mut connections = Vec::new();
        for ip in ["127.0.0.1", "127.0.0.5", "127.0.0.6"] {
            let curl = Curl::new(&system.proxies[0]).with(&["--interface", ip]);
            let answer = curl.get("http://app.localhost/").await;
            let text = String::from_utf8(answer.body).unwrap();
            assert_eq!(answer.status, 200, "{version}: {text}");
            let (told, connection) = text.split_once(" on ").unwrap();
            assert_eq!(told, format!("{ip} for {port}"), "{version}");
            connections.push(connection.to_owned());
        }
        connections.dedup();
        assert_eq!(connections.len(), 3, "no connection serves two clients");
    }
    let wrong = json!({"host": "app.localhost", "upstream_proxy_protocol": "v3"});
    let told = system.api.put("/api/host/app.localhost", &wrong).await.expect(422);
    assert_eq!(told["errors"][0]["pointer"], "/upstream_proxy_protocol", "{told}");
    let explained = system.api.get("/api/explain?url=http://app.localhost/&client=192.0.2.1").await;
    let outcome = explained.expect(200)["outcome"].clone();
    assert!(outcome.as_str().unwrap().contains("PROXY protocol, version 2"), "{outcome}");
}
