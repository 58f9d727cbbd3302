//! Whoever may edit hosts does not come by what only the machine was meant to reach.

use serde_json::json;
use testkit::{Curl, System, Up, shared};

use crate::gateway::{set, url};

/// By address, by name, in a route: nothing is sent, the client is told what can be set, the log which address it was.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_the_machines_own_administration() {
    let _turn = shared().await;
    let system = System::start().await;
    let proxy = &system.proxies[0];
    let port = proxy.admin.port();
    for upstream in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        set(&system, "app.localhost", json!({"upstreams": [upstream]})).await;
        let answer = Curl::new(proxy).get(&url("/livez")).await;
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 502, "{upstream}: {text}");
        assert!(text.contains("ALLOW_UPSTREAMS"), "{text}");
    }
    let route = json!([{"path": "/admin", "upstreams": [format!("localhost:{port}")], "strip_prefix": true}]);
    set(&system, "app.localhost", json!({"routes": route})).await;
    assert_eq!(Curl::new(proxy).get(&url("/admin/livez")).await.status, 502);
    let (_, metrics) = proxy.admin("/metrics").await;
    assert!(
        metrics.contains("gatewright_upstream_errors_total{kind=\"out_of_reach\"} 3\n"),
        "{metrics}"
    );
    let log = testkit::until("the log", std::time::Duration::from_secs(10), async || {
        let log = proxy.process.stdout();
        log.contains("/admin/livez").then_some(log)
    });
    let log = log.await;
    assert!(log.contains("is a listener of the gateway's own administration"), "{log}");

    let allowed = System::builder().set("ALLOW_UPSTREAMS", "127.0.0.0/8").start().await;
    let admin = format!("localhost:{}", allowed.proxies[0].admin.port());
    set(&allowed, "app.localhost", json!({"upstreams": [admin]})).await;
    assert_eq!(Curl::new(&allowed.proxies[0]).get(&url("/livez")).await.status, 200);
}

/// What is surely wrong is not even written.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_refuses_what_it_knows() {
    let _turn = shared().await;
    let up = Up::start().await;
    let own = [up.admin.to_string(), up.api_addr.to_string()];
    let metadata =
        ["169.254.169.254:80", "[fe80::1]:80", "100.100.100.200:80", "[fd00:ec2::254]:80"];
    for upstream in own.iter().map(String::as_str).chain(metadata) {
        let wrong = json!({"host": "app.localhost", "upstreams": ["127.0.0.1:9", upstream]});
        let told = up.api.post("/api/host", &wrong).await.expect(422);
        assert_eq!(told["errors"][0]["pointer"], "/upstreams/1", "{told}");
        assert!(
            told["errors"][0]["detail"].as_str().unwrap().contains("ALLOW_UPSTREAMS"),
            "{told}"
        );
    }
    let route = json!([{"path": "/a", "upstreams": ["169.254.169.254:80"]}]);
    let wrong = json!({"host": "app.localhost", "routes": route});
    let told = up.api.post("/api/host", &wrong).await.expect(422);
    assert_eq!(told["errors"][0]["pointer"], "/routes/0/upstreams/0", "{told}");
}
