//! The last-known-good file: what a start without the store serves, and what it knows the store by.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{World, host};
use discovery::StateFile;
use store::{Backend, Expect, MemoryBackend};

fn file(dir: &Path) -> Option<StateFile> {
    Some(StateFile { path: dir.join("state/last-known-good"), plaintext: true })
}

fn memory() -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::new().unwrap())
}

/// A proxy that ran on `backend` with hosts and a certificate, and was stopped.
async fn former_run(dir: &Path, backend: Arc<dyn Backend>) -> World {
    let mut world = World::with(|_| backend, file(dir));
    for number in 0..12 {
        world.store.put(&host(&format!("h{number}.test"), 1), Expect::Absent).await.unwrap();
    }
    world.store.put(&world.cert("h1.test"), Expect::Absent).await.unwrap();
    world.run();
    world.settled().await;
    world.stop().await;
    world
}

async fn start(world: &mut World) -> Result<(), discovery::Error> {
    let mut discovery = world.discovery.take().unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let time = async {
        loop {
            ticks.tick().await;
            world.hand.advance(Duration::from_millis(100));
        }
    };
    let loaded = tokio::select! {
        loaded = discovery.first_load(Duration::from_secs(3)) => loaded,
        () = time => unreachable!("time has no end"),
    };
    world.discovery = Some(discovery);
    loaded
}

#[tokio::test]
async fn a_start_without_the_store_serves_what_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let backend = memory();
    let former = former_run(dir.path(), backend.clone()).await;
    let mut world = World::with(|_| backend, file(dir.path()));
    world.switched.switch(false);
    assert!(start(&mut world).await.is_err());
    let state = world.tables.state();
    assert!(state.loaded && state.stale && state.guard.is_none());
    assert_eq!(state.revision, former.tables.state().revision);
    assert_eq!(world.tables.digest(), former.tables.digest());
    assert!(world.tables.certs().find("h1.test").is_some());

    // And follows the store once it is there.
    world.store.put(&host("late.test", 1), Expect::Absent).await.unwrap();
    world.run();
    world.switched.switch(true);
    world
        .until(|tables| {
            world.hand.advance(Duration::from_millis(100));
            tables.route("late.test").is_some() && !tables.state().stale
        })
        .await;
    assert_eq!(world.tables.digest(), world.expected_digest().await);
    world.stop().await;
}

#[tokio::test]
async fn a_start_with_a_file_does_not_believe_another_store() {
    let dir = tempfile::tempdir().unwrap();
    former_run(dir.path(), memory()).await;
    let mut world = World::with(|_| memory(), file(dir.path()));
    world.store.put(&host("new.test", 1), Expect::Absent).await.unwrap();
    start(&mut world).await.unwrap();
    assert_eq!((world.guard(), world.tables.hosts()), (Some("epoch_changed"), 12));
    assert!(world.report().await.unwrap().guard.is_some());
    world.accept(&world.store).await;
    world.run();
    world.until(|tables| tables.state().guard.is_none()).await;
    assert_eq!(world.tables.digest(), world.expected_digest().await);
    world.stop().await;

    // What was accepted is what is kept.
    let backend = world.store.backend().clone();
    let mut again = World::with(|_| backend, file(dir.path()));
    start(&mut again).await.unwrap();
    assert_eq!((again.guard(), again.tables.hosts()), (None, 1));
}

/// A host that came within the pause between two writes, and then the store was wiped: the drain still keeps it.
#[tokio::test]
async fn what_came_just_before_a_wipe_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let backend = memory();
    former_run(dir.path(), backend.clone()).await;
    let mut world = World::with(|_| backend, file(dir.path()));
    world.run();
    world.settled().await;
    world.store.put(&host("late.test", 1), Expect::Absent).await.unwrap();
    world.settled().await;
    world.switched.replace(memory());
    world.hand.advance(Duration::from_secs(2));
    world.until(|tables| tables.state().guard.is_some()).await;
    world.stop().await;

    let mut again = World::with(|_| memory(), file(dir.path()));
    start(&mut again).await.unwrap();
    assert_eq!((again.guard(), again.tables.hosts()), (Some("epoch_changed"), 13));
    assert!(again.tables.certs().find("h1.test").is_some());
}

/// A certificate and a host that came within the pause between two writes of the file, and then store and proxy died at once:
/// the file was of no help, and what it lacked was the key to a name that it had.
#[tokio::test]
async fn what_came_just_before_everything_died_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let backend = memory();
    former_run(dir.path(), backend.clone()).await;
    let path = file(dir.path()).unwrap().path;
    let journal = path.with_extension("journal");
    let read = |path: &Path| std::fs::read(path).unwrap_or_default();
    let former = read(&journal);
    let mut world = World::with(|_| backend, file(dir.path()));
    world.run();
    world.settled().await;
    world.store.put(&host("early.test", 1), Expect::Absent).await.unwrap();
    world.settled().await;
    // The first change of this run has the file written anew, with a journal to go on with; no time passes after that.
    world.until(|_| read(&journal) != former && read(&journal).ends_with(b"\n")).await;
    let (written, empty) = (read(&path), read(&journal));
    world.store.put(&host("late.test", 1), Expect::Absent).await.unwrap();
    world.store.put(&world.cert("late.test"), Expect::Absent).await.unwrap();
    world.store.delete::<model::Host>("h3.test", Expect::Any).await.unwrap();
    world.settled().await;
    let digest = world.tables.digest();
    // What a crash now would leave behind, as soon as it is all.
    let left = tempfile::tempdir().unwrap();
    std::fs::create_dir(left.path().join("state")).unwrap();
    let again = async {
        loop {
            for from in [&path, &journal] {
                let to = left.path().join("state").join(from.file_name().unwrap());
                std::fs::copy(from, to).unwrap();
            }
            let mut again = World::with(|_| memory(), file(left.path()));
            again.switched.switch(false);
            assert!(start(&mut again).await.is_err());
            if again.tables.digest() == digest {
                return again;
            }
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    assert_eq!(again.tables.state().revision, world.tables.state().revision);
    assert!(again.tables.certs().find("late.test").is_some());
    assert!(again.tables.route("h3.test").is_none());
    assert!(read(&journal).starts_with(&empty), "the journal goes on");
    assert!(read(&path) == written, "the file need not be written anew");
    world.stop().await;
}

/// A certificate that came just before the store went, and before this run had a journal: the file that is written anew
/// without the store has it.
#[tokio::test]
async fn a_file_that_is_written_without_the_store_has_the_last_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let backend = memory();
    former_run(dir.path(), backend.clone()).await;
    let mut world = World::with(|_| backend, file(dir.path()));
    // Nothing keeps it yet but the file of the former run.
    world.store.put(&world.cert("h2.test"), Expect::Absent).await.unwrap();
    start(&mut world).await.unwrap();
    let digest = world.tables.digest();
    world.switched.switch(false);
    world.run();
    world.stop().await;
    let mut again = World::with(|_| memory(), file(dir.path()));
    again.switched.switch(false);
    assert!(start(&mut again).await.is_err());
    assert_eq!(again.tables.digest(), digest);
}

#[tokio::test]
async fn a_damaged_file_is_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let backend = memory();
    former_run(dir.path(), backend.clone()).await;
    let path = file(dir.path()).unwrap().path;
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut world = World::with(|_| backend, file(dir.path()));
    world.switched.switch(false);
    assert!(start(&mut world).await.is_err());
    assert!(!world.tables.state().loaded && world.tables.hosts() == 0);
}
