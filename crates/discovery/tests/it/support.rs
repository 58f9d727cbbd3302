//! A store that can be switched off and replaced, and a discovery that follows it by a clock that is turned by hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use certs::{CertTable, LocalCa};
use discovery::{Discovery, Settings, StateFile};
use model::{CertRecord, Host, Revision, Timestamp};
use proxy::{Digest, Tables};
use runtime::{Clock, ManualClock, Shutdown, Tasks};
use store::{
    Backend, BoxFuture, Changes, Collection, Error, Expect, Fields, Hints, HistoryEntry, Key,
    Lease, ProxyReport, Record, ScanPage, Sealer, Store, StoreAccept, Txn,
};

pub(crate) const INSTANCE: &str = "proxy-1";
const START: Duration = Duration::from_secs(1_790_000_000);

/// Passes everything on to a real backend, unless it is off.
pub(crate) struct Switched {
    inner: Mutex<Arc<dyn Backend>>,
    off: AtomicBool,
    behind: Mutex<Option<(Key, Txn)>>,
}

impl Switched {
    pub(crate) fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(inner),
            off: AtomicBool::new(false),
            behind: Mutex::default(),
        })
    }

    /// Commits this once a page shows this key, and hands the page on after that.
    pub(crate) fn change_behind(&self, key: Key, change: Txn) {
        *self.behind.lock().unwrap() = Some((key, change));
    }

    /// What is to be committed behind this page.
    fn behind(&self, collection: Collection, page: &ScanPage) -> Option<Txn> {
        let mut behind = self.behind.lock().unwrap();
        let (key, _) = behind.as_ref()?;
        let shows =
            key.collection == collection && page.records.iter().any(|(id, _)| *id == key.id);
        if shows { behind.take().map(|(_, change)| change) } else { None }
    }

    pub(crate) fn switch(&self, on: bool) {
        self.off.store(!on, Ordering::SeqCst);
    }

    /// Another store in the same place. Hints still come from the former one, that is: none.
    pub(crate) fn replace(&self, inner: Arc<dyn Backend>) {
        *self.inner.lock().unwrap() = inner;
    }

    fn on(&self) -> Result<Arc<dyn Backend>, Error> {
        if self.off.load(Ordering::SeqCst) {
            return Err(Error::Unavailable { what: "it is switched off".into(), source: None });
        }
        Ok(self.inner.lock().unwrap().clone())
    }
}

impl Backend for Switched {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Fields>, Error>> {
        Box::pin(async move { self.on()?.get(key).await })
    }

    fn scan<'a>(
        &'a self,
        collection: Collection,
        cursor: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ScanPage, Error>> {
        // Small pages, so that there are several.
        Box::pin(async move {
            let page = self.on()?.scan(collection, cursor, limit.min(3)).await?;
            if let Some(change) = self.behind(collection, &page) {
                self.on()?.commit(change).await?;
            }
            Ok(page)
        })
    }

    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(async move { self.on()?.revision().await })
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(async move { self.on()?.commit(txn).await })
    }

    fn changes_since<'a>(&'a self, since: &'a Revision) -> BoxFuture<'a, Result<Changes, Error>> {
        Box::pin(async move { self.on()?.changes_since(since).await })
    }

    fn history(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        Box::pin(async move { self.on()?.history(before, limit).await })
    }

    fn watch(&self) -> Hints {
        self.inner.lock().unwrap().watch()
    }

    fn put_lease<'a>(
        &'a self,
        key: &'a Key,
        fields: &'a Fields,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.on()?.put_lease(key, fields, ttl).await })
    }

    fn delete_lease<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.on()?.delete_lease(key).await })
    }

    fn acquire<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Error>> {
        Box::pin(async move { self.on()?.acquire(name, holder, ttl).await })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { self.on()?.renew(lease, ttl).await })
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.on()?.release(lease).await })
    }
}

/// Discovery between a store and tables, and hands on all of them.
pub(crate) struct World {
    pub(crate) switched: Arc<Switched>,
    /// The store as its writers have it: never switched off.
    pub(crate) store: Store,
    pub(crate) tables: Arc<Tables>,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) shutdown: Shutdown,
    pub(crate) tasks: Tasks,
    pub(crate) discovery: Option<Discovery>,
    ca: LocalCa,
}

impl World {
    pub(crate) fn new(make: impl FnOnce(Clock) -> Arc<dyn Backend>) -> Self {
        Self::with(make, None)
    }

    /// With a last-known-good file.
    pub(crate) fn with(
        make: impl FnOnce(Clock) -> Arc<dyn Backend>,
        state_file: Option<StateFile>,
    ) -> Self {
        let (clock, hand) = Clock::manual(SystemTime::UNIX_EPOCH + START);
        let backend = make(clock.clone());
        let switched = Switched::new(backend.clone());
        let store = |backend: Arc<dyn Backend>| {
            Store::new(backend, Sealer::new(None, None, true).unwrap(), clock.clone())
        };
        let tables = Arc::new(Tables::new(Arc::new(CertTable::new(now(&clock)).unwrap())));
        let settings =
            Settings { instance: INSTANCE.into(), workers: 2, state_file, ..Settings::default() };
        let followed = store(switched.clone());
        let discovery = Discovery::new(followed, tables.clone(), settings, clock.clone());
        Self {
            store: store(backend),
            switched,
            tables,
            hand,
            shutdown: Shutdown::new(),
            tasks: Tasks::new(),
            discovery: Some(discovery),
            ca: LocalCa::generate(now(&clock)).unwrap(),
            clock,
        }
    }

    pub(crate) fn run(&mut self) {
        let discovery = self.discovery.take().unwrap();
        self.tasks.spawn("discovery", discovery.run(self.shutdown.clone()));
    }

    pub(crate) async fn stop(&self) {
        self.shutdown.drain();
        self.tasks.wait().await;
    }

    /// Says as an operator that this store is to be believed.
    pub(crate) async fn accept(&self, store: &Store) -> Revision {
        let word = StoreAccept {
            revision: store.backend().revision().await.unwrap(),
            accepted_by: "admin".parse().unwrap(),
            accepted_at: now(&self.clock),
        };
        store.put(&word, Expect::Any).await.unwrap().revision
    }

    /// The reason for which the guard is up.
    pub(crate) fn guard(&self) -> Option<&'static str> {
        self.tables.state().guard.as_ref().map(|guard| guard.reason)
    }

    pub(crate) fn cert(&self, name: &str) -> CertRecord {
        self.ca.issue(&name.parse().unwrap(), now(&self.clock)).unwrap()
    }

    /// Writes as somebody who does not know of revisions and tells nobody.
    pub(crate) async fn write_quietly(&self, key: &Key, fields: &Fields) {
        self.store.backend().put_lease(key, fields, Duration::from_secs(1 << 30)).await.unwrap();
    }

    pub(crate) async fn report(&self) -> Option<ProxyReport> {
        self.store.get::<ProxyReport>(INSTANCE).await.unwrap().map(|found| found.value)
    }

    /// Waits until the proxy has reported that it runs what the store has now.
    pub(crate) async fn settled(&self) -> ProxyReport {
        let revision = self.store.backend().revision().await.unwrap();
        let settled = async {
            loop {
                match self.report().await {
                    Some(report) if report.revision.includes(&revision) => return report,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), settled).await.unwrap()
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, mut is_so: impl FnMut(&Tables) -> bool) {
        let wait = async {
            while !is_so(&self.tables) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
    }

    /// The fingerprint that the tables should have, from the store itself.
    pub(crate) async fn expected_digest(&self) -> Digest {
        let mut digest = Digest::default();
        for host in self.all::<Host>().await {
            digest.add_host(&host);
        }
        for cert in self.all::<CertRecord>().await {
            digest.add_cert(&cert);
        }
        digest
    }

    async fn all<R: Record>(&self) -> Vec<R> {
        let page = self.store.list::<R>(None, 1000).await.unwrap();
        assert!(page.next.is_none());
        page.records.into_iter().map(|found| found.value).collect()
    }
}

pub(crate) fn host(pattern: &str, port: u16) -> Host {
    let mut host = Host::new(pattern.parse().unwrap());
    host.upstreams.push(format!("127.0.0.1:{port}").parse().unwrap());
    host
}

fn now(clock: &Clock) -> Timestamp {
    clock.now().into()
}
