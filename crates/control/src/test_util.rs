//! A control plane on a store in memory, for the tests of what stands on it.
#![expect(clippy::unwrap_used, reason = "only tests use it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use auth::Cost;
use model::{Revision, Timestamp};
use runtime::{Clock, ManualClock};
use store::{
    Backend, BoxFuture, Changes, Collection, Error, Expect, Fields, Hints, HistoryEntry, Issuance,
    Key, Lease, MemoryBackend, ProxyReport, Rejected, ScanPage, Sealer, Store, Txn,
};

use crate::Control;

/// A control plane, its store and its time. It starts on 2026-09-21 at 14:13:20 UTC.
pub struct World {
    /// The control plane.
    pub control: Control,
    /// What moves its time.
    pub hand: ManualClock,
    store: Store,
    clock: Clock,
    unplugged: Arc<AtomicBool>,
}

impl World {
    /// An empty one; passwords are hashed cheaply.
    #[expect(clippy::new_without_default, reason = "a test says what it makes")]
    pub fn new() -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let (clock, hand) = Clock::manual(start);
        let unplugged = Arc::new(AtomicBool::new(false));
        let memory = MemoryBackend::with_clock(clock.clone()).unwrap();
        let backend = Pluggable { memory, unplugged: unplugged.clone() };
        let sealer = Sealer::new(None, None, true).unwrap();
        let store = Store::new(Arc::new(backend), sealer, clock.clone());
        let control = Control::new(store.clone(), clock.clone(), Cost::new(4).unwrap()).unwrap();
        Self { control, hand, store, clock, unplugged }
    }

    /// Makes the store unreachable, or reachable again.
    pub fn unplug(&self, unplugged: bool) {
        self.unplugged.store(unplugged, Ordering::Relaxed);
    }

    /// Keeps what is known of how a certificate is come by.
    pub async fn keep(&self, issuance: &Issuance) {
        self.store.put(issuance, Expect::Any).await.unwrap();
    }

    /// Where the store stands.
    pub async fn revision(&self) -> Revision {
        self.store.backend().revision().await.unwrap()
    }

    /// Has a proxy say that it runs a revision.
    pub async fn report(&self, instance: &str, revision: Revision) {
        let key = Key::new(Collection::Host, "odd.test");
        let report = ProxyReport {
            instance: instance.to_owned(),
            revision,
            workers: 2,
            hosts: 1,
            certs: 1,
            guard: None,
            rejected: vec![Rejected::new(&key, "odd")],
            ailing: Vec::new(),
            started_at: Timestamp::from(self.clock.now()),
            version: "1.2.3".to_owned(),
            addr: "127.0.0.1:9180".to_owned(),
        };
        self.store.put_lease(&report, Duration::from_secs(10)).await.unwrap();
    }
}

/// A store in memory that can be cut off.
struct Pluggable {
    memory: MemoryBackend,
    unplugged: Arc<AtomicBool>,
}

impl Pluggable {
    fn or<'a, T: Send + 'a>(
        &'a self,
        future: BoxFuture<'a, Result<T, Error>>,
    ) -> BoxFuture<'a, Result<T, Error>> {
        if !self.unplugged.load(Ordering::Relaxed) {
            return future;
        }
        let source = Some("it is unplugged".into());
        let error = Error::Unavailable { what: "a test".to_owned(), source };
        Box::pin(std::future::ready(Err(error)))
    }
}

impl Backend for Pluggable {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Fields>, Error>> {
        self.or(self.memory.get(key))
    }

    fn scan<'a>(
        &'a self,
        collection: Collection,
        cursor: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ScanPage, Error>> {
        self.or(self.memory.scan(collection, cursor, limit))
    }

    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        self.or(self.memory.revision())
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, Error>> {
        self.or(self.memory.commit(txn))
    }

    fn changes_since<'a>(&'a self, since: &'a Revision) -> BoxFuture<'a, Result<Changes, Error>> {
        self.or(self.memory.changes_since(since))
    }

    fn history(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        self.or(self.memory.history(before, limit))
    }

    fn watch(&self) -> Hints {
        self.memory.watch()
    }

    fn put_lease<'a>(
        &'a self,
        key: &'a Key,
        fields: &'a Fields,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.or(self.memory.put_lease(key, fields, ttl))
    }

    fn delete_lease<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        self.or(self.memory.delete_lease(key))
    }

    fn acquire<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Error>> {
        self.or(self.memory.acquire(name, holder, ttl))
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        self.or(self.memory.renew(lease, ttl))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Error>> {
        self.or(self.memory.release(lease))
    }
}
