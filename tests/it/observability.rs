//! What an operator can see: one access-log line per request, metrics, and a table that says what is served.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use testkit::{App, Curl, System, shared, until};

const NAME: &str = "app.localhost";

/// A request leaves one line of JSON with who, what, where to and how long; secrets are not in it.
#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_tells_who_what_and_how_long() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route("*.localhost", app.addr()).await;
    let proxy = &system.proxies[0];
    let curl = Curl::new(proxy).with(&[
        "--user-agent",
        "probe \"1\"",
        "--header",
        "cookie: c00kie=1",
        "--header",
        "authorization: Bearer s3cret",
    ]);
    assert_eq!(curl.get("https://app.localhost/delay/50?q=1").await.status, 200);

    let line = until("an access-log line", Duration::from_secs(10), async || {
        let written = proxy.process.stdout();
        let mut lines = written.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["uri"] == "/delay/50?q=1")
    })
    .await;
    for (field, value) in [
        ("client_ip", "127.0.0.1"),
        ("remote_ip", "127.0.0.1"),
        ("method", "GET"),
        ("scheme", "https"),
        ("host", NAME),
        ("host_pattern", "*.localhost"),
        ("upstream", &app.addr().to_string()),
        ("server_name", NAME),
        ("user_agent", "probe \"1\""),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert_eq!(line["status"], 200);
    assert!(line["duration_ms"].as_f64().unwrap() >= 50.0, "{line}");
    assert!(line["upstream_ms"].as_f64().unwrap() >= 50.0, "{line}");
    assert!(line["tls_version"].as_str().unwrap().contains("1.3"), "{line}");
    assert!(line["request_id"].is_string() && line["ts"].is_string(), "{line}");
    let all = proxy.process.stdout() + &proxy.process.stderr();
    assert!(!all.contains("c00kie") && !all.contains("s3cret"), "secrets are not logged");
}

/// Both programs give metrics in the Prometheus text format, with names of ours, and requests count.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_well_formed_and_count() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route(NAME, app.addr()).await;
    let curl = Curl::new(&system.proxies[0]);
    for _ in 0..7 {
        assert_eq!(curl.get("https://app.localhost/").await.status, 200);
    }
    let (status, text) = system.proxies[0].admin("/metrics").await;
    assert_eq!(status, 200);
    let proxy = samples(&text);
    let requests: f64 =
        proxy.iter().filter(|(it, _)| it.contains("requests_total")).map(|(_, value)| value).sum();
    assert!(requests >= 7.0, "{text}");

    let answer = system.api.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(!samples(&String::from_utf8_lossy(&answer.body)).is_empty());
}

/// Two proxies on one store hold the same table, and say so.
#[tokio::test(flavor = "multi_thread")]
async fn two_proxies_hold_the_same_table() {
    let _turn = shared().await;
    let (system, app) = (System::builder().proxies(2).start().await, App::start("app"));
    for name in ["a.localhost", "*.b.localhost", "**.c.localhost"] {
        system.api.route(name, app.addr()).await;
    }
    until("both tables are equal", Duration::from_secs(10), async || {
        let mut digests = BTreeSet::new();
        for proxy in &system.proxies {
            let (status, text) = proxy.admin("/debug/table").await;
            assert_eq!(status, 200);
            let table: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(table["hosts"], 3, "{table}");
            digests.insert(table["digest"].to_string());
        }
        (digests.len() == 1).then_some(())
    })
    .await;
    let status = system.api.get("/api/status").await.expect(200);
    assert_eq!(status["proxies"].as_array().map(Vec::len), Some(2), "{status}");
}

/// Parses the text format strictly enough to find what a scraper would refuse.
fn samples(text: &str) -> Vec<(String, f64)> {
    let mut seen = BTreeSet::new();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        // `process_` is what every Prometheus client calls the process itself.
        let known = series.starts_with("gatewright_") || series.starts_with("process_");
        assert!(known, "neither ours nor the process': {line}");
        assert!(seen.insert(series), "twice: {series}");
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().expect(line) };
        samples.push((series.to_owned(), value));
    }
    samples
}
