//! One client can't take all connections; and a host's figures stand by themselves.

use std::time::Duration;

use serde_json::json;
use testkit::{App, Curl, System, shared, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Fixed, set, url};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: app.localhost\r\n\r\n";

/// Whether a new connection is served; it stays open then.
async fn connect(system: &System) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(system.proxies[0].front().http).await.unwrap();
    // A reset is a refusal too.
    let _ = stream.write_all(REQUEST).await;
    let mut answer = [0; 12];
    match stream.read_exact(&mut answer).await {
        Ok(_) => {
            assert_eq!(&answer, b"HTTP/1.1 200");
            Some(stream)
        }
        Err(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_so_many_connections_and_others_have_theirs() {
    let _turn = shared().await;
    let system = System::builder()
        .set("MAX_CONNECTIONS_PER_CLIENT", "3")
        .set("TRUSTED_PROXIES", "127.0.0.3")
        .set("WORKERS", "2")
        .start()
        .await;
    let app = Fixed::ok();
    set(&system, "app.localhost", json!({"upstreams": [app.addr()]})).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(connect(&system).await.expect("a place"));
    }
    for _ in 0..5 {
        assert!(connect(&system).await.is_none(), "one too many was served");
    }
    let from = async |ip: &str| {
        let curl = Curl::new(&system.proxies[0]).with(&["--interface", ip]);
        curl.try_get(&url("/")).await.map(|answer| answer.status)
    };
    assert_eq!(from("127.0.0.2").await, Ok(200));
    assert_eq!(from("127.0.0.3").await, Ok(200));
    assert!(from("127.0.0.1").await.is_err());
    let (_, metrics) = system.proxies[0].admin("/metrics").await;
    let refused = "gatewright_connections_refused_total{reason=\"client_limit\"} 6\n";
    assert!(metrics.contains(refused), "{metrics}");
    let told = system.proxies[0].process.stderr();
    assert_eq!(told.matches("too many connections").count(), 1, "{told}");
    open.pop();
    let again = async || connect(&system).await;
    until("there is a place again", Duration::from_secs(10), again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_hosts_have_histograms_of_their_own() {
    let _turn = shared().await;
    let system = System::builder().set("METRICS_HOST_HISTOGRAMS", "1").start().await;
    let app = App::start("app");
    let curl = Curl::new(&system.proxies[0]);
    for host in ["first.localhost", "second.localhost"] {
        set(&system, host, json!({"upstreams": [app.addr().to_string()]})).await;
        assert_eq!(curl.get(&format!("http://{host}/bytes/5000")).await.status, 200);
    }
    for line in [
        "gatewright_host_request_duration_seconds_count{host=\"first.localhost\"} 1",
        "gatewright_host_request_duration_seconds_count{host=\"other\"} 1",
        "gatewright_host_response_body_bytes_sum{host=\"first.localhost\"} 5000",
        "gatewright_host_response_body_bytes_bucket{host=\"other\",le=\"16384\"} 1",
    ] {
        until(line, Duration::from_secs(10), async || {
            system.proxies[0].admin("/metrics").await.1.contains(&format!("{line}\n")).then_some(())
        })
        .await;
    }
}
