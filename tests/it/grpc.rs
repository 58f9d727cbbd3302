//! gRPC by the real implementation for Node.js, client and service, with the proxy between them.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Curl, Process, System, node, shared, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NAME: &str = "grpc.test";

async fn service(system: &System) -> (Process, u16) {
    let mut command = node("grpc.js");
    command.arg("serve");
    let service = Process::spawn("grpc", command, system.dir.path());
    let port = until("the service prints its port", Duration::from_secs(20), async || {
        service.stdout().lines().next()?.parse::<u16>().ok()
    })
    .await;
    (service, port)
}

/// Every kind of call, a megabyte at a time and many at once; errors and deadlines arrive at the other end.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_call_goes_through() {
    let _turn = shared().await;
    let system = System::start().await;
    let (service, port) = service(&system).await;
    let record = json!({
        "host": NAME, "upstreams": [format!("127.0.0.1:{port}")], "upstream_http": "2",
    });
    let made = system.api.post("/api/host?wait=applied", &record).await.expect(201);
    assert_eq!(made["upstream_http"], "2");
    let front = system.proxies[0].front();

    let mut client = node("grpc.js");
    client.arg("call").arg(NAME).arg(front.https.port().to_string()).arg(&front.ca_file);
    client.stdin(Stdio::null());
    let output = tokio::process::Command::from(client).output().await.unwrap();

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let want = json!({
        "unary": { "same": true, "code": 0, "length": "1048576", "seen": "my own" },
        "many": 200,
        // FAILED_PRECONDITION and DEADLINE_EXCEEDED.
        "refuse": { "code": 9, "details": "not today: ünready" },
        "deadline": 4,
        "count": true,
        "gather": 5 << 20,
        "chat": ["heard 0", "heard 1", "heard 2"],
    });
    assert_eq!(told, want);
    until("the service hears that the caller gave up", Duration::from_secs(20), async || {
        service.stdout().contains("cancelled").then_some(())
    })
    .await;

    let asked = format!("/api/explain?url=https://{NAME}/test.Echo/Unary");
    let explained = system.api.get(&asked).await.expect(200);
    assert!(explained["outcome"].as_str().unwrap().ends_with("by HTTP/2"), "{explained}");
}

/// An app that only speaks HTTP/1.1 is a bad gateway, and the log says why; a wrong version is refused by name.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_of_the_older_version_is_told_from_one_of_the_newer() {
    let _turn = shared().await;
    let system = System::start().await;
    let app = testkit::App::start("app");
    let mut record = json!({
        "host": NAME, "upstreams": [app.addr().to_string()], "upstream_http": "2", "force_https": false,
    });
    system.api.post("/api/host?wait=applied", &record).await.expect(201);
    let proxy = &system.proxies[0];
    let url = format!("http://{NAME}/");
    assert_eq!(Curl::new(proxy).get(&url).await.status, 502);
    until("the log says why", Duration::from_secs(20), async || {
        let log = proxy.process.stdout() + &proxy.process.stderr();
        log.contains("it does not speak HTTP/2").then_some(())
    })
    .await;

    record["upstream_http"] = json!("3");
    let path = format!("/api/host/{NAME}?wait=applied");
    let told = system.api.put(&path, &record).await.expect(422);
    assert_eq!(told["errors"][0]["pointer"], "/upstream_http", "{told}");
    record["upstream_http"] = json!("1");
    system.api.put(&path, &record).await.expect(200);
    assert_eq!(Curl::new(proxy).get(&url).await.status, 200);
}

/// A client of HTTP/1.1 that takes trailers gets those of an app of HTTP/2: here the status of a call.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_an_app_reach_a_client_of_the_older_version() {
    let _turn = shared().await;
    let system = System::start().await;
    let (_service, port) = service(&system).await;
    let record = json!({
        "host": NAME, "upstreams": [format!("127.0.0.1:{port}")], "upstream_http": "2", "force_https": false,
    });
    system.api.post("/api/host?wait=applied", &record).await.expect(201);

    let mut client = TcpStream::connect(system.proxies[0].http).await.unwrap();
    let head = format!(
        "POST /test.Echo/Unary HTTP/1.1\r\nHost: {NAME}\r\nTE: trailers\r\nConnection: TE, close\r\n\
         Content-Type: application/grpc\r\nContent-Length: 5\r\n\r\n"
    );
    // A message without fields, not compressed.
    client.write_all(&[head.as_bytes(), &[0; 5]].concat()).await.unwrap();
    let mut answer = Vec::new();
    let reading = client.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    let (_, trailers) = answer.split_once("\r\n0\r\n").expect("a last chunk");
    assert!(trailers.contains("grpc-status: 0\r\n"), "{answer}");
}
