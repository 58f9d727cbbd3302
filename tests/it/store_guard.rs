//! A store that was wiped, replaced, set back or emptied: proxies keep what they have and say so, until an operator says
//! that the store is right.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Api, App, System, alone, binary, until};

use crate::outages::{loads, nothing_failed, recovered, restart, settled, table};

const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const PASSWORD: &str = "correct horse battery";

/// FLUSHALL under load: nothing fails, the alarm is everywhere it is looked for, the administrator is made anew, and the
/// command line ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_store_is_not_believed_until_it_is_accepted() {
    let _turn = alone().await;
    let mut system = System::builder().proxies(2).start().await;
    let app = App::start("app");
    for name in ["app.localhost", "other.localhost"] {
        system.api.route(name, app.addr()).await;
    }
    settled(&system).await;
    let before = table(&system.proxies[0]).await;
    let running = loads(&system);
    system.redis.command(&["FLUSHALL"]).await;
    alarmed(&system, &["epoch_missing", "epoch_changed"]).await;
    let api = log_in(&system).await;
    let host = json!({ "host": "new.localhost", "upstreams": [app.addr().to_string()] });
    let late = api.post("/api/host?wait=applied&timeout=1s", &host).await.expect(201);
    assert_eq!(
        (&late["applied"], &late["laggards"]),
        (&json!(false), &json!(["proxy0", "proxy1"]))
    );

    let status = api.get("/api/status").await.expect(200);
    assert_eq!(status["guard"]["proxies"], json!(["proxy0", "proxy1"]), "{status}");
    assert!(status["guard"]["action"].as_str().unwrap().contains("gatewright store accept"));
    assert_eq!(status["proxies"][0]["guard"]["reason"], "epoch_changed", "{status}");
    let (code, told) = gatewright(&system, &api, &["status"]);
    assert!(code == 0 && told.contains("gatewright store accept"), "{told}");
    assert!(metric(&system, "epoch_changed").await);
    let kept = table(&system.proxies[0]).await;
    assert_eq!((&kept["digest"], &kept["epoch"]), (&before["digest"], &before["epoch"]));

    // A restart with the file of the old store does not fall for it either.
    nothing_failed(running).await;
    restart(&mut system.proxies[1], 200).await;
    assert_eq!(table(&system.proxies[1]).await["guard"]["reason"], "epoch_changed");
    assert_eq!(table(&system.proxies[1]).await["digest"], before["digest"]);

    let began = Instant::now();
    let (code, told) = gatewright(&system, &api, &["store", "accept"]);
    assert!(code == 0 && told.contains("the store is accepted"), "{told}");
    recovered("accepted", &system, began).await;
    assert_eq!(table(&system.proxies[0]).await["hosts"], 1);
    assert!(!metric(&system, "epoch_changed").await);
    assert_eq!(api.get("/api/status").await.expect(200)["guard"], Value::Null);
    let answer = api.post("/api/store/accept?wait=applied", &json!({})).await.expect(200);
    assert_eq!(answer["applied"], true, "{answer}");
}

/// Started again from an older dump: the same life of the store, but commits are missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_went_back_is_not_believed() {
    let _turn = alone().await;
    let mut system = System::start().await;
    let app = App::start("app");
    system.api.route("app.localhost", app.addr()).await;
    system.redis.command(&["SAVE"]).await;
    system.api.route("lost.localhost", app.addr()).await;
    settled(&system).await;
    let before = table(&system.proxies[0]).await;
    let running = loads(&system);
    crash(&mut system).await;
    alarmed(&system, &["went_back"]).await;
    assert_eq!(table(&system.proxies[0]).await["digest"], before["digest"]);
    nothing_failed(running).await;

    // Further commits don't hide it.
    let host = json!({ "host": "new.localhost", "upstreams": [app.addr().to_string()] });
    for number in 0..30 {
        let name = format!("n{number}.localhost");
        let host =
            json!({ "host": name, "upstreams": [app.addr().to_string()], "certificate": "none" });
        system.api.post("/api/host", &host).await.expect(201);
    }
    let late = system.api.post("/api/host?wait=applied&timeout=1s", &host).await.expect(201);
    assert_eq!(late["laggards"], json!(["proxy0"]));
    let began = Instant::now();
    let answer = system.api.post("/api/store/accept?wait=applied", &json!({})).await.expect(200);
    assert_eq!(answer["applied"], true, "{answer}");
    recovered("accepted", &system, began).await;
}

/// Another, empty Redis at the same address.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_store_is_not_believed() {
    let _turn = alone().await;
    let mut system = System::start().await;
    let app = App::start("app");
    system.api.route("app.localhost", app.addr()).await;
    settled(&system).await;
    let running = loads(&system);
    crash(&mut system).await;
    alarmed(&system, &["epoch_missing", "epoch_changed"]).await;
    let api = log_in(&system).await;
    nothing_failed(running).await;
    let began = Instant::now();
    let answer = api.post("/api/store/accept?wait=applied", &json!({})).await.expect(200);
    assert_eq!(answer["applied"], true, "{answer}");
    recovered("accepted", &system, began).await;
    assert_eq!(table(&system.proxies[0]).await["hosts"], 0);
}

/// A foreign writer takes out most hosts: one by one while the proxy listens, that is its right; while nobody listens, it
/// is a doubt.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_vanish_unseen_are_kept() {
    let _turn = alone().await;
    let mut system = System::start().await;
    let app = App::start("app");
    let name = |number: usize| format!("h{number}.localhost");
    for number in 0..12 {
        let host = json!({
            "host": name(number), "upstreams": [app.addr().to_string()], "certificate": "none",
        });
        system.api.create(&host).await;
    }
    // Seen.
    for number in 10..12 {
        system.redis.command(&["DEL", &format!("proxy_Host_{}", name(number))]).await;
    }
    until("they are gone", PATIENCE, async || {
        (table(&system.proxies[0]).await["hosts"] == 10).then_some(())
    })
    .await;
    // Unseen: the proxy is down.
    crate::outages::end(&mut system.proxies[0]).await;
    for number in 0..6 {
        system.redis.command(&["DEL", &format!("proxy_Host_{}", name(number))]).await;
    }
    restart(&mut system.proxies[0], 200).await;
    alarmed(&system, &["drops_hosts"]).await;
    assert_eq!(table(&system.proxies[0]).await["hosts"], 10);
    let began = Instant::now();
    let answer = system.api.post("/api/store/accept?wait=applied", &json!({})).await.expect(200);
    assert_eq!(answer["applied"], true, "{answer}");
    recovered("accepted", &system, began).await;
    assert_eq!(table(&system.proxies[0]).await["hosts"], 4);
}

/// Kills Redis and starts it with what it saved last, if anything.
async fn crash(system: &mut System) {
    system.redis.process().kill();
    system.redis.process().exit(PATIENCE).await;
    system.redis.start_again().await;
}

pub(crate) async fn alarmed(system: &System, reasons: &[&str]) {
    for proxy in &system.proxies {
        until("the guard is up", PATIENCE, async || {
            let guard = table(proxy).await["guard"].clone();
            reasons.iter().any(|reason| guard["reason"] == *reason).then_some(())
        })
        .await;
    }
}

/// Logs in as the administrator that was made anew, and waits until the proxies know of the new epoch. The account is looked
/// for in Redis: it has five attempts a minute.
pub(crate) async fn log_in(system: &System) -> Api {
    let account = "proxy_User_admin";
    until("the administrator is made anew", PATIENCE, async || {
        let master = system.redis.node(system.redis.master_of(account).await);
        (master.try_command(&["EXISTS", account]).await? == ":1\r\n").then_some(())
    })
    .await;
    let api = Api::login(system.api_addr, "admin", PASSWORD).await;
    alarmed(system, &["epoch_changed"]).await;
    api
}

async fn metric(system: &System, reason: &str) -> bool {
    let metrics = system.proxies[0].admin("/metrics").await.1;
    let line = format!("gatewright_store_guard{{reason=\"{reason}\"}} ");
    let value = metrics.lines().find_map(|it| it.strip_prefix(&line)).expect("the metric");
    value.trim() == "1"
}

/// Runs the command line: exit code, and what it wrote.
pub(crate) fn gatewright(system: &System, api: &Api, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(binary("gatewright"))
        .args(arguments)
        .env("GATEWRIGHT_API", format!("http://{}", system.api_addr))
        .env("GATEWRIGHT_TOKEN", api.token())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    (output.status.code().unwrap_or(-1), text.concat())
}
