//! What a crash leaves, for every step that a commit takes on the disk.
//!
//! A run of commits is recorded write by write. Then, for each moment of it, the disk is put together as a crash may
//! have left it, opened, and must show the store as it was before or after a commit: never something in between, and
//! never less than what was acknowledged.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::{Builder, StorageBackend};

use super::*;
use crate::Expect;

/// A disk in memory that remembers what was done to it.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Tape>>);

#[derive(Debug, Default)]
struct Tape {
    content: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Length(u64),
    Write(u64, Vec<u8>),
    Sync,
}

impl Disk {
    fn do_step(&self, step: Step) {
        let mut tape = self.0.lock().unwrap();
        apply(&mut tape.content, &step);
        tape.steps.push(step);
    }

    fn steps(&self) -> Vec<Step> {
        self.0.lock().unwrap().steps.clone()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let tape = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let found = tape.content.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.do_step(Step::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.do_step(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.do_step(Step::Write(offset, data.to_vec()));
        Ok(())
    }
}

fn apply(content: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Length(length) => content.resize(usize::try_from(*length).unwrap(), 0),
        Step::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap();
            content.resize(content.len().max(start + data.len()), 0);
            content[start..start + data.len()].copy_from_slice(data);
        }
        Step::Sync => {}
    }
}

/// What of the writes after the last sync a crash leaves.
#[derive(Clone, Copy, Debug)]
enum Crash {
    /// All: the process was killed.
    Killed,
    /// None: the power went.
    PowerCut,
    /// Some, in no order, the last one torn: the power went while the disk was at it. A seed.
    Torn(u64),
}

fn left_by(crash: Crash, steps: &[Step]) -> Disk {
    let synced = steps.iter().rposition(|step| matches!(step, Step::Sync)).map_or(0, |at| at + 1);
    let mut content = Vec::new();
    steps[..synced].iter().for_each(|step| apply(&mut content, step));
    let mut random = match crash {
        Crash::Torn(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        _ => 1,
    };
    for (place, step) in steps[synced..].iter().enumerate() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let last = synced + place + 1 == steps.len();
        match (crash, step) {
            (Crash::PowerCut, _) => {}
            (Crash::Torn(_), Step::Write(offset, data)) if last => {
                let some = data[..data.len() / 2].to_vec();
                apply(&mut content, &Step::Write(*offset, some));
            }
            (Crash::Torn(_), Step::Write(..)) if random >> 63 == 0 => {}
            _ => apply(&mut content, step),
        }
    }
    Disk(Arc::new(Mutex::new(Tape { content, steps: Vec::new() })))
}

fn open(disk: Disk, clock: &Clock) -> EmbeddedBackend {
    let database = Builder::new().create_with_backend(disk).unwrap();
    open::prepare(&database, Path::new("disk")).unwrap();
    EmbeddedBackend::start(database, clock.clone(), 20).unwrap()
}

/// Everything that a reader can see: records, revision, log, history.
async fn state(backend: &EmbeddedBackend, since: &Revision) -> String {
    let mut text = format!("{}\n", backend.revision().await.unwrap());
    for collection in Collection::ALL {
        let page = backend.scan(collection, None, 1000).await.unwrap();
        writeln!(text, "{collection}: {:?}", page.records).unwrap();
    }
    writeln!(text, "{:?}", backend.changes_since(since).await.unwrap()).unwrap();
    writeln!(text, "{:?}", backend.history(None, 1000).await.unwrap()).unwrap();
    text
}

fn commit(number: usize) -> Txn {
    let key = |id: String| Key::new(Collection::Host, id);
    let fields = |size: usize| Fields::from([("v".to_owned(), "x".repeat(size))]);
    let txn = Txn::new()
        .put(key(format!("new-{number}")), fields(10), Expect::Absent)
        // Over a page's end now and then, so that the tree grows.
        .put(key("same".to_owned()), fields(900 * (number % 5)), Expect::Any)
        .entry(format!("told {number}"), 6);
    match number.checked_sub(3) {
        Some(old) => txn.delete(key(format!("new-{old}")), Expect::Exists),
        None => txn,
    }
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_the_store_before_or_after_a_commit() {
    const COMMITS: usize = 14;
    const SEEDS: u64 = 4;
    let (clock, _hand) = Clock::manual(std::time::UNIX_EPOCH + Duration::from_secs(1));
    let disk = Disk::default();
    let backend = open(disk.clone(), &clock);
    let start = backend.revision().await.unwrap();
    let mut states = vec![state(&backend, &start).await];
    let mut acknowledged = vec![disk.steps().len()];
    for number in 0..COMMITS {
        backend.commit(commit(number)).await.unwrap();
        acknowledged.push(disk.steps().len());
        states.push(state(&backend, &start).await);
    }
    let steps = disk.steps();
    drop(backend);

    let mut crashes = 0;
    for end in acknowledged[0]..=steps.len() {
        let least = acknowledged.iter().filter(|at| **at <= end).count() - 1;
        let torn = (0..SEEDS).map(|seed| Crash::Torn(end as u64 * SEEDS + seed + 1));
        for crash in [Crash::Killed, Crash::PowerCut].into_iter().chain(torn) {
            let survivor = open(left_by(crash, &steps[..end]), &clock);
            let found = state(&survivor, &start).await;
            let place = states.iter().position(|state| *state == found);
            let right = place.is_some_and(|place| (least..=least + 1).contains(&place));
            assert!(
                right,
                "step {end}, {crash:?}: {least} acknowledged, found {place:?}:\n{found}"
            );
            // And it can be written on.
            survivor.commit(commit(1000)).await.unwrap_or_else(|error| {
                assert!(matches!(error, Error::Conflict { .. }), "step {end}: {error:?}");
                start.clone()
            });
            crashes += 1;
        }
    }
    println!("{} steps of {COMMITS} commits, {crashes} crashes", steps.len() - acknowledged[0]);
}
