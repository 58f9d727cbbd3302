//! Many proxies follow one store.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::load::percentile;
use testkit::{App, System, alone};

use crate::outages::recovered;

const PROXIES: usize = 10;
const CHANGES: usize = 1000;
/// How many of the changes run at once: as many administrators at work.
const AT_ONCE: usize = 4;
/// Wanted: a 99th percentile of 250 ms. Asserted at four times that.
const DEADLINE: Duration = Duration::from_millis(1000);

/// Ten proxies and 1,000 changes, each followed until all ten run it. One that stands still is named, holds nobody up, and
/// catches up when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn ten_proxies_end_up_as_the_store_has_it() {
    let _turn = alone().await;
    let mut system = System::builder().proxies(PROXIES).set("WORKERS", "1").start().await;
    let app = App::start("app");
    let upstream = app.addr().to_string();

    let began = Instant::now();
    let makers = (0..AT_ONCE).map(|maker| changes(&system, &upstream, maker));
    let delays: Vec<_> = futures_util::future::join_all(makers).await.concat();
    let (median, p99) = (percentile(delays.clone(), 0.5), percentile(delays, 0.99));
    println!(
        "{CHANGES} changes to {PROXIES} proxies in {:.1?}: until all run it p50 {median:.1?}, p99 {p99:.1?}",
        began.elapsed()
    );
    assert!(p99 < DEADLINE, "p99 {p99:?}");
    recovered("after the changes", &system, Instant::now()).await;

    system.proxies[3].process.pause();
    let late = system
        .api
        .post("/api/host?wait=applied&timeout=1s", &host("late.localhost", &upstream, true))
        .await
        .expect(201);
    assert_eq!(late["applied"], false, "{late}");
    assert_eq!(late["laggards"], json!(["proxy3"]), "{late}");
    for number in 0..50 {
        let name = format!("paused-{number}.localhost");
        system.api.post("/api/host", &host(&name, &upstream, true)).await.expect(201);
    }
    system.proxies[3].process.resume();
    recovered("the one that stood still", &system, Instant::now()).await;
}

/// Creates, changes and deletes hosts; how long each took from the request until every proxy ran it.
async fn changes(system: &System, upstream: &str, maker: usize) -> Vec<Duration> {
    let mut delays = Vec::new();
    for number in 0..CHANGES / AT_ONCE {
        let name = format!("h{maker}-{}.localhost", number / 3 % 20);
        let path = format!("/api/host/{name}?wait=applied");
        let began = Instant::now();
        let answer = match number % 3 {
            0 => {
                let host = host(&name, upstream, true);
                system.api.post("/api/host?wait=applied", &host).await.expect(201)
            }
            1 => system.api.put(&path, &host(&name, upstream, false)).await.expect(200),
            _ => system.api.delete(&path).await.expect(200),
        };
        assert_eq!(
            (&answer["applied"], &answer["proxies"]),
            (&json!(true), &json!(PROXIES)),
            "{answer}"
        );
        delays.push(began.elapsed());
    }
    delays
}

fn host(name: &str, upstream: &str, force_https: bool) -> Value {
    json!({
        "host": name, "upstreams": [upstream], "force_https": force_https, "certificate": "none",
    })
}
