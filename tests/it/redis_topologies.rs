//! Two services on Redis as operators run it: over TLS, under sentinels with a master that dies, as a cluster with a
//! master that dies, and on one that stands still for a while.

use std::time::{Duration, Instant};

use http::Request;
use serde_json::json;
use testkit::load::{Ending, Load, Plan, percentile};
use testkit::{App, Curl, System, TestRedis, alone, client, shared, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A load on a host over plain HTTP.
fn load(system: &System, host: &str) -> Load {
    let plan = Plan {
        label: "load",
        rate: 100,
        connections: 4,
        host: host.to_owned(),
        path: "/delay/0".to_owned(),
        per_connection: 0,
    };
    Load::h1(system.proxies[0].http, &plan)
}

/// Ends a load that must not have noticed anything.
async fn unharmed(load: Load) {
    let report = load.finish().await;
    println!("{report}");
    assert!(report.records.len() > 100, "the load ran");
    assert!(report.except(&[Ending::Whole(200)]).is_empty(), "{report}");
}

/// Creates a host and waits until the proxy answers for it: how long that took since the create was first tried, and
/// since it was accepted.
async fn create(system: &System, name: &str, app: &App) -> (Duration, Duration) {
    let host = json!({
        "host": name, "upstreams": [app.addr().to_string()], "force_https": false, "certificate": "none",
    });
    let start = Instant::now();
    let mut accepted = start;
    until("the host is created", PATIENCE, async || {
        accepted = Instant::now();
        let status = system.api.post("/api/host", &host).await.status;
        // 409: an attempt that was answered with 503 had been carried out.
        (status == 201 || status == 409).then_some(())
    })
    .await;
    let mut connection = client::plain(system.proxies[0].http).await.unwrap();
    loop {
        let request = Request::get(format!("http://{name}/")).body(client::empty()).unwrap();
        if connection.fetch(request).await.unwrap().status() == 200 {
            return (start.elapsed(), accepted.elapsed());
        }
        assert!(accepted.elapsed() < PATIENCE, "{name} never reached the proxy");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The epoch and number that a proxy runs by.
async fn applied(system: &System) -> (String, u64) {
    let table = system.proxies[0].admin("/debug/table").await.1;
    let table: serde_json::Value = serde_json::from_str(&table).expect("JSON");
    (table["epoch"].to_string(), table["n"].as_u64().unwrap_or_default())
}

/// Kills the master under load: no request fails, changes are accepted again and reach the proxy, and the store is
/// still the same life of it, going forward.
async fn survives_its_master(mut system: System, app: App) {
    system.api.route("steady.localhost", app.addr()).await;
    let load = load(&system, "steady.localhost");
    for number in 0..20 {
        create(&system, &format!("before-{number}.localhost"), &app).await;
    }
    let before = applied(&system).await;
    let key = if system.redis.url().starts_with("redis-cluster") { "{proxy}_x" } else { "x" };
    let master = system.redis.master_of(key).await;
    system.redis.nodes()[master].kill().await;
    let (since_kill, since_accepted) = create(&system, "after.localhost", &app).await;
    println!(
        "a host made after the kill answers {since_kill:.1?} later, {since_accepted:.1?} after it was accepted"
    );
    // The records of a revision are applied before it is published.
    until("the proxy is ahead of where it was", PATIENCE, async || {
        let after = applied(&system).await;
        assert_eq!(after.0, before.0, "the epoch");
        assert!(after.1 >= before.1, "{before:?} {after:?}");
        (after.1 > before.1).then_some(())
    })
    .await;
    for number in 0..20 {
        let answer = system.api.get(&format!("/api/host/before-{number}.localhost")).await;
        assert_eq!(answer.status, 200, "an acknowledged write is there");
    }
    // The dead one comes back, as a replica, and nothing changes.
    system.redis.nodes()[master].start_again().await;
    create(&system, "last.localhost", &app).await;
    unharmed(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_planes_work_over_tls() {
    let _turn = shared().await;
    let redis = TestRedis::setup().password("word").tls(&["127.0.0.1"]).start().await;
    let system = System::builder().redis(redis).start().await;
    let app = App::start("app");
    system.api.route("app.localhost", app.addr()).await;
    let curl = Curl::new(&system.proxies[0]);
    assert_eq!(curl.get("https://app.localhost/").await.status, 200);
    let plain = system.redis.node(0).info("connected_clients").await.unwrap();
    println!("{plain} clients over TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_by_sentinels_is_not_noticed_by_clients() {
    let _turn = alone().await;
    let redis = TestRedis::setup().password("word").sentinel(2).start().await;
    let system = System::builder().redis(redis).start().await;
    survives_its_master(system, App::start("app")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_when_a_master_dies() {
    let _turn = alone().await;
    let redis = TestRedis::setup().cluster().start().await;
    let system = System::builder().redis(redis).start().await;
    let app = App::start("app");
    let mut delays = Vec::new();
    for number in 0..100 {
        delays.push(create(&system, &format!("quick-{number}.localhost"), &app).await.1);
    }
    let (median, p99) = (percentile(delays.clone(), 0.5), percentile(delays, 0.99));
    println!("cluster, host created to answer: p50 {median:.1?}, p99 {p99:.1?}");
    survives_its_master(system, app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stands_still_for_a_while_is_lived_with() {
    let _turn = alone().await;
    let mut system = System::start().await;
    let app = App::start("app");
    system.api.route("steady.localhost", app.addr()).await;
    let load = load(&system, "steady.localhost");
    system.redis.process().pause();
    let still = Instant::now();
    let host = json!({ "host": "refused.localhost", "upstreams": ["127.0.0.1:9"] });
    while still.elapsed() < Duration::from_secs(5) {
        let begin = Instant::now();
        let answer = system.api.post("/api/host", &host).await;
        assert_eq!(answer.status, 503, "{:?}", answer.json());
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
    assert_eq!(system.proxies[0].admin("/readyz").await.0, 200);
    system.redis.process().resume();
    let (since_resumed, _) = create(&system, "after.localhost", &app).await;
    println!("a host made after the pause answers {since_resumed:.1?} later");
    unharmed(load).await;
}

/// What an idle system costs: printed, and bounded only against a loop gone wild.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_system_costs_next_to_nothing() {
    let _turn = alone().await;
    let mut system = System::start().await;
    let commands = async |system: &System| {
        let count = system.redis.node(0).info("total_commands_processed").await.unwrap();
        count.parse::<u64>().unwrap()
    };
    // The first seconds are those of starting.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let span = Duration::from_secs(20);
    let times = |system: &mut System| {
        [
            system.proxies[0].process.processor_time(),
            system.api_process.processor_time(),
            system.redis.process().processor_time(),
        ]
    };
    let (before, counted) = (times(&mut system), commands(&system).await);
    tokio::time::sleep(span).await;
    let (after, count) = (times(&mut system), commands(&system).await - counted);
    let share = |one: usize| {
        (after[one].saturating_sub(before[one])).as_secs_f64() / span.as_secs_f64() * 100.0
    };
    let rate = count as f64 / span.as_secs_f64();
    println!(
        "idle: proxy {:.2} %, api {:.2} %, redis {:.2} % of a core; {rate:.1} commands/s",
        share(0),
        share(1),
        share(2)
    );
    assert!(rate < 100.0, "{rate} commands per second");
}
