//! The use cases of the control plane, and what it does by itself. Knows no HTTP, no Redis and no ACME.
//!
//! [`Control`] checks who may do what, keeps the promises of the store (entity tags, one truth for all replicas) and
//! words what went wrong without saying how it is told ([`Error`]). Any number of replicas work on one store: what must
//! happen once is decided by an expectation in a commit or under a lock.
//!
//! ```
//! use std::sync::Arc;
//! use control::{Bootstrap, Control, Cost, HostSpec};
//! use model::Secret;
//! use runtime::Clock;
//! use store::{MemoryBackend, Sealer, Store};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let clock = Clock::system();
//! let store = Store::new(Arc::new(MemoryBackend::new()?), Sealer::new(None, None, true)?, clock.clone());
//! let control = Control::new(store, clock, Cost::new(4)?)?;
//!
//! let Bootstrap::CreatedWith(admin, password) = control.bootstrap(&"admin".parse()?, None).await? else {
//!     return Err("there were accounts".into());
//! };
//! let login = control.login(admin.as_str(), password, "127.0.0.1".parse()?).await?;
//! let actor = control.authenticate(login.token.expose()).await?;
//!
//! control.hosts().create(&actor, "*.app.test".parse()?, HostSpec::default(), false).await?;
//! let found = control.lookup(&actor, "www.app.test".parse()?).await?;
//! assert_eq!(found.matched.as_deref(), Some("*.app.test"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod acceptance;
mod actor;
mod agenda;
mod applied;
mod authority;
mod backup;
mod cert_cases;
mod certificates;
mod dns_providers;
mod error;
mod explain;
mod history;
mod hosts;
mod issuance;
mod limits;
mod lookup;
mod mirror;
mod passwords;
mod record_text;
mod records;
mod sessions;
mod status;
#[cfg(feature = "test-util")]
pub mod test_util;
mod users;
mod zones;

use std::sync::{Arc, MutexGuard, OnceLock};
use std::time::Duration;

use auth::Token;
pub use auth::{Cost, check_password};
pub use model::Reach;
use model::{Revision, Timestamp};
pub use policy::{Explained, Imagined, Step};
pub use runtime::TaskStatus;
use runtime::{Activator, Clock, Shutdown, drive};
use store::{Hints, Store};
use telemetry::CounterFamily;

pub use acceptance::Acceptance;
pub use actor::Actor;
pub use applied::Applied;
pub use backup::{Counts, Import, ImportMode, Imported, Listed, Secrets, spool};
pub use cert_cases::{CertFactsView, CertPage, CertView, Certs, ExportedCert, Uploaded};
/// The kinds of DNS providers that there are, with their settings.
pub use dns::kinds as dns_kinds;
pub use dns::{Field as DnsField, Kind as DnsKind};
pub use dns_providers::{DnsProviderSpec, DnsProviderView, DnsProviders};
pub use error::{Error, FieldError, Subject};
pub use explain::Explanation;
pub use history::{Event, EventFilter, EventPage, FieldChange, RolledBack, Verb};
pub use hosts::{Conditions, HostPage, HostPatch, HostSpec, HostView, Hosts, KEPT_PASSWORD};
pub use issuance::{Lifecycle, OrderLimits};
pub use lookup::{Candidate, Lookup};
pub use sessions::Login;
pub use status::{CertificateDue, CertificateFailing, ProxyStatus, Status};
pub use store::{Attempt, AttemptFailure, DnsProviderRecord, Domain, Issuance, Window};
pub use users::{Bootstrap, UserPage, UserPatch, UserView, Users};

use certificates::Certificates;
use issuance::Driver;
use limits::LoginLimits;
use mirror::{Mirror, Tables};
use passwords::PasswordWorker;
use zones::Zones;

/// How often the certificates are looked after when nothing wakes them.
const TURN: Duration = Duration::from_secs(1);
/// How long a lock lasts when its holder dies.
const LOCK: Duration = Duration::from_secs(20);
/// How often a lock that somebody has is asked for, and how long in between.
const LOCK_ATTEMPTS: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The use cases of the control plane, on one store. Cheap to clone; replicas on one store work together.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    /// Tells this process from the others in locks; made anew at each start.
    instance: String,
    passwords: PasswordWorker,
    limits: LoginLimits,
    mirror: Mirror,
    certificates: Activator,
    issuance: Activator,
    zones: Activator,
    failures: OnceLock<CounterFamily<1>>,
    /// Where hosts may not lead.
    reach: OnceLock<Reach>,
}

impl Control {
    /// The control plane over a store. New passwords are hashed at `cost`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no random bytes.
    pub fn new(store: Store, clock: Clock, cost: Cost) -> Result<Self, Error> {
        let random = Token::generate().map_err(|error| Error::Internal(error.into()))?;
        let instance = random.hash()[..16].to_owned();
        Ok(Self(Arc::new(Inner {
            store,
            clock,
            passwords: PasswordWorker::new(cost),
            limits: LoginLimits::new(instance.clone()),
            instance,
            mirror: Mirror::default(),
            certificates: Activator::new(),
            issuance: Activator::new(),
            zones: Activator::new(),
            failures: OnceLock::new(),
            reach: OnceLock::new(),
        })))
    }

    /// Refuses hosts whose upstreams are out of this reach, instead of the one without listeners of our own. Counts once.
    pub fn keeps_within(&self, reach: Reach) {
        let _ = self.0.reach.set(reach);
    }

    fn reach(&self) -> &Reach {
        self.0.reach.get_or_init(Reach::default)
    }

    /// The use cases about hosts.
    pub fn hosts(&self) -> Hosts<'_> {
        Hosts(self)
    }

    /// The use cases about DNS providers.
    pub fn dns_providers(&self) -> DnsProviders<'_> {
        DnsProviders(self)
    }

    /// The use cases about certificates.
    pub fn certs(&self) -> Certs<'_> {
        Certs(self)
    }

    /// What the control plane does by itself, until the drain: keeps certificates in order, those of the local authority and, with a
    /// `lifecycle`, those of others.
    pub async fn run(self, shutdown: Shutdown, lifecycle: Option<Lifecycle>) {
        let mut hints = self.store().backend().watch();
        let activator = self.certificates_activator().clone();
        let task = Certificates::new(self.clone());
        let driving = drive(task, TURN, activator, shutdown.clone(), self.clock().clone());
        let waking = async {
            loop {
                if let Err(error) = self.heed(&mut hints).await {
                    tracing::debug!(%error, "an edit by others was not taken in; all is read again");
                }
                self.certificates_changed();
                hints.next().await;
            }
        };
        let zones = drive(
            Zones(self.clone()),
            Zones::PERIOD,
            self.0.zones.clone(),
            shutdown.clone(),
            self.clock().clone(),
        );
        let issuing = async {
            if let Some(lifecycle) = &lifecycle {
                Driver::new(&self, lifecycle).run(&self.0.issuance, &shutdown).await;
            }
        };
        tokio::select! {
            _ = futures_util::future::join3(driving, zones, issuing) => {}
            () = waking => {}
        }
    }

    /// Takes in what others changed behind the store's back.
    async fn heed(&self, hints: &mut Hints) -> Result<(), Error> {
        self.0.mirror.touched(&self.0.store, hints.touched()).await
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now().into()
    }

    fn passwords(&self) -> &PasswordWorker {
        &self.0.passwords
    }

    fn limits(&self) -> &LoginLimits {
        &self.0.limits
    }

    /// What is remembered, as of the last [`Control::refresh`].
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.mirror.tables()
    }

    /// Brings what is remembered up to date; returns the revision that it includes.
    async fn refresh(&self) -> Result<Revision, Error> {
        self.0.mirror.refresh(&self.0.store).await
    }

    fn instance(&self) -> &str {
        &self.0.instance
    }

    fn certificates_activator(&self) -> &Activator {
        &self.0.certificates
    }

    /// Has the certificates looked after now instead of at the next turn.
    fn certificates_changed(&self) {
        self.0.certificates.wake();
        self.0.issuance.wake();
    }

    /// Has every DNS provider asked for its zones now.
    fn zones_changed(&self) {
        self.0.zones.wake();
    }

    /// Counts an attempt that failed.
    fn count_failure(&self, code: &str) {
        if let Some(failures) = self.0.failures.get() {
            failures.shared([code]).add(1);
        }
    }

    /// Does something while no other replica does anything under the same lock.
    async fn with_lock<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let backend = self.store().backend();
        for _ in 0..LOCK_ATTEMPTS {
            if let Some(lease) = backend.acquire(name, &self.0.instance, LOCK).await? {
                let outcome = work.await;
                // When this fails the lock ends by itself.
                if let Err(error) = backend.release(&lease).await {
                    tracing::debug!(%error, name, "a lock was not released");
                }
                return outcome;
            }
            self.clock().sleep(LOCK_PAUSE).await;
        }
        Err(Error::Busy { retry_after: Duration::from_secs(1) })
    }
}
