//! Certificates by ACME: issued at a host's creation, on demand, for wildcards, once among replicas, and renewed in time.

use std::time::Duration;

use serde_json::json;
use testkit::{Api, App, Process, System, shared, until};

use crate::authority::{Authority, ISSUED, certificate, create, served};

/// No step but the creation of a host: by HTTP-01, for a wildcard by DNS-01, on demand under a pattern.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_has_a_trusted_certificate_without_a_further_step() {
    let _turn = shared().await;
    let authority = Authority::start(|_| {}).await;
    let (system, app) = (authority.system(2, &[]).await, App::start("app"));
    let (_second, _process) = system.another_api().await;

    let mut took = Vec::new();
    for number in 0..3 {
        let name = format!("n{number}.gw.test");
        create(&system.api, &name, &app).await;
        took.push(served(&authority, &system, &name).await);
    }
    took.sort_unstable();
    println!("HTTP-01: a certificate after {:?} (median), {:?} (longest)", took[1], took[2]);

    authority.provide(&system.api).await;
    create(&system.api, "*.w.gw.test", &app).await;
    println!("DNS-01: after {:?}", served(&authority, &system, "any.w.gw.test").await);
    served(&authority, &system, "w.gw.test").await;
    assert_eq!(
        authority.dns.txt("_acme-challenge.w.gw.test"),
        Vec::<String>::new(),
        "no stray TXT"
    );

    create(&system.api, "**.d.gw.test", &app).await;
    println!("on demand: after {:?}", served(&authority, &system, "a.d.gw.test").await);

    let view = certificate(&system.api, "n0.gw.test").await;
    assert_eq!((view["source"].as_str(), view["status"].as_str()), (Some("acme"), Some("valid")));
    assert!(!view.to_string().contains("PRIVATE KEY"));
    // What is renewed on request is another certificate, and nobody sees a gap.
    let before = authority.pebble.certificates();
    system.api.post("/api/host/n0.gw.test/renew", &json!({})).await.expect(202);
    until("it is renewed", ISSUED, async || {
        let next = certificate(&system.api, "n0.gw.test").await;
        (next["serial"] != view["serial"]).then_some(())
    })
    .await;
    assert_eq!(authority.pebble.certificates(), before + 1);
}

/// Where port 80 is not to be had, the proof is a handshake.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_proved_by_a_handshake() {
    let _turn = shared().await;
    let authority = Authority::start(|_| {}).await;
    let system = authority.system(2, &[("ACME_CHALLENGES", "tls-alpn-01")]).await;
    let app = App::start("app");
    create(&system.api, "alpn.gw.test", &app).await;
    println!("TLS-ALPN-01: after {:?}", served(&authority, &system, "alpn.gw.test").await);
}

/// Fifty hosts at once over two replicas are fifty orders. A replica is killed in the middle of its orders, another one
/// stands still until its leases are over: each name ends with one certificate, and nothing is left in the DNS.
#[tokio::test(flavor = "multi_thread")]
async fn among_replicas_each_name_is_ordered_once() {
    let _turn = shared().await;
    let authority = Authority::start(|it| it.nonce_reject = 0).await;
    let (system, app) = (authority.system(2, &[]).await, App::start("app"));
    let (second, process) = system.another_api().await;
    let names: Vec<_> = (0..50).map(|number| format!("m{number}.gw.test")).collect();
    for (number, name) in names.iter().enumerate() {
        create(if number % 2 == 0 { &system.api } else { &second }, name, &app).await;
    }
    all_valid(&system.api, &names).await;
    assert_eq!(authority.pebble.orders(), 50);
    assert_eq!(authority.pebble.certificates(), 50);
    killed_and_paused(&authority, system, second, process, &app).await;
}

async fn killed_and_paused(
    authority: &Authority,
    mut system: System,
    second: Api,
    mut process: Process,
    app: &App,
) {
    authority.provide(&system.api).await;
    let names: Vec<_> = (0..10).map(|number| format!("*.k{number}.gw.test")).collect();
    let (orders, certificates) = (authority.pebble.orders(), authority.pebble.certificates());
    for name in &names {
        create(&second, name, app).await;
    }
    until("orders are under way", ISSUED, async || {
        (authority.pebble.orders() >= orders + 3).then_some(())
    })
    .await;
    system.api_process.pause();
    process.kill();
    process.exit(Duration::from_secs(10)).await;
    let (third, _process) = system.another_api().await;
    all_valid(&third, &names).await;
    system.api_process.resume();
    until("the one that stood still answers", ISSUED, async || {
        let answer = system.api.get("/api/cert/*.k0.gw.test").await;
        (answer.status == 200).then_some(())
    })
    .await;
    let made = authority.pebble.certificates() - certificates;
    let ordered = authority.pebble.orders() - orders;
    println!("10 names, one replica killed and one paused: {ordered} orders, {made} certificates");
    assert!(ordered <= 20, "{ordered} orders");
    for number in 0..10 {
        let name = format!("_acme-challenge.k{number}.gw.test");
        until(&format!("{name} is cleared"), ISSUED, async || {
            authority.dns.txt(&name).is_empty().then_some(())
        })
        .await;
    }
}

async fn all_valid(api: &Api, names: &[String]) {
    for name in names {
        until(&format!("{name} has its certificate"), ISSUED * 2, async || {
            let view = api.get(&format!("/api/cert/{name}")).await;
            (view.status == 200 && view.json()["status"] == "valid").then_some(())
        })
        .await;
    }
}
