//! The only bridge between the store and the tables that the data plane answers from.
//!
//! It follows the store level-triggered: a hint or a timer says *look*, a read says what is so, and one function
//! applies one record, be it the first load, a change, a reconnect or the reconcile of every minute. A record that
//! can't be taken over is reported and keeps its last good value; it never stops the others. While the store does not
//! answer, the tables stay and are marked stale.
//!
//! Meanwhile a name that the tables don't have is asked of the control plane on this machine, if there is one.
//!
//! Back to the store go a report on what this proxy runs, under a lease, and the names that handshakes want a
//! certificate for.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use discovery::{Discovery, Settings};
//! use model::Host;
//! use store::{Expect, MemoryBackend, Sealer, Store};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let clock = runtime::Clock::system();
//! let store = Store::new(Arc::new(MemoryBackend::new()?), Sealer::new(None, None, true)?, clock.clone());
//! let certs = certs::CertTable::new(clock.now().into())?;
//! let tables = Arc::new(proxy::Tables::new(Arc::new(certs)));
//! store.put(&Host::new("app.test".parse()?), Expect::Absent).await?;
//!
//! let settings = Settings { instance: "proxy-1".into(), ..Settings::default() };
//! let mut discovery = Discovery::new(store, tables.clone(), settings, clock);
//! discovery.first_load(Duration::from_secs(3)).await?;
//! assert!(tables.route("app.test").is_some());
//!
//! let shutdown = runtime::Shutdown::new();
//! shutdown.drain();
//! discovery.run(shutdown).await; // a service of the daemon
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod backoff;
mod lookup;
mod replica;
mod report;
mod wanted;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use proxy::Tables;
use runtime::{Clock, Shutdown};
use store::{Hints, Key, ProxyReport, Store, Touched};
use tokio::sync::watch;

use backoff::Backoff;
use replica::Replica;

/// How often the log of changes is looked at without a hint: hints may be lost.
const LOOK: Duration = Duration::from_secs(2);
/// How often everything is read, for changes that nothing told of.
const RECONCILE: Duration = Duration::from_secs(60);

/// What a proxy says of itself in its report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its name, unique among the proxies of one store.
    pub instance: String,
    /// How many workers it has.
    pub workers: u64,
    /// Its version.
    pub version: String,
    /// Where its admin port listens.
    pub addr: String,
    /// Where to ask for names that the tables don't have while the store can't be read.
    pub lookup_socket: Option<PathBuf>,
}

/// Why there is no first table yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store did not answer in time. [`Discovery::run`] keeps trying.
    #[error("the store did not answer in time")]
    NoAnswer,
    /// The store could not be read. [`Discovery::run`] keeps trying.
    #[error("the store can't be read")]
    Store(#[from] store::Error),
}

/// Keeps tables as the store has it, and tells the store.
pub struct Discovery {
    replica: Replica,
    hints: Hints,
    report: watch::Sender<Option<ProxyReport>>,
    settings: Settings,
    started_at: Timestamp,
    store: Store,
    tables: Arc<Tables>,
    clock: Clock,
}

impl Discovery {
    /// Nothing is read yet.
    pub fn new(store: Store, tables: Arc<Tables>, settings: Settings, clock: Clock) -> Self {
        Self {
            // Before anything is read, so that no change falls between.
            hints: store.backend().watch(),
            replica: Replica::new(store.clone(), tables.clone()),
            report: watch::Sender::new(None),
            settings,
            started_at: clock.now().into(),
            store,
            tables,
            clock,
        }
    }

    /// Loads the tables, trying for at most `patience`. Not needed before [`run`](Self::run), which loads them too:
    /// it lets a daemon start with a table when the store is well, and start without one when it is not. Cancel safe.
    ///
    /// # Errors
    /// The last failure; the tables are marked stale and not loaded.
    pub async fn first_load(&mut self, patience: Duration) -> Result<(), Error> {
        let end = self.clock.sleep(patience);
        let mut last = None;
        let load = async {
            let mut backoff = Backoff::default();
            while let Err(error) = self.replica.catch_up(true).await {
                last = Some(error);
                self.clock.sleep(backoff.next()).await;
            }
        };
        tokio::select! {
            () = load => {
                self.publish();
                self.report_in().await;
                return Ok(());
            }
            () = end => {}
        }
        self.replica.mark_stale();
        Err(last.map_or(Error::NoAnswer, Error::Store))
    }

    /// Follows the store until the drain; then takes the report back.
    pub async fn run(mut self, shutdown: Shutdown) {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let report = report::keep(&store, self.report.subscribe(), &clock);
        let tables = self.tables.clone();
        let wanted = wanted::forward(&store, &tables, &clock);
        let socket = self.settings.lookup_socket.clone();
        let lookup = lookup::serve(socket.as_deref(), &tables, store.sealer());
        // None of the four ever ends.
        tokio::select! {
            () = self.follow() => {}
            () = report => {}
            () = wanted => {}
            () = lookup => {}
            () = shutdown.draining() => {}
        }
        report::withdraw(&store, &self.settings.instance, &clock).await;
    }

    async fn follow(&mut self) {
        let mut backoff = Backoff::default();
        let mut everything = false;
        let mut reconcile = Box::pin(self.clock.sleep(RECONCILE));
        loop {
            let touched = match self.hints.touched() {
                Touched::Everything => {
                    everything = true;
                    Vec::new()
                }
                Touched::Keys(keys) => keys,
            };
            match self.catch_up(everything, &touched).await {
                Ok(()) => {
                    self.publish();
                    backoff = Backoff::default();
                    if everything {
                        reconcile = Box::pin(self.clock.sleep(RECONCILE));
                        everything = false;
                    }
                }
                Err(error) => {
                    if self.replica.mark_stale() {
                        tracing::warn!(error = chain(&error), "the store can't be read");
                    }
                    tokio::select! {
                        () = self.clock.sleep(backoff.next()) => {}
                        // A reconnect is a hint.
                        () = self.hints.next() => {}
                    }
                    // Whatever happened meanwhile, and whoever did it.
                    everything = true;
                    continue;
                }
            }
            tokio::select! {
                () = self.hints.next() => {}
                () = self.clock.sleep(LOOK) => {}
                () = &mut reconcile => everything = true,
            }
        }
    }

    /// By what the store's log tells, and by reading what was `touched` behind its back.
    async fn catch_up(&mut self, everything: bool, touched: &[Key]) -> Result<(), store::Error> {
        self.replica.read(touched).await?;
        self.replica.catch_up(everything).await
    }

    /// Puts the first report in the store before anybody is told that this proxy serves: who waits for a change to be
    /// applied everywhere has to know of it.
    async fn report_in(&self) {
        let report = self.report.borrow().clone();
        if let Some(report) = report {
            report::put(&self.store, &report, &self.clock).await;
        }
    }

    /// Hands the report on when it says something new.
    fn publish(&self) {
        let Some(revision) = self.replica.applied().cloned() else { return };
        let report = ProxyReport {
            instance: self.settings.instance.clone(),
            revision,
            workers: self.settings.workers,
            hosts: self.tables.hosts() as u64,
            certs: self.tables.certs().len() as u64,
            rejected: self.replica.rejected(),
            started_at: self.started_at,
            version: self.settings.version.clone(),
            addr: self.settings.addr.clone(),
        };
        self.report.send_if_modified(|old| old.replace(report.clone()).as_ref() != Some(&report));
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
