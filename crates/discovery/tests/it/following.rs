//! Discovery with real stores and real tables, through everything that can happen to a store.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{INSTANCE, World, host};
use model::{CertRecord, CertWanted, Challenge, Host};
use runtime::Clock;
use store::{
    Backend, Collection, EmbeddedBackend, Expect, Key, MemoryBackend, ProxyReport, Record, Txn,
};

fn memory(clock: Clock) -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::with_clock(clock).unwrap())
}

async fn follows_changes(mut world: World) {
    world.store.put(&host("a.test", 1), Expect::Absent).await.unwrap();
    world.discovery.as_mut().unwrap().first_load(Duration::from_secs(1)).await.unwrap();
    assert!(world.tables.route("a.test").is_some());
    assert!(world.tables.state().loaded);
    world.run();
    let first = world.settled().await;
    assert_eq!((first.hosts, first.certs, first.workers), (1, 0, 2));

    world.store.put(&host("*.b.test", 2), Expect::Absent).await.unwrap();
    world.store.put(&world.cert("*.b.test"), Expect::Absent).await.unwrap();
    world.store.put(&host("a.test", 3), Expect::Exists).await.unwrap();
    let report = world.settled().await;
    assert_eq!((report.hosts, report.certs), (2, 1));
    assert_eq!(world.tables.route("a.test").unwrap().host, host("a.test", 3));
    assert!(world.tables.certs().find("x.b.test").is_some());
    assert_eq!(world.tables.digest(), world.expected_digest().await);

    world.store.delete::<Host>("a.test", Expect::Exists).await.unwrap();
    world.store.delete::<CertRecord>("*.b.test", Expect::Exists).await.unwrap();
    world.settled().await;
    assert!(world.tables.route("a.test").is_none());
    assert!(world.tables.certs().is_empty());

    world.stop().await;
    assert_eq!(world.report().await, None, "a proxy that stops takes its report back");
}

#[tokio::test]
async fn it_follows_a_store_in_memory() {
    follows_changes(World::new(memory)).await;
}

#[tokio::test]
async fn it_follows_a_store_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let open = |clock| Arc::new(EmbeddedBackend::open(dir.path(), clock).unwrap()) as Arc<_>;
    follows_changes(World::new(open)).await;
}

#[tokio::test]
async fn one_bad_record_is_rejected_alone_and_keeps_its_last_good_value() {
    let mut world = World::new(memory);
    world.store.put(&host("good.test", 1), Expect::Absent).await.unwrap();
    world.run();
    world.settled().await;

    let key = Key::new(Collection::Host, "good.test");
    let good = world.store.backend().get(&key).await.unwrap().unwrap();
    let mut bad = good.clone();
    bad.insert("targetPort".into(), "no port".into());
    let mut cert = world.cert("c.test");
    cert.key_pem = world.cert("d.test").key_pem;
    let txn = Txn::new().put(key.clone(), bad, Expect::Any).put(
        Key::new(Collection::Host, "Bad Name"),
        good.clone(),
        Expect::Any,
    );
    world.store.backend().commit(txn).await.unwrap();
    world.store.put(&cert, Expect::Absent).await.unwrap();
    world.store.put(&host("other.test", 2), Expect::Absent).await.unwrap();

    let report = world.settled().await;
    let rejected: Vec<_> = report.rejected.iter().map(|r| r.key.as_str()).collect();
    assert_eq!(rejected, ["Cert_c.test", "Host_Bad Name", "Host_good.test"]);
    assert!(report.rejected.iter().all(|r| !r.reason.is_empty()), "{report:?}");
    assert_eq!(world.tables.route("good.test").unwrap().host, host("good.test", 1));
    assert!(world.tables.route("other.test").is_some());
    assert!(world.tables.certs().find("c.test").is_none());

    // Put right, or gone: no longer reported. A rejected change does not protect from removal.
    let txn = Txn::new()
        .put(key, good, Expect::Any)
        .delete(Key::new(Collection::Host, "Bad Name"), Expect::Any)
        .delete(Key::new(Collection::Cert, "c.test"), Expect::Any);
    world.store.backend().commit(txn).await.unwrap();
    assert_eq!(world.settled().await.rejected, []);
    assert_eq!(world.tables.digest(), world.expected_digest().await);
    world.stop().await;
}

#[tokio::test]
async fn a_store_that_is_down_leaves_the_tables_and_is_caught_up_with() {
    let mut world = World::new(memory);
    world.store.put(&host("a.test", 1), Expect::Absent).await.unwrap();
    world.run();
    world.settled().await;

    world.switched.switch(false);
    // Told of, unlike in most outages, so that it is noticed at once.
    world.store.delete::<Host>("a.test", Expect::Any).await.unwrap();
    world.until(|tables| tables.state().stale).await;
    assert!(world.tables.route("a.test").is_some() && world.tables.state().loaded);
    world.store.put(&host("b.test", 2), Expect::Absent).await.unwrap();

    world.switched.switch(true);
    world.hand.advance(Duration::from_secs(5));
    world.until(|tables| !tables.state().stale).await;
    assert!(world.tables.route("a.test").is_none());
    assert!(world.tables.route("b.test").is_some());
    world.stop().await;
}

/// A reading of everything fetches pages ahead of the one it takes over. A host that was deleted behind such a page came back
/// when the page was taken over, after the log had told that it was gone, and stayed until the next reading.
#[tokio::test]
async fn a_page_that_was_read_ahead_does_not_undo_what_the_log_told_since() {
    let mut world = World::new(memory);
    let name = |number: u16| format!("h{number:02}.test");
    for number in 1..=40 {
        world.store.put(&host(&name(number), number), Expect::Absent).await.unwrap();
    }
    world.run();
    world.settled().await;

    world.switched.switch(false);
    world.store.delete::<Host>(&name(1), Expect::Any).await.unwrap();
    world.until(|tables| tables.state().stale).await;
    let last = Key::new(Collection::Host, name(40));
    world.switched.change_behind(last.clone(), Txn::new().delete(last, Expect::Any));
    // Everything is read when the store is back.
    world.switched.switch(true);
    world.hand.advance(Duration::from_secs(5));
    world.until(|tables| !tables.state().stale).await;
    world.until(|tables| tables.route(&name(40)).is_none()).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.tables.digest(), world.expected_digest().await);
    world.stop().await;
}

#[tokio::test]
async fn a_store_that_is_down_at_start_blocks_nobody() {
    let mut world = World::new(memory);
    world.store.put(&host("a.test", 1), Expect::Absent).await.unwrap();
    world.switched.switch(false);
    let mut discovery = world.discovery.take().unwrap();
    let load = discovery.first_load(Duration::from_secs(3));
    let (loaded, ()) = tokio::join!(load, async { world.hand.advance(Duration::from_secs(3)) });
    assert!(matches!(loaded, Err(discovery::Error::Store(_))), "{loaded:?}");
    assert!(world.tables.state().stale && !world.tables.state().loaded);

    world.discovery = Some(discovery);
    world.run();
    world.switched.switch(true);
    world
        .until(|tables| {
            world.hand.advance(Duration::from_millis(100));
            tables.state().loaded
        })
        .await;
    assert!(world.tables.route("a.test").is_some());
    world.stop().await;
}

#[tokio::test]
async fn who_is_too_far_behind_reads_everything() {
    let mut world = World::new(|clock| Arc::new(MemoryBackend::with(clock, 2).unwrap()));
    for n in 0..10 {
        world.store.put(&host(&format!("h{n}.test"), 1), Expect::Absent).await.unwrap();
    }
    world.discovery.as_mut().unwrap().first_load(Duration::from_secs(1)).await.unwrap();
    for n in 0..5 {
        world.store.delete::<Host>(&format!("h{n}.test"), Expect::Any).await.unwrap();
    }
    world.run();
    assert_eq!(world.settled().await.hosts, 5);
    assert_eq!(world.tables.digest(), world.expected_digest().await);
    world.stop().await;
}

#[tokio::test]
async fn what_was_edited_behind_the_log_is_read_when_told_of() {
    let mut memory = None;
    let mut world = World::new(|clock| {
        let backend = Arc::new(MemoryBackend::with_clock(clock).unwrap());
        memory = Some(backend.clone());
        backend
    });
    world.store.put(&host("a.test", 1), Expect::Absent).await.unwrap();
    world.run();
    world.settled().await;

    let key = Key::new(Collection::Host, "a.test");
    let mut edited = world.store.backend().get(&key).await.unwrap().unwrap();
    edited.insert("targetPort".into(), "2".into());
    world.write_quietly(&key, &edited).await;
    memory.unwrap().touch(key);
    world.until(|tables| tables.route("a.test").is_some_and(|r| r.host == host("a.test", 2))).await;
    world.stop().await;
}

#[tokio::test]
async fn what_nobody_told_of_is_found_within_a_minute() {
    let mut world = World::new(memory);
    world.store.put(&host("a.test", 1), Expect::Absent).await.unwrap();
    world.run();
    let before = world.settled().await;

    let sealer = store::Sealer::new(None, None, true).unwrap();
    for made in [host("a.test", 9), host("b.test", 2)] {
        world.write_quietly(&made.key(), &made.to_fields(&sealer).unwrap()).await;
    }
    world.hand.advance(Duration::from_secs(60));
    world.until(|tables| tables.route("b.test").is_some()).await;
    assert_eq!(world.tables.route("a.test").unwrap().host, host("a.test", 9));

    world.store.backend().delete_lease(&host("a.test", 9).key()).await.unwrap();
    world.hand.advance(Duration::from_secs(60));
    world.until(|tables| tables.route("a.test").is_none()).await;
    assert_eq!(world.tables.state().revision.as_ref(), Some(&before.revision));
    world.stop().await;
}

#[tokio::test]
async fn the_report_is_renewed_while_it_lives_and_lapses_when_it_does_not() {
    let mut world = World::new(memory);
    world.run();
    let first = world.settled().await;
    for _ in 0..10 {
        world.hand.advance(Duration::from_secs(5));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.report().await.as_ref(), Some(&first));
    }
    world.switched.switch(false);
    world.hand.advance(Duration::from_secs(15));
    assert_eq!(world.report().await, None);
    // And comes back with the store.
    world.switched.switch(true);
    world
        .until(|_| {
            world.hand.advance(Duration::from_secs(1));
            futures_util::FutureExt::now_or_never(world.report()).flatten().is_some()
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn wanted_names_are_asked_for_once_and_by_budget() {
    let mut world = World::new(memory);
    world.store.put(&world.cert("a.test"), Expect::Absent).await.unwrap();
    world.run();
    world.settled().await;
    let name = |n: usize| format!("h{n}.test").parse::<model::Hostname>().unwrap();
    assert!(world.tables.wanted().ask("a.test".parse().unwrap()));
    let ask = || (0..30).for_each(|n| assert!(world.tables.wanted().ask(name(n))));
    let count = || {
        let page = world.store.list::<CertWanted>(None, 1000);
        futures_util::FutureExt::now_or_never(page).unwrap().unwrap().records.len()
    };
    ask();
    world.until(|_| count() >= 19).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(), 19, "a name that has a certificate costs budget only");
    world.hand.advance(Duration::from_secs(1));
    world.until(|_| count() == 30).await;

    // Asked for again while the records stand: nothing new is written.
    let before = world.store.backend().revision().await.unwrap();
    ask();
    for _ in 0..3 {
        world.hand.advance(Duration::from_secs(1));
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(world.store.backend().revision().await.unwrap(), before);
    world.hand.advance(Duration::from_secs(60));
    assert_eq!(count(), 0, "a wish lasts a minute");
    world.stop().await;
}

#[tokio::test]
async fn challenges_come_and_expire() {
    let mut world = World::new(memory);
    world.run();
    let expires_at = model::Timestamp::from(world.clock.now()).plus(Duration::from_secs(30));
    let challenge = Challenge {
        domain: "a.test".parse().unwrap(),
        token: "token".into(),
        key_authorisation: "token.thumb".into(),
        expires_at,
    };
    world.store.put(&challenge, Expect::Absent).await.unwrap();
    let report: ProxyReport = world.settled().await;
    assert_eq!((report.instance.as_str(), report.rejected.len()), (INSTANCE, 0));
    world.hand.advance(Duration::from_secs(30));
    world.settled().await;
    world.stop().await;
}
