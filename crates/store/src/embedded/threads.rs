use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use model::Timestamp;
use redb::{Database, Durability};
use runtime::Clock;
use tokio::sync::mpsc;

use super::read::Snapshot;
use super::write::{Draft, Effect};
use crate::{Error, HintSender};

/// A read to do on a snapshot, or to fail.
pub(super) type ReadJob = Box<dyn FnOnce(Result<&Snapshot, Error>) + Send>;
/// A write to do in a transaction; dropped unanswered when the disk refuses.
pub(super) type WriteJob = Box<dyn FnOnce(&mut Draft<'_>) -> Result<Ack, redb::Error> + Send>;
/// Tells the caller; run once the transaction is committed.
pub(super) type Ack = Box<dyn FnOnce() + Send>;

/// The largest group of operations that share a commit.
const GROUP: usize = 256;

/// Starts the reading and the writing thread. They end when their queue is closed and empty.
pub(super) fn start(
    database: Database,
    mut reads: mpsc::Receiver<ReadJob>,
    mut writes: mpsc::Receiver<WriteJob>,
    writer: Writer,
) -> Result<Vec<JoinHandle<()>>, Error> {
    let database = Arc::new(database);
    let failed = |cause: io::Error| Error::Unavailable {
        what: "starting the threads of the embedded store".to_owned(),
        source: Some(cause.into()),
    };
    // A runtime of the writer's own, so that it can wait for work and for the next expiry at once.
    let timer = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let timer = timer.map_err(failed)?;
    let shared = database.clone();
    let reading = thread("store-read").spawn(move || {
        while let Some(job) = reads.blocking_recv() {
            match Snapshot::take(&shared) {
                Ok(snapshot) => job(Ok(&snapshot)),
                Err(cause) => job(Err(cause)),
            }
        }
    });
    let writing = thread("store-write").spawn(move || {
        timer.block_on(writer.run(&database, &mut writes));
    });
    Ok(vec![reading.map_err(failed)?, writing.map_err(failed)?])
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned())
}

/// What the writing thread works with.
pub(super) struct Writer {
    pub(super) clock: Clock,
    pub(super) hints: HintSender,
    pub(super) log_limit: u64,
}

impl Writer {
    async fn run(&self, database: &Database, queue: &mut mpsc::Receiver<WriteJob>) {
        // Once at the start, for what expired while nobody was there.
        let mut next_expiry = self.group(database, Vec::new());
        let mut jobs = Vec::new();
        loop {
            tokio::select! {
                received = queue.recv_many(&mut jobs, GROUP) => {
                    if received == 0 {
                        return;
                    }
                }
                () = self.sleep_until(next_expiry) => {}
            }
            next_expiry = self.group(database, std::mem::take(&mut jobs));
        }
    }

    /// Does a group of writes as one transaction and acknowledges them; returns when the next record expires.
    fn group(&self, database: &Database, jobs: Vec<WriteJob>) -> Option<Timestamp> {
        match self.try_group(database, jobs) {
            Ok((acks, effect, next_expiry)) => {
                acks.into_iter().for_each(|ack| ack());
                if effect.changed {
                    self.hints.hint();
                }
                next_expiry
            }
            Err(cause) => {
                tracing::error!(
                    error = &cause as &dyn std::error::Error,
                    "the embedded store can't write"
                );
                // Not at once again, should an expiry be what fails.
                Some(Timestamp::from(self.clock.now()).plus(Duration::from_secs(1)))
            }
        }
    }

    fn try_group(
        &self,
        database: &Database,
        jobs: Vec<WriteJob>,
    ) -> Result<(Vec<Ack>, Effect, Option<Timestamp>), redb::Error> {
        let mut txn = database.begin_write()?;
        let mut draft = Draft::begin(&txn, self.clock.now().into(), self.log_limit)?;
        let acks: Vec<Ack> =
            jobs.into_iter().map(|job| job(&mut draft)).collect::<Result<_, _>>()?;
        let (effect, next_expiry) = (draft.effect, draft.next_expiry()?);
        drop(draft);
        if !effect.durable {
            txn.set_durability(Durability::None)?;
        }
        txn.commit()?;
        Ok((acks, effect, next_expiry))
    }

    async fn sleep_until(&self, moment: Option<Timestamp>) {
        match moment {
            Some(at) => {
                let left = SystemTime::from(at).duration_since(self.clock.now());
                self.clock.sleep(left.unwrap_or_default()).await;
            }
            None => std::future::pending().await,
        }
    }
}
