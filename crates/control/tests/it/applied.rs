use std::time::Duration;

use control::Applied;
use model::{Revision, Timestamp};
use store::ProxyReport;

use crate::world::World;

async fn report(world: &World, instance: &str, revision: &Revision) {
    let report = ProxyReport {
        instance: instance.to_owned(),
        revision: revision.clone(),
        workers: 2,
        hosts: 0,
        certs: 0,
        guard: None,
        rejected: Vec::new(),
        ailing: Vec::new(),
        started_at: Timestamp::from(world.clock.now()),
        version: "1".to_owned(),
        addr: "127.0.0.1:9180".to_owned(),
    };
    world.store.put_lease(&report, Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn without_a_proxy_everything_is_applied() {
    let world = World::new();
    world.admin().await;
    let revision = world.store.backend().revision().await.unwrap();
    let applied = world.control.wait_applied(&revision, Duration::from_secs(5)).await.unwrap();
    assert_eq!(applied, Applied { applied: true, proxies: 0, laggards: vec![] });
}

#[tokio::test]
async fn waits_for_the_last_proxy() {
    let world = World::new();
    let before = world.store.backend().revision().await.unwrap();
    world.admin().await;
    let revision = world.store.backend().revision().await.unwrap();
    report(&world, "one", &revision).await;
    report(&world, "two", &before).await;
    let waiting = world.control.wait_applied(&revision, Duration::from_secs(5));
    let catching_up = async {
        tokio::task::yield_now().await;
        report(&world, "two", &revision).await;
        world.hand.advance(Duration::from_millis(4));
    };
    let (applied, ()) = tokio::join!(waiting, catching_up);
    assert_eq!(applied.unwrap(), Applied { applied: true, proxies: 2, laggards: vec![] });
}

#[tokio::test]
async fn names_who_is_late_and_forgets_who_is_dead() {
    let world = World::new();
    let before = world.store.backend().revision().await.unwrap();
    world.admin().await;
    let revision = world.store.backend().revision().await.unwrap();
    let elsewhere = Revision { epoch: model::Epoch::new("another").unwrap(), n: 999 };
    report(&world, "zoe", &before).await;
    report(&world, "ann", &elsewhere).await;
    report(&world, "bob", &revision).await;
    let waiting = world.control.wait_applied(&revision, Duration::from_secs(5));
    let time = async { world.hand.advance(Duration::from_secs(5)) };
    let (applied, ()) = tokio::join!(waiting, time);
    let laggards = vec!["ann".to_owned(), "zoe".to_owned()];
    assert_eq!(applied.unwrap(), Applied { applied: false, proxies: 3, laggards });

    world.hand.advance(Duration::from_secs(10));
    let applied = world.control.wait_applied(&revision, Duration::from_secs(5)).await.unwrap();
    assert_eq!(applied.proxies, 0, "their leases are over");
}

#[tokio::test]
async fn status_shows_the_lag() {
    let world = World::new();
    let admin = world.admin().await;
    let revision = world.store.backend().revision().await.unwrap();
    report(&world, "one", &revision).await;
    world.login("admin").await;
    let status = world.control.status(&admin).await.unwrap();
    assert_eq!(status.proxies.len(), 1);
    assert_eq!(status.proxies[0].lag, Some(1));
    assert!(status.store.unwrap().includes(&revision));
}
