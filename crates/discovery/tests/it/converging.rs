//! Whatever happens to the store in whatever order, the tables end up as the store has it.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{World, host};
use model::Host;
use proptest::prelude::*;
use store::{Collection, Expect, Key, MemoryBackend, Record, Sealer, Txn};

#[derive(Clone, Debug)]
enum Event {
    Put(u8, u16),
    Delete(u8),
    /// A change that nobody tells of.
    Quietly(u8, u16),
    Garble(u8),
    Switch(bool),
    Advance(u8),
    /// Lets discovery work for a moment, perhaps not to the end.
    Yield(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..8u8, 1..9u16).prop_map(|(n, port)| Event::Put(n, port)),
        2 => (0..8u8).prop_map(Event::Delete),
        1 => (0..8u8, 1..9u16).prop_map(|(n, port)| Event::Quietly(n, port)),
        1 => (0..8u8).prop_map(Event::Garble),
        1 => any::<bool>().prop_map(Event::Switch),
        1 => (0..70u8).prop_map(Event::Advance),
        3 => (0..20u8).prop_map(Event::Yield),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_tables_end_up_as_the_store_has_it(
        events in prop::collection::vec(event(), 0..60), log in 1..40usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(|clock| Arc::new(MemoryBackend::with(clock, log).unwrap()));
            world.run();
            for event in events {
                happen(&world, event).await;
            }
            world.switched.switch(true);
            converge(&world).await;
            world.stop().await;
        });
    }
}

async fn happen(world: &World, event: Event) {
    let id = |n: u8| format!("h{n}.test");
    match event {
        Event::Put(n, port) => {
            world.store.put(&host(&id(n), port), Expect::Any).await.unwrap();
        }
        Event::Delete(n) => {
            world.store.delete::<Host>(&id(n), Expect::Any).await.unwrap();
        }
        Event::Quietly(n, port) => {
            let made = host(&id(n), port);
            let sealer = Sealer::new(None, None, true).unwrap();
            world.write_quietly(&made.key(), &made.to_fields(&sealer).unwrap()).await;
        }
        Event::Garble(n) => {
            let key = Key::new(Collection::Host, id(n));
            let fields = [("ip".to_owned(), "a b".to_owned())].into();
            let txn = Txn::new().put(key, fields, Expect::Any);
            world.store.backend().commit(txn).await.unwrap();
        }
        Event::Switch(on) => world.switched.switch(on),
        Event::Advance(seconds) => world.hand.advance(Duration::from_secs(seconds.into())),
        Event::Yield(times) => {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// A garbled record may stand for its last good value: put right, so that there is one truth to compare with.
async fn converge(world: &World) {
    let page = world.store.list::<Host>(None, 1000).await.unwrap();
    for bad in page.bad {
        world.store.put(&host(&bad.key.id, 99), Expect::Any).await.unwrap();
    }
    let revision = world.store.backend().revision().await.unwrap();
    let expected = world.expected_digest().await;
    let converged = async {
        loop {
            world.hand.advance(Duration::from_secs(5));
            tokio::task::yield_now().await;
            let state = world.tables.state();
            let reached = state.revision.as_ref().is_some_and(|at| at.includes(&revision));
            if reached && !state.stale && world.tables.digest() == expected {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), converged).await.unwrap();
}
