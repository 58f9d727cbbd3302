//! The use cases of the control plane and what keeps it going by itself. Knows no HTTP, no Redis and no ACME.
#![forbid(unsafe_code)]

mod actor;
mod agenda;
mod applied;
mod error;
mod hosts;
mod limits;
mod lookup;
mod mirror;
mod passwords;
mod sessions;
mod status;
mod users;

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use auth::Token;
pub use auth::{Cost, check_password};
use model::{Revision, Timestamp};
pub use runtime::TaskStatus;
use runtime::{Activator, Clock, Shutdown};
use store::Store;

pub use actor::Actor;
pub use applied::Applied;
pub use error::{Error, FieldError, Subject};
pub use hosts::{Conditions, HostPage, HostPatch, HostSpec, HostView, Hosts};
pub use lookup::{Candidate, Lookup};
pub use sessions::Login;
pub use status::{CertificateDue, ProxyStatus, Status};
pub use users::{Bootstrap, UserPage, UserPatch, UserView, Users};

use limits::LoginLimits;
use mirror::{Mirror, Tables};
use passwords::PasswordWorker;

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
        })))
    }

    /// The use cases about hosts.
    pub fn hosts(&self) -> Hosts<'_> {
        Hosts(self)
    }

    /// What the control plane does by itself, until the drain: keeps the certificates of the local authority in order.
    pub async fn run(self, shutdown: Shutdown) {
        shutdown.draining().await;
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

    fn certificates_activator(&self) -> &Activator {
        &self.0.certificates
    }

    /// Has the certificates looked after now instead of at the next turn.
    fn certificates_changed(&self) {
        self.0.certificates.wake();
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

impl Control {
    /// The root certificate of the local authority, PEM.
    ///
    /// # Errors
    /// Not there yet.
    pub async fn ca_root_pem(&self) -> Result<String, Error> {
        Err(Error::Internal("not there yet".into()))
    }
}
