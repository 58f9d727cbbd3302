//! The only bridge between the store and the tables that the data plane answers from.
//!
//! It follows the store level-triggered: a hint or a timer says *look*, a read says what is so, and one function
//! applies one record, be it the first load, a change, a reconnect or the reconcile of every minute. A record that
//! can't be taken over is reported and keeps its last good value; it never stops the others. While the store does not
//! answer, the tables stay and are marked stale. A store that was wiped or replaced, or from which most hosts are gone, is
//! not believed until an operator says so (`guard.rs`).
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
mod challenges;
mod guard;
mod kept;
mod lookup;
mod pace;
mod replica;
mod report;
mod sweep;
mod wanted;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use proxy::Tables;
use runtime::{Clock, Shutdown, with_causes};
use store::{Ailing, GuardReport, Hints, Key, ProxyReport, Store, Touched};
use tokio::sync::watch;

use backoff::Backoff;
use kept::{Keeper, Worth};
use replica::{Look, Replica};
use sweep::Reading;

/// How often the log of changes is looked at without a hint: hints may be lost.
const LOOK: Duration = Duration::from_secs(2);
/// How often everything is read, for changes that nothing told of.
const RECONCILE: Duration = Duration::from_secs(60);

/// How many upstreams a report names; it has to stay small.
const AILING: usize = 100;

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
    /// Where it keeps what it serves for a start without the store; `None`: nowhere.
    pub state_file: Option<StateFile>,
}

/// The last-known-good file.
///
/// With `CERT_KEY` it is sealed. Without, it holds private keys only if plaintext is allowed, and else no certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFile {
    /// Its path. Beside it are a journal of the changes since it was written, ending in `.journal`, and while it is written
    /// anew one ending in `.new`.
    pub path: PathBuf,
    /// Whether private keys may stand in it in clear.
    pub plaintext: bool,
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
    worth: watch::Sender<Option<Worth>>,
    /// What the last-known-good file holds, once it was looked at.
    restored: Option<Option<Worth>>,
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
            replica: Replica::new(
                store.clone(),
                tables.clone(),
                clock.clone(),
                settings.state_file.is_some(),
            ),
            report: watch::Sender::new(None),
            worth: watch::Sender::new(None),
            restored: None,
            settings,
            started_at: clock.now().into(),
            store,
            tables,
            clock,
        }
    }

    /// Loads the tables, trying for at most `patience`. Not needed before [`run`](Self::run), which loads them too:
    /// it lets a daemon start with a table when the store is well, and start with the last-known-good one or without when it
    /// is not. Cancel safe.
    ///
    /// # Errors
    /// The last failure; the tables are marked stale, and are loaded only from the last-known-good file.
    pub async fn first_load(&mut self, patience: Duration) -> Result<(), Error> {
        self.restore().await;
        let end = self.clock.sleep(patience);
        let mut last = None;
        let load = async {
            let mut backoff = Backoff::default();
            while let Err(error) = self.replica.catch_up(Reading::Now).await {
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
        self.restore().await;
        let mut keeper = self.keeper();
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let report = report::keep(&store, self.report.subscribe(), &clock);
        let tables = self.tables.clone();
        let wanted = wanted::forward(&store, &tables, &clock);
        let socket = self.settings.lookup_socket.clone();
        let lookup = lookup::serve(socket.as_deref(), &tables, store.sealer());
        let challenges = challenges::serve(&store, &tables);
        let keeping = async {
            match &mut keeper {
                Some(keeper) => keeper.run().await,
                None => std::future::pending().await,
            }
        };
        // None of them ever ends.
        tokio::select! {
            () = keeping => {}
            () = self.follow() => {}
            () = report => {}
            () = wanted => {}
            () = lookup => {}
            () = challenges => {}
            () = shutdown.draining() => {}
        }
        let last = async {
            if let Some(keeper) = &mut keeper {
                keeper.last().await;
            }
        };
        tokio::join!(last, report::withdraw(&store, &self.settings.instance, &clock));
    }

    /// Loads the last-known-good file, once. One that can't be used is as none.
    async fn restore(&mut self) {
        if self.restored.is_some() {
            return;
        }
        self.restored = Some(None);
        let Some(file) = self.settings.state_file.clone() else { return };
        let path = file.path.display();
        match kept::restore(&file, &mut self.replica).await {
            Ok(true) => {
                let hosts = self.tables.hosts();
                tracing::info!(%path, hosts, "the last-known-good table is loaded");
                self.restored = Some(self.worth());
                self.publish();
            }
            Ok(false) => {}
            Err(flaw) => {
                let error = with_causes(&flaw);
                tracing::error!(%path, error, "the last-known-good file is refused; starting as without one");
            }
        }
    }

    fn keeper(&self) -> Option<Keeper> {
        let file = self.settings.state_file.clone()?;
        Some(Keeper {
            file,
            store: self.store.clone(),
            tables: self.tables.clone(),
            clock: self.clock.clone(),
            worth: self.worth.subscribe(),
            kept: self.restored.clone().flatten(),
            fresh: self.replica.fresh.clone()?,
            pending: kept::Gathered::default(),
            journal: None,
        })
    }

    fn worth(&self) -> Option<Worth> {
        Some(Worth {
            changes: self.replica.changes(),
            revision: self.replica.applied()?.clone(),
            accepted_at: self.replica.accepted_at(),
        })
    }

    async fn follow(&mut self) {
        let mut backoff = Backoff::default();
        let mut reading = Reading::No;
        let mut reconcile = Box::pin(self.clock.sleep(RECONCILE));
        let mut rest = Box::pin(self.clock.sleep(Duration::ZERO));
        let mut rested = true;
        loop {
            let touched = match self.hints.touched() {
                Touched::Everything => {
                    reading = Reading::Now;
                    self.replica.sweep_again();
                    Vec::new()
                }
                Touched::Keys(keys) => keys,
            };
            let began = self.clock.now();
            match self.turn(reading, &touched, rested).await {
                Ok(look) => {
                    self.publish();
                    backoff = Backoff::default();
                    reading = if look == Look::Again { Reading::Now } else { Reading::No };
                    if look == Look::Again {
                        continue;
                    }
                }
                Err(error) => {
                    if self.replica.mark_stale() {
                        tracing::warn!(error = with_causes(&error), "the store can't be read");
                    }
                    self.replica.sweep = None;
                    tokio::select! {
                        () = self.clock.sleep(backoff.next()) => {}
                        // A reconnect is a hint.
                        () = self.hints.next() => {}
                    }
                    // Whatever happened meanwhile, and whoever did it.
                    reading = Reading::Now;
                    continue;
                }
            }
            let pause = match self.replica.reading() {
                Reading::No => LOOK,
                Reading::Now => {
                    reconcile = Box::pin(self.clock.sleep(RECONCILE));
                    tokio::task::yield_now().await;
                    continue;
                }
                Reading::Spread => {
                    if std::mem::take(&mut rested) {
                        let took = self.clock.now().duration_since(began).unwrap_or_default();
                        rest = Box::pin(self.clock.sleep(self.replica.rest(took)));
                    }
                    LOOK
                }
            };
            tokio::select! {
                () = self.hints.next() => {}
                () = self.clock.sleep(pause) => {}
                () = &mut rest, if !rested => rested = true,
                () = &mut reconcile => {
                    reconcile = Box::pin(self.clock.sleep(RECONCILE));
                    // One that is under way goes on at its pace.
                    if self.replica.reading() == Reading::No {
                        reading = Reading::Spread;
                        rested = true;
                    }
                }
            }
        }
    }

    /// One look at the log, and at some pages when everything is being read.
    async fn turn(
        &mut self,
        reading: Reading,
        touched: &[Key],
        rested: bool,
    ) -> Result<Look, store::Error> {
        let mut look = self.replica.look(reading, touched).await?;
        let strides = self.replica.reading() == Reading::Now || rested;
        if strides && self.replica.stride().await? == Look::Again {
            look = Look::Again;
        }
        Ok(look)
    }

    /// Puts the first report in the store before anybody is told that this proxy serves: who waits for a change to be
    /// applied everywhere has to know of it.
    async fn report_in(&self) {
        let report = self.report.borrow().clone();
        if let Some(report) = report {
            report::put(&self.store, &report, &self.clock).await;
        }
    }

    /// The upstreams that are not used as usual. What is known already keeps its time, so that the report says something new
    /// only when there is something new.
    fn ailing(&self) -> Vec<Ailing> {
        let former = self.report.borrow();
        let former = former.as_ref().map_or(&[][..], |report| &report.ailing);
        let now = self.clock.now();
        let told = |it: proxy::Ailing| {
            let is_it = |one: &&Ailing| {
                one.host == it.host && one.upstream == it.upstream && one.state == it.state
            };
            former.iter().find(is_it).cloned().unwrap_or_else(|| Ailing {
                since: now.checked_sub(it.age).unwrap_or(now).into(),
                state: it.state.to_owned(),
                upstream: it.upstream,
                host: it.host,
            })
        };
        self.tables.ailing(AILING).into_iter().map(told).collect()
    }

    /// Hands the report on when it says something new, and what is worth keeping when the store is believed.
    fn publish(&self) {
        let state = self.tables.state();
        if state.loaded && !state.stale && state.guard.is_none() {
            let worth = self.worth();
            self.worth.send_if_modified(|old| {
                *old != worth && {
                    *old = worth;
                    true
                }
            });
        }
        let Some(revision) = self.replica.applied().cloned() else { return };
        let report = ProxyReport {
            instance: self.settings.instance.clone(),
            revision,
            workers: self.settings.workers,
            hosts: self.tables.hosts() as u64,
            certs: self.tables.certs().len() as u64,
            guard: state.guard.as_ref().map(|guard| GuardReport {
                reason: guard.reason.to_owned(),
                detail: guard.detail.clone(),
                seen: guard.seen.clone(),
                since: guard.since,
            }),
            rejected: self.replica.rejected(),
            ailing: self.ailing(),
            started_at: self.started_at,
            version: self.settings.version.clone(),
            addr: self.settings.addr.clone(),
        };
        self.report.send_if_modified(|old| old.replace(report.clone()).as_ref() != Some(&report));
    }
}
