//! A holder that ends, stands still or loses its lease at any call: a certificate comes of what it left, by at most one more order,
//! and nothing of it stays in the world.

use certs::{Issuer, Request, codes};

use crate::journal::{Fate, Holder};
use crate::world::{World, issue, request};

/// More calls than there are in one order.
const MOST_CALLS: usize = 20;
/// A name that HTTP proves, and one that takes the DNS.
const NAMES: [&str; 2] = ["b.test", "*.w.a.test"];

#[tokio::test]
async fn a_killed_holders_order_is_gone_on_with() {
    let world = World::start().await;
    let issuer = world.issuer();
    for name in NAMES {
        let mut deaths = 0;
        for call in 1..=MOST_CALLS {
            let before = world.pebble.orders();
            let shared = world.journal();
            let doomed = shared.doomed(call, Fate::Killed);
            let survived = tokio::select! {
                done = issue(&issuer, name, &doomed) => { done.unwrap(); true }
                () = doomed.befallen() => false,
            };
            if survived {
                break;
            }
            deaths += 1;
            let record = issue(&issuer, name, &shared.next()).await.unwrap();
            let orders = world.pebble.orders() - before;
            println!("{name}, killed at call {call}: {orders} orders");
            assert!(orders <= 2, "{name}, killed at call {call}: {orders} orders");
            world.check(&record, &names(name)).await;
            shared.check_empty().await;
        }
        assert!((5..MOST_CALLS).contains(&deaths), "{deaths}");
    }
}

/// `SIGSTOP` for longer than the lease: the next holder is done when the first goes on, and finds that it is none any longer.
#[tokio::test]
async fn a_holder_that_wakes_up_after_the_next_one_leaves_nothing() {
    let world = World::start().await;
    let issuer = world.issuer();
    for name in NAMES {
        for call in 1..=MOST_CALLS {
            let before = world.pebble.orders();
            let shared = world.journal();
            let doomed = shared.doomed(call, Fate::Stopped);
            let mut stopped = Box::pin(issue(&issuer, name, &doomed));
            let survived = tokio::select! {
                done = &mut stopped => { done.unwrap(); true }
                () = doomed.befallen() => false,
            };
            if survived {
                break;
            }
            let record = issue(&issuer, name, &shared.next()).await.unwrap();
            doomed.go_on();
            let failure = stopped.await.unwrap_err();
            assert_eq!(failure.code, codes::LOST, "{failure:?}");
            assert!(world.pebble.orders() - before <= 2, "{name}, stopped at call {call}");
            world.check(&record, &names(name)).await;
            shared.check_empty().await;
        }
    }
}

#[tokio::test]
async fn a_holder_without_its_lease_stops_and_takes_its_txt_values_away() {
    let world = World::start().await;
    let issuer = world.issuer();
    for name in NAMES {
        for call in 1..=MOST_CALLS {
            let shared = world.journal();
            let robbed = shared.doomed(call, Fate::Robbed);
            let Err(failure) = issue(&issuer, name, &robbed).await else { break };
            assert_eq!(failure.code, codes::LOST, "{failure:?}");
            assert!(world.zone.values.lock().unwrap().is_empty(), "{name}, robbed at call {call}");
            // Its challenges are for the next holder to take back.
            let record = issue(&issuer, name, &shared.next()).await.unwrap();
            world.check(&record, &names(name)).await;
            shared.check_empty().await;
        }
    }
}

/// The order is not forgotten because the state can't be written for a moment. The next certificate is a new one all the same.
#[tokio::test]
async fn a_certificate_is_not_handed_out_twice() {
    let world = World::start().await;
    let issuer = world.issuer();
    let holder = world.journal();
    issue(&issuer, "b.test", &holder).await.unwrap();
    // The calls before: the ledger, the order, the challenge twice and its end.
    let unlucky = holder.doomed(6, Fate::Unwritable);
    let first = issue(&issuer, "b.test", &unlucky).await.unwrap();
    assert!(holder.kept_order().await.is_some());
    let renewal = Request { replaces: Some(first.chain_pem.clone()), ..request("b.test") };
    let second = Issuer::issue(&issuer, &renewal, &holder.next()).await.unwrap();
    assert_ne!(second.chain_pem, first.chain_pem);
    world.check(&second, &["b.test"]).await;
    holder.check_empty().await;
}

/// The host was deleted meanwhile: nobody wants the certificate any longer.
#[tokio::test]
async fn an_abandoned_order_leaves_nothing() {
    let world = World::start().await;
    let issuer = world.issuer();
    for name in NAMES {
        for call in 1..=MOST_CALLS {
            let shared = world.journal();
            let doomed = shared.doomed(call, Fate::Killed);
            tokio::select! {
                _ = issue(&issuer, name, &doomed) => break,
                () = doomed.befallen() => {}
            }
            issuer.abandon(&shared.next()).await.unwrap();
            world.check_clear();
            shared.check_empty().await;
        }
    }
}

/// Pebble forgets everything when it restarts, as an authority may that was set up anew.
#[tokio::test]
async fn an_account_that_is_forgotten_is_made_anew_once() {
    let mut world = World::start().await;
    let issuer = world.issuer();
    let holder = world.journal();
    issue(&issuer, "b.test", &holder).await.unwrap();
    let doomed = holder.doomed(4, Fate::Killed);
    tokio::select! {
        _ = issue(&issuer, "b.test", &doomed) => panic!("it should be dead"),
        () = doomed.befallen() => {}
    }
    assert!(holder.kept_order().await.is_some());
    let before = account(&holder, &world).await;
    world.pebble.restart().await;
    let record = issue(&issuer, "b.test", &holder.next()).await.unwrap();
    world.check(&record, &["b.test"]).await;
    let after = account(&holder, &world).await;
    assert_ne!(before, after);
    issue(&issuer, "c.test", &holder).await.unwrap();
    assert_eq!(account(&holder, &world).await, after);
}

async fn account(holder: &Holder, world: &World) -> model::Secret<String> {
    use certs::Journal;
    holder.account(&world.pebble.directory()).await.unwrap().unwrap()
}

/// What a certificate for a pattern covers, sorted.
fn names(name: &'static str) -> Vec<&'static str> {
    std::iter::once(name).chain(name.strip_prefix("*.")).collect()
}
