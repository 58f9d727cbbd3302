//! Redis, the control plane or both go away, stand still or come back: no request for a known host fails, and the table
//! ends up as the store has it.

use std::time::{Duration, Instant};

use http::Request;
use model::{CertRecord, Host, Secret};
use proxy::Digest;
use runtime::Clock;
use serde_json::{Value, json};
use store::{Sealer, Store};
use store_redis::{RedisBackend, RedisSettings};
use testkit::load::{Ending, Load, Plan};
use testkit::{App, Proxy, System, TestRedis, alone, client, until};

/// Wanted: 2 s from the end of an outage until tables and store agree. Asserted at four times that.
const RECOVERY: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(30);
const NAME: &str = "app.localhost";

/// How long each outage lasts: longer than a command waits for Redis, and than a proxy's report lives.
const OUTAGE: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn redis_gone_and_back() {
    let _turn = alone().await;
    let (mut system, _app) = system().await;
    let loads = loads(&system);
    system.redis.stop().await;
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(system.proxies[0].admin("/readyz").await.0, 200);
    assert_eq!(table(&system.proxies[0]).await["stale"], true);
    system.redis.start_again().await;
    recovered("redis gone", &system, Instant::now()).await;
    nothing_failed(loads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_stands_still_and_goes_on() {
    let _turn = alone().await;
    let (mut system, _app) = system().await;
    let loads = loads(&system);
    system.redis.process().pause();
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(system.proxies[0].admin("/readyz").await.0, 200);
    system.redis.process().resume();
    recovered("redis stopped", &system, Instant::now()).await;
    nothing_failed(loads).await;
}

/// Without the control plane, a change made by others in Redis itself still arrives.
#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_gone_and_back() {
    let _turn = alone().await;
    let (mut system, app) = system().await;
    let loads = loads(&system);
    system.api_process.kill();
    let port = app.addr().port().to_string();
    let record = ["HSET", "proxy_Host_foreign.localhost", "host", "foreign.localhost", "ip"];
    let record = [&record[..], &["127.0.0.1", "targetPort", &port, "forcessl", "false"]].concat();
    system.redis.command(&record).await;
    system.redis.command(&["SADD", "proxy_Host", "foreign.localhost"]).await;
    recovered("api gone", &system, Instant::now()).await;
    system.restart_api().await;
    system.api.route("late.localhost", app.addr()).await;
    recovered("api back", &system, Instant::now()).await;
    nothing_failed(loads).await;
}

/// Both gone while it runs, then a cold start with neither: from the last-known-good file, sealed, and from nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_cold_start_with_neither_serves_what_was_kept() {
    let _turn = alone().await;
    let (mut system, app) = system().await;
    let running = loads(&system);
    system.api_process.kill();
    let before = table(&system.proxies[0]).await;
    system.redis.stop().await;
    tokio::time::sleep(OUTAGE).await;
    nothing_failed(running).await;

    restart(&mut system.proxies[0], 200).await;
    let after = table(&system.proxies[0]).await;
    assert_eq!((&after["digest"], &after["n"]), (&before["digest"], &before["n"]), "{after}");
    assert_eq!((&after["stale"], &after["certs"]), (&json!(true), &before["certs"]));
    let kept = system.dir.path().join("proxy0-state/last-known-good");
    let bytes = std::fs::read(&kept).unwrap();
    assert!(!bytes.windows(9).any(|part| part == b"localhost"), "the file is sealed");
    let curl = testkit::Curl::new(&system.proxies[0]);
    assert_eq!(curl.get(&format!("https://{NAME}/")).await.status, 200);
    let cold = loads(&system);
    system.redis.start_again().await;
    recovered("cold start", &system, Instant::now()).await;
    nothing_failed(cold).await;

    // Damaged: refused by name, and as none.
    system.redis.stop().await;
    end(&mut system.proxies[0]).await;
    std::fs::write(&kept, &bytes[..bytes.len() - 7]).unwrap();
    restart(&mut system.proxies[0], 503).await;
    let log = system.proxies[0].process.stderr();
    assert!(log.contains("last-known-good file is refused") && log.contains("too early"), "{log}");
    let mut connection = client::plain(system.proxies[0].http).await.unwrap();
    let request = Request::get(format!("http://{NAME}/")).body(client::empty()).unwrap();
    assert_eq!(connection.fetch(request).await.unwrap().status(), 503);
    system.redis.start_again().await;
    until("it is ready", PATIENCE, async || ready(&system.proxies[0], 200).await).await;
    drop(app);
}

async fn system() -> (System, App) {
    let system = System::start().await;
    let app = App::start("app");
    system.api.route(NAME, app.addr()).await;
    for number in 0..11 {
        system.api.route(&format!("h{number}.localhost"), app.addr()).await;
    }
    settled(&system).await;
    (system, app)
}

/// Waits until every host has its certificate, in the table and in the file that is kept.
pub(crate) async fn settled(system: &System) {
    for (number, proxy) in system.proxies.iter().enumerate() {
        let file = system.dir.path().join(format!("proxy{number}-state/last-known-good"));
        let mut table_at = None;
        until("every certificate is there and kept", PATIENCE, async || {
            let table = table(proxy).await;
            if table["certs"] != table["hosts"] {
                return None;
            }
            let since = *table_at.get_or_insert_with(|| Clock::system().now());
            (std::fs::metadata(&file).ok()?.modified().ok()? > since
                || since.elapsed().ok()? > Duration::from_secs(6))
            .then_some(())
        })
        .await;
    }
}

pub(crate) fn loads(system: &System) -> Vec<Load> {
    let plan = |label| Plan {
        label,
        rate: 100,
        connections: 4,
        host: NAME.to_owned(),
        path: "/delay/1".to_owned(),
        per_connection: 50,
    };
    let each = system.proxies.iter();
    each.flat_map(|proxy| [Load::h1(proxy.http, &plan("plain")), Load::h1_tls(proxy, &plan("tls"))])
        .collect()
}

pub(crate) async fn nothing_failed(loads: Vec<Load>) {
    // So that there is enough of it, however soon the rest was done.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for load in loads {
        let report = load.finish().await;
        println!("{report}");
        assert!(report.records.len() > 100, "the load ran: {report}");
        assert!(report.except(&[Ending::Whole(200)]).is_empty(), "{report}");
    }
}

/// Waits until every proxy's table is the store's, by its digest.
pub(crate) async fn recovered(what: &str, system: &System, since: Instant) {
    until(&format!("{what}: the table is as the store has it"), RECOVERY, async || {
        let expected = digest(&system.redis).await?;
        for proxy in &system.proxies {
            let table = table(proxy).await;
            let same = table["digest"] == expected && table["stale"] == false;
            (same && table["guard"].is_null()).then_some(())?;
        }
        Some(())
    })
    .await;
    println!("{what}: table and store agree after {:.1?}", since.elapsed());
}

/// What a table filled from this Redis has as its digest, computed from Redis itself.
async fn digest(redis: &TestRedis) -> Option<String> {
    let settings = RedisSettings::new(&Secret::new(redis.url()), "proxy_").ok()?;
    let backend = std::sync::Arc::new(RedisBackend::connect(&settings).await.ok()?);
    let key = Secret::new(format!("{}=", "Q".repeat(43)));
    let sealer = Sealer::new(None, Some(&key), false).ok()?;
    let store = Store::new(backend, sealer, Clock::system());
    let mut digest = Digest::default();
    let hosts = store.list::<Host>(None, 10_000).await.ok()?;
    hosts.records.iter().for_each(|host| digest.add_host(&host.value));
    let certs = store.list::<CertRecord>(None, 10_000).await.ok()?;
    certs.records.iter().for_each(|cert| digest.add_cert(&cert.value));
    Some(digest.to_string())
}

pub(crate) async fn table(proxy: &Proxy) -> Value {
    serde_json::from_str(&proxy.admin("/debug/table").await.1).expect("JSON")
}

pub(crate) async fn end(proxy: &mut Proxy) {
    proxy.process.terminate();
    proxy.process.exit(PATIENCE).await;
}

/// Ends a proxy if it runs and starts it again, until readiness is answered with this status.
pub(crate) async fn restart(proxy: &mut Proxy, status: u16) {
    end(proxy).await;
    proxy.process.restart();
    until("it answers again", PATIENCE, async || ready(proxy, status).await).await;
}

async fn ready(proxy: &Proxy, status: u16) -> Option<()> {
    let mut connection = client::plain(proxy.admin).await.ok()?;
    let request = Request::get(format!("http://{}/readyz", proxy.admin)).body(client::empty());
    let answer = connection.fetch(request.ok()?).await.ok()?;
    // Not ready is final only once it serves: plain HTTP answers, too.
    let mut plain = client::plain(proxy.http).await.ok()?;
    let request = Request::get("http://nobody.localhost/").body(client::empty());
    plain.fetch(request.ok()?).await.ok()?;
    (answer.status().as_u16() == status).then_some(())
}
