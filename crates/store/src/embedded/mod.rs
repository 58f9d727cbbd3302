use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Revision, Timestamp};
use runtime::Clock;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Backend, BoxFuture, CHANGE_LOG, Changes, Collection, Error, Fields, HintSender, Hints,
    HistoryEntry, Key, Lease, ScanPage, Txn,
};

#[cfg(test)]
mod crash;
mod open;
mod read;
#[cfg(test)]
mod tests;
mod threads;
mod write;

use read::Snapshot;
use threads::{Ack, ReadJob, WriteJob};
use write::Draft;

/// A durable store in a directory, for one process.
///
/// A commit is acknowledged when it is on disk; commits that wait at the same time share one `fsync`. Reads don't
/// wait for writes. The directory is made with mode 0700, the file in it with 0600.
///
/// Two threads of its own do all disk work and end when the handle is dropped; the drop waits for them, so that the
/// directory is free afterwards. After an I/O error every write fails with [`Error::Unavailable`] until the process
/// is started again.
pub struct EmbeddedBackend {
    clock: Clock,
    hints: HintSender,
    /// `None` only while being dropped.
    reads: Option<mpsc::Sender<ReadJob>>,
    /// `None` only while being dropped.
    writes: Option<mpsc::Sender<WriteJob>>,
    threads: Vec<JoinHandle<()>>,
}

/// How many operations wait for each thread before callers wait for room.
const QUEUE: usize = 1024;

impl EmbeddedBackend {
    /// Opens the store in `dir`, making both when they are not there. Blocks while it recovers from a crash.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::Corrupt`] when there is something else in its
    /// place, [`Error::Unavailable`] when the disk refuses.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, Error> {
        Self::open_with(dir, clock, CHANGE_LOG)
    }

    /// As [`EmbeddedBackend::open`], remembering at least this many changes.
    ///
    /// # Errors
    /// As [`EmbeddedBackend::open`].
    pub fn open_with(dir: &Path, clock: Clock, log_limit: usize) -> Result<Self, Error> {
        Self::start(open::open(dir)?, clock, log_limit)
    }

    fn start(database: redb::Database, clock: Clock, log_limit: usize) -> Result<Self, Error> {
        let hints = HintSender::new();
        let (reads, read_queue) = mpsc::channel(QUEUE);
        let (writes, write_queue) = mpsc::channel(QUEUE);
        let writer = threads::Writer {
            clock: clock.clone(),
            hints: hints.clone(),
            log_limit: log_limit as u64,
        };
        let threads = threads::start(database, read_queue, write_queue, writer)?;
        Ok(Self { clock, hints, reads: Some(reads), writes: Some(writes), threads })
    }

    /// Runs `job` on the reading thread.
    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Snapshot) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob = Box::new(move |snapshot| {
            // Nobody waits any more when the caller's future was dropped.
            let _ = reply.send(snapshot.and_then(job));
        });
        match &self.reads {
            Some(queue) if queue.send(job).await.is_ok() => answer.await.unwrap_or_else(|_| gone()),
            _ => gone(),
        }
    }

    /// Runs `job` in the next write transaction and answers when that is committed.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Draft<'_>) -> Result<Result<T, Error>, redb::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job: WriteJob = Box::new(move |draft| {
            let outcome = job(draft)?;
            let ack: Ack = Box::new(move || drop(reply.send(outcome)));
            Ok(ack)
        });
        match &self.writes {
            Some(queue) if queue.send(job).await.is_ok() => answer.await.unwrap_or_else(|_| gone()),
            _ => gone(),
        }
    }

    fn after(&self, ttl: Duration) -> Timestamp {
        Timestamp::from(self.clock.now()).plus(ttl)
    }
}

impl Drop for EmbeddedBackend {
    fn drop(&mut self) {
        self.reads = None;
        self.writes = None;
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// The thread dropped the job: the disk refused, which it has logged.
fn gone<T>() -> Result<T, Error> {
    let what = "the embedded store could not finish the operation".to_owned();
    Err(Error::Unavailable { what, source: None })
}

impl Backend for EmbeddedBackend {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Fields>, Error>> {
        let (key, now) = (key.clone(), self.after(Duration::ZERO));
        Box::pin(self.read(move |snapshot| snapshot.get(&key, now)))
    }

    fn scan<'a>(
        &'a self,
        collection: Collection,
        cursor: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ScanPage, Error>> {
        let (cursor, now) = (cursor.map(str::to_owned), self.after(Duration::ZERO));
        Box::pin(
            self.read(move |snapshot| {
                snapshot.scan(collection, cursor.as_deref(), limit.max(1), now)
            }),
        )
    }

    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(self.read(Snapshot::revision))
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(self.write(move |draft| draft.commit(txn)))
    }

    fn changes_since<'a>(&'a self, since: &'a Revision) -> BoxFuture<'a, Result<Changes, Error>> {
        let since = since.clone();
        Box::pin(self.read(move |snapshot| snapshot.changes_since(&since)))
    }

    fn history(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        Box::pin(self.read(move |snapshot| snapshot.history(before, limit)))
    }

    fn watch(&self) -> Hints {
        self.hints.subscribe()
    }

    fn put_lease<'a>(
        &'a self,
        key: &'a Key,
        fields: &'a Fields,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let (key, fields, until) = (key.clone(), fields.clone(), self.after(ttl));
        Box::pin(self.write(move |draft| draft.put_lease(&key, &fields, until).map(Ok)))
    }

    fn delete_lease<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        let key = key.clone();
        Box::pin(self.write(move |draft| draft.remove(&key).map(Ok)))
    }

    fn acquire<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Error>> {
        let (name, holder, until) = (name.to_owned(), holder.to_owned(), self.after(ttl));
        Box::pin(self.write(move |draft| draft.acquire(name, holder, until).map(Ok)))
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        let (lease, until) = (lease.clone(), self.after(ttl));
        Box::pin(self.write(move |draft| draft.renew(&lease, until).map(Ok)))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Error>> {
        let lease = lease.clone();
        Box::pin(self.write(move |draft| draft.release(&lease).map(Ok)))
    }
}
