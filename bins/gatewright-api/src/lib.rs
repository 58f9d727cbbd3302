//! The control plane as a library: what `gatewright-api` runs, and `gatewright up` beside the proxy.
//!
//! [`open`] reaches for what is shared with the rest of the process, [`Api::bind`] takes the port, [`Api::run`] serves
//! until the drain. A store that can't be reached is no reason not to start: the API answers 503 until it can.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use config::{ApiSettings, Listen, StoreUrl};
use control::{Bootstrap, Control, Cost};
use runtime::{Clock, Shutdown, Tasks};
use store::{Backend, EmbeddedBackend, Sealer, Store};
use store_redis::{RedisBackend, RedisSettings};
use telemetry::Metrics;
use tokio::net::TcpListener;

/// How long to wait before asking an unreachable store again for its users.
const RETRY: Duration = Duration::from_secs(1);

/// What a control plane shares with its process. In `gatewright up` the proxy has the same parts.
#[derive(Clone)]
pub struct Shared {
    /// The shared state.
    pub backend: Arc<dyn Backend>,
    /// Where it counts.
    pub metrics: Metrics,
    /// Where it knows the time from.
    pub clock: Clock,
}

/// Opens the store and makes the rest.
///
/// # Errors
/// When an embedded store is in use by another process or can't be read. A Redis that is down is no error.
pub async fn open(settings: &ApiSettings) -> anyhow::Result<Shared> {
    let (common, clock) = (&settings.common, Clock::system());
    let backend: Arc<dyn Backend> = match &common.store {
        StoreUrl::Embedded(directory) => Arc::new(EmbeddedBackend::open(directory, clock.clone())?),
        StoreUrl::Redis(url) => {
            let redis = RedisSettings::new(url, &common.key_prefix)?;
            Arc::new(RedisBackend::connect(&redis).await?)
        }
    };
    let metrics = Metrics::new();
    metrics.process_info();
    Ok(Shared { backend, metrics, clock })
}

/// A control plane that has its port and serves nobody yet.
pub struct Api {
    settings: ApiSettings,
    shared: Shared,
    control: Control,
    listener: TcpListener,
    address: SocketAddr,
}

/// The administrator that was made because there was no user.
pub struct FirstAdmin {
    /// The name.
    pub username: String,
    /// The password, if a random one was made: to be shown once.
    pub password: Option<String>,
}

impl fmt::Display for FirstAdmin {
    /// One line that ends with the password, if there is one to show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The first administrator is {}", self.username)?;
        match &self.password {
            Some(password) => write!(f, ", shown only now is the password: {password}"),
            None => Ok(()),
        }
    }
}

impl Api {
    /// Makes the use cases and binds the listener.
    ///
    /// # Errors
    /// When the address can't be bound (the error names it) or a key can't be used.
    pub async fn bind(settings: ApiSettings, shared: Shared) -> anyhow::Result<Self> {
        let common = &settings.common;
        if common.cert_key.is_none() && !common.allow_plaintext_secrets {
            tracing::warn!(
                "CERT_KEY is not set: private keys of certificates stand unsealed in the store"
            );
        }
        let plaintext = common.allow_plaintext_secrets || common.cert_key.is_none();
        let sealer =
            Sealer::new(settings.secret_key.as_ref(), common.cert_key.as_ref(), plaintext)?;
        let store = Store::new(shared.backend.clone(), sealer, shared.clock.clone())
            .keeping_history(settings.history_entries);
        let control = Control::new(store, shared.clock.clone(), Cost::default())
            .map_err(|error| anyhow!("{error:?}"))?;
        let address = match &settings.listen {
            Listen::Address(address) => *address,
            listen => anyhow::bail!("can't listen on {listen}"),
        };
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("can't listen on {address} (API_LISTEN)"))?;
        let address = listener.local_addr()?;
        Ok(Self { settings, shared, control, listener, address })
    }

    /// Where it listens; the port is the real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the first administrator when there is no user. Asks an unreachable store again until the drain.
    ///
    /// # Errors
    /// When `ADMIN_PASSWORD` breaks a rule for passwords.
    pub async fn first_admin(&self, shutdown: &Shutdown) -> anyhow::Result<Option<FirstAdmin>> {
        first_admin(&self.control, &self.settings, &self.shared.clock, shutdown).await
    }

    /// Serves until `shutdown` drains; then lets requests under way finish, up to the deadline. `also_ready` is what
    /// readiness depends on besides the store; `announce` hears of the first administrator, if one is made now.
    ///
    /// # Errors
    /// When a service task dies, or `ADMIN_PASSWORD` breaks a rule.
    pub async fn run(
        self,
        shutdown: Shutdown,
        also_ready: impl Fn() -> bool + Send + Sync + 'static,
        announce: impl FnOnce(FirstAdmin) + Send,
    ) -> anyhow::Result<()> {
        let tasks = Tasks::new();
        let Self { settings, shared, control, listener, address } = self;
        tasks.service("control", &shutdown, control.clone().run(shutdown.clone()));
        let draining = shutdown.clone();
        // Whoever sees readiness may log in.
        let has_users = Arc::new(AtomicBool::new(false));
        let can_log_in = has_users.clone();
        let parts = api::Parts {
            control: control.clone(),
            metrics: shared.metrics.clone(),
            ready: Arc::new(move || {
                can_log_in.load(Ordering::Acquire) && !draining.is_draining() && also_ready()
            }),
        };
        let until = shutdown.clone();
        tasks.service("api", &shutdown, async move {
            if let Err(error) =
                api::serve(listener, parts, async move { until.draining().await }).await
            {
                tracing::error!(%error, "the API can't be served");
            }
        });
        tracing::info!(%address, "the API is served");

        let work = async {
            if let Some(admin) = first_admin(&control, &settings, &shared.clock, &shutdown).await? {
                announce(admin);
            }
            has_users.store(true, Ordering::Release);
            shutdown.draining().await;
            anyhow::Ok(())
        };
        tokio::select! {
            outcome = work => outcome?,
            died = tasks.died() => return Err(died.into()),
        }
        tokio::select! {
            () = tasks.wait() => {}
            () = shutdown.aborted() => {}
            () = tokio::time::sleep(settings.common.drain_timeout) => {
                tracing::warn!(tasks = tasks.len(), "cut off at the end of the drain");
            }
        }
        Ok(())
    }
}

async fn first_admin(
    control: &Control,
    settings: &ApiSettings,
    clock: &Clock,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<FirstAdmin>> {
    while !shutdown.is_draining() {
        let made = control.bootstrap(&settings.admin_user, settings.admin_password.clone()).await;
        match made {
            Ok(Bootstrap::NotNeeded) => return Ok(None),
            Ok(Bootstrap::Created(username)) => {
                return Ok(Some(FirstAdmin { username: username.to_string(), password: None }));
            }
            Ok(Bootstrap::CreatedWith(username, password)) => {
                let password = Some(password.into_exposed());
                return Ok(Some(FirstAdmin { username: username.to_string(), password }));
            }
            Err(control::Error::Invalid { errors }) => {
                let details: Vec<_> = errors.iter().map(|error| error.detail.as_str()).collect();
                anyhow::bail!("ADMIN_PASSWORD: {}", details.join("; "));
            }
            Err(error) => {
                tracing::warn!(%error, "can't see yet whether there are users");
                tokio::select! {
                    () = clock.sleep(RETRY) => {}
                    () = shutdown.draining() => {}
                }
            }
        }
    }
    Ok(None)
}
