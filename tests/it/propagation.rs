//! A change by REST reaches every proxy quickly, and no request notices.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Request;
use serde_json::json;
use testkit::load::{Ending, Load, Plan, percentile};
use testkit::{App, System, alone, client};

const CHANGES: usize = 200;
/// From one change to the next, so that the load sees them all.
const PACE: Duration = Duration::from_millis(20);
/// Wanted: a 99th percentile of 250 ms. Asserted at four times that, for a busy machine.
const DEADLINE: Duration = Duration::from_millis(1000);

/// 200 changes of a host's upstream, each followed until both proxies answer from the new one, while requests for
/// that host and for another run through both.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_changes_reach_two_proxies_under_load() {
    let _turn = alone().await;
    let system = System::builder().proxies(2).start().await;
    let apps = [App::start("even"), App::start("odd")];
    system.api.route("steady.localhost", apps[0].addr()).await;
    system.api.route("moving.localhost", apps[0].addr()).await;
    let loads: Vec<_> = system
        .proxies
        .iter()
        .flat_map(|proxy| {
            ["steady.localhost", "moving.localhost"].map(|host| Load::h1(proxy.http, &plan(host)))
        })
        .collect();

    let mut delays = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    for change in 1..=CHANGES {
        pace.tick().await;
        let app = &apps[change % 2];
        let host = json!({
            "host": "moving.localhost",
            "upstreams": [app.addr().to_string()],
            "force_https": false,
        });
        let began = Instant::now();
        let saved = system.api.put("/api/host/moving.localhost", &host).await;
        saved.expect(200);
        let name = ["even", "odd"][change % 2];
        for proxy in &system.proxies {
            let answered = answers_from(proxy.http, name, began).await;
            delays.push(answered);
        }
    }

    let (median, p99) = (percentile(delays.clone(), 0.5), percentile(delays, 0.99));
    println!("change to answer, {CHANGES} changes, two proxies: p50 {median:.1?}, p99 {p99:.1?}");
    assert!(p99 < DEADLINE, "p99 {p99:?}");
    for load in loads {
        let report = load.finish().await;
        println!("{report}");
        assert!(report.records.len() > 100, "the load ran");
        assert!(report.except(&[Ending::Whole(200)]).is_empty(), "{report}");
    }
}

fn plan(host: &str) -> Plan {
    Plan {
        label: "load",
        rate: 100,
        connections: 4,
        host: host.to_owned(),
        path: "/delay/0".to_owned(),
        per_connection: 0,
    }
}

/// Asks until the answer comes from `name`; how long after `began` the question was put that got it.
async fn answers_from(proxy: SocketAddr, name: &str, began: Instant) -> Duration {
    let mut connection = client::plain(proxy).await.unwrap();
    loop {
        let asked = began.elapsed();
        let request = Request::get("http://moving.localhost/").body(client::empty());
        let answer = connection.fetch(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        if answer.headers()["x-app"] == name {
            return asked;
        }
        assert!(asked < DEADLINE * 5, "the change never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
