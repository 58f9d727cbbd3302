//! A store that was wiped, replaced or emptied is not believed until somebody says so.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{World, host};
use model::Host;
use runtime::Clock;
use store::{Backend, Collection, Expect, Key, MemoryBackend};

fn memory(clock: Clock) -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::with_clock(clock).unwrap())
}

async fn with_hosts(count: usize) -> World {
    let world = World::new(memory);
    for number in 0..count {
        world.store.put(&host(&format!("h{number}.test"), 1), Expect::Absent).await.unwrap();
    }
    world
}

#[tokio::test]
async fn a_replaced_store_is_believed_once_it_is_accepted() {
    let mut world = with_hosts(1).await;
    world.run();
    let before = world.settled().await;
    assert_eq!(before.guard, None);

    let other = World::new(memory);
    other.store.put(&host("new.test", 1), Expect::Absent).await.unwrap();
    world.switched.replace(other.store.backend().clone());
    world.hand.advance(Duration::from_secs(2));
    world.until(|tables| tables.state().guard.is_some()).await;
    assert_eq!(world.guard(), Some("epoch_changed"));
    // More of the same: still not believed, and the alarm is in the new store too.
    other.store.put(&host("newer.test", 1), Expect::Absent).await.unwrap();
    for _ in 0..5 {
        world.hand.advance(Duration::from_secs(5));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    assert!(world.tables.route("h0.test").is_some() && world.tables.route("new.test").is_none());
    assert_eq!(world.tables.state().revision.as_ref(), Some(&before.revision));
    let report = other.report().await.expect("it is renewed");
    assert_eq!(report.revision, before.revision);
    let guard = report.guard.expect("an alarm");
    assert_eq!(guard.reason, "epoch_changed");
    assert!(guard.detail.contains(&before.revision.to_string()), "{guard:?}");

    // A word about another store is none about this one.
    world.accept(&world.store).await;
    world.hand.advance(Duration::from_secs(5));
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.guard(), Some("epoch_changed"));

    world.accept(&other.store).await;
    world.hand.advance(Duration::from_secs(5));
    world.until(|tables| tables.state().guard.is_none()).await;
    let routed = |name: &str| world.tables.route(name).is_some();
    assert!(routed("new.test") && routed("newer.test") && !routed("h0.test"));
    assert_eq!(world.tables.digest(), other.expected_digest().await);
    world.stop().await;
}

#[tokio::test]
async fn the_right_store_back_in_its_place_needs_no_word() {
    let mut world = with_hosts(3).await;
    world.run();
    world.settled().await;
    let other = World::new(memory);
    let right = world.store.backend().clone();
    world.switched.replace(other.store.backend().clone());
    world.hand.advance(Duration::from_secs(2));
    world.until(|tables| tables.state().guard.is_some()).await;
    world.store.put(&host("late.test", 1), Expect::Absent).await.unwrap();
    world.switched.replace(right);
    world.hand.advance(Duration::from_secs(2));
    world.until(|tables| tables.state().guard.is_none()).await;
    assert!(world.tables.route("late.test").is_some() && world.tables.hosts() == 4);
    world.stop().await;
}

#[tokio::test]
async fn most_hosts_are_not_dropped_at_a_reconcile_and_single_ones_are() {
    let mut backend = None;
    let mut world = World::new(|clock| {
        let made = Arc::new(MemoryBackend::with_clock(clock).unwrap());
        backend = Some(made.clone());
        made
    });
    let backend = backend.unwrap();
    for number in 0..12 {
        world.store.put(&host(&format!("h{number}.test"), 1), Expect::Absent).await.unwrap();
    }
    world.run();
    world.settled().await;
    let vanish = async |number: usize| {
        let key = Key::new(Collection::Host, format!("h{number}.test"));
        world.store.backend().delete_lease(&key).await.unwrap();
        key
    };
    for number in 0..7 {
        vanish(number).await;
    }
    world.hand.advance(Duration::from_secs(60));
    world.until(|tables| tables.state().guard.is_some()).await;
    assert_eq!((world.guard(), world.tables.hosts()), (Some("drops_hosts"), 12));

    // It is the same store: what is new applies, what a commit takes out goes, what is told of goes.
    world.store.put(&host("new.test", 1), Expect::Absent).await.unwrap();
    world.store.delete::<Host>("h11.test", Expect::Exists).await.unwrap();
    world.settled().await;
    backend.touch(vanish(10).await);
    world.until(|tables| tables.route("h10.test").is_none()).await;
    assert!(world.tables.route("new.test").is_some() && world.tables.route("h11.test").is_none());
    assert!(world.tables.route("h0.test").is_some() && world.guard().is_some());
    // Fewer than half by now, and still not dropped.
    for number in 20..40 {
        world.store.put(&host(&format!("h{number}.test"), 1), Expect::Absent).await.unwrap();
    }
    world.settled().await;
    world.hand.advance(Duration::from_secs(60));
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert!(world.tables.route("h0.test").is_some() && world.guard().is_some());

    world.accept(&world.store).await;
    world.until(|tables| tables.state().guard.is_none()).await;
    assert!(world.tables.route("h0.test").is_none());
    assert_eq!(world.tables.digest(), world.expected_digest().await);
    world.settled().await;

    // The same again: the old word does not count.
    for number in 20..40 {
        vanish(number).await;
    }
    world.hand.advance(Duration::from_secs(60));
    world.until(|tables| tables.state().guard.is_some()).await;
    assert!(world.tables.route("h20.test").is_some());
    world.stop().await;
}

#[tokio::test]
async fn half_of_the_hosts_and_any_of_a_few_may_go() {
    for (count, gone) in [(10, 5), (9, 9)] {
        let mut world = with_hosts(count).await;
        world.run();
        world.settled().await;
        for number in 0..gone {
            let key = Key::new(Collection::Host, format!("h{number}.test"));
            world.store.backend().delete_lease(&key).await.unwrap();
        }
        world.hand.advance(Duration::from_secs(60));
        world.until(|tables| tables.hosts() == count - gone).await;
        assert_eq!(world.guard(), None);
        world.stop().await;
    }
}

#[tokio::test]
async fn commits_may_take_out_everything() {
    let mut world = with_hosts(20).await;
    world.run();
    world.settled().await;
    world.switched.switch(false);
    for number in 0..20 {
        world.store.delete::<Host>(&format!("h{number}.test"), Expect::Any).await.unwrap();
    }
    world.until(|tables| tables.state().stale).await;
    world.switched.switch(true);
    world.hand.advance(Duration::from_secs(5));
    world.until(|tables| tables.hosts() == 0 && !tables.state().stale).await;
    assert_eq!(world.guard(), None);
    world.stop().await;
}
