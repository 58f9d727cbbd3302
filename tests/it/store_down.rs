//! Redis goes away and comes back: what is served goes on, what can't be saved is refused, and the two meet again.

use std::time::Duration;

use serde_json::json;
use testkit::{App, Curl, System, alone, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Without Redis the proxy serves what it has and stays ready, the API refuses changes with 503; with Redis back,
/// changes go through again, with nothing restarted.
#[tokio::test(flavor = "multi_thread")]
async fn the_data_plane_goes_on_without_redis() {
    let _turn = alone().await;
    let mut system = System::start().await;
    let app = App::start("app");
    system.api.route("app.localhost", app.addr()).await;
    let curl = Curl::new(&system.proxies[0]);
    assert_eq!(curl.get("https://app.localhost/").await.status, 200);

    system.redis.stop().await;
    let host = json!({ "host": "late.localhost", "upstreams": [app.addr().to_string()] });
    until("the API refuses a change", PATIENCE, async || {
        (system.api.post("/api/host", &host).await.status == 503).then_some(())
    })
    .await;
    assert_eq!(curl.get("https://app.localhost/").await.status, 200);
    assert_eq!(system.proxies[0].admin("/readyz").await.0, 200);
    assert_eq!(system.proxies[0].admin("/livez").await.0, 200);

    system.redis.start_again().await;
    until("a change goes through", PATIENCE, async || {
        let answer = system.api.post("/api/host?wait=applied&timeout=5s", &host).await;
        assert_ne!(answer.status, 401, "the session lives in Redis, which kept it");
        (answer.status == 201 && answer.json()["applied"] == true).then_some(())
    })
    .await;
    assert_eq!(curl.get("https://late.localhost/").await.status, 200);
    assert_eq!(curl.get("https://app.localhost/").await.status, 200);
}

/// Each probe of an API without its store was a warning in the log, of which there is one every few seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_fails_again_and_again_is_logged_once() {
    let _turn = alone().await;
    let mut system = System::start().await;
    assert_eq!(system.api.get("/readyz").await.status, 200);
    let lines = |system: &System, what: &str| {
        system.api_process.stderr().lines().filter(|line| line.contains(what)).count()
    };
    for round in 1..=2 {
        system.redis.stop().await;
        until("the API is not ready", PATIENCE, async || {
            (system.api.get("/readyz").await.status == 503).then_some(())
        })
        .await;
        for _ in 0..10 {
            assert_eq!(system.api.get("/readyz").await.status, 503);
        }
        system.redis.start_again().await;
        until("the API is ready", PATIENCE, async || {
            (system.api.get("/readyz").await.status == 200).then_some(())
        })
        .await;
        assert_eq!(lines(&system, "not ready any more"), round);
        assert_eq!(lines(&system, "\"/readyz\""), 0, "{}", system.api_process.stderr());
    }
}

/// Both planes come up in any order: a proxy started before anything is in Redis becomes ready, and learns.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_api_finds_everything_as_it_was() {
    let _turn = alone().await;
    let mut system = System::start().await;
    let app = App::start("app");
    system.api.route("app.localhost", app.addr()).await;

    system.restart_api().await;

    assert_eq!(
        system.api.get("/api/host/app.localhost").await.status,
        200,
        "the session lives too"
    );
    system.api.route("new.localhost", app.addr()).await;
    let curl = Curl::new(&system.proxies[0]);
    assert_eq!(curl.get("https://new.localhost/").await.status, 200, "the authority is the same");
}
