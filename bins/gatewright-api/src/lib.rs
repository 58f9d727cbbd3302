//! The control plane as a library: what `gatewright-api` runs, and `gatewright up` beside the proxy.
//!
//! [`open`] reaches for what is shared with the rest of the process, [`Api::bind`] takes the port, [`Api::run`] serves
//! until the drain. A store that can't be reached is no reason not to start: the API answers 503 until it can.
#![forbid(unsafe_code)]

mod issuing;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use api::LookupSocket;
use config::{ApiSettings, Listen, StoreUrl};
use control::{Bootstrap, Control, Cost, Lifecycle, Reach};
use futures_util::future::BoxFuture;
use runtime::{Clock, Shutdown, Tasks};
use store::{Backend, EmbeddedBackend, Sealer, Store};
use store_redis::{RedisBackend, RedisSettings};
use telemetry::Metrics;
use tokio::net::TcpListener;

/// How long to wait before asking the store again for its users.
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
    let metrics = Metrics::new();
    metrics.process_info();
    let backend: Arc<dyn Backend> = match &common.store {
        StoreUrl::Embedded(directory) => Arc::new(EmbeddedBackend::open(directory, clock.clone())?),
        StoreUrl::Redis(url) => {
            let redis = RedisSettings::new(url, &common.key_prefix)?;
            let mut redis = redis.with_metrics(&metrics);
            if let Some(file) = &common.store_root_ca {
                redis = redis.with_root_ca(file)?;
            }
            if common.legacy_keys {
                // A sealed key must not lie in clear beside itself.
                let in_clear = common.cert_key.is_none() || common.allow_plaintext_secrets;
                redis = redis.with_legacy_keys(in_clear);
            }
            Arc::new(RedisBackend::connect(&redis).await?)
        }
    };
    Ok(Shared { backend, metrics, clock })
}

/// A control plane that has its port and serves nobody yet.
pub struct Api {
    settings: ApiSettings,
    shared: Shared,
    control: Control,
    listener: TcpListener,
    address: SocketAddr,
    lookup: Option<LookupSocket>,
    lifecycle: Option<Lifecycle>,
    /// Whoever sees readiness may log in.
    has_users: Arc<AtomicBool>,
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
    /// Makes the use cases and binds the listener and the lookup socket.
    ///
    /// # Errors
    /// When the address or the socket can't be bound (the error names it) or a key can't be used.
    pub async fn bind(settings: ApiSettings, shared: Shared) -> anyhow::Result<Self> {
        let common = &settings.common;
        if common.cert_key.is_none() && !common.allow_plaintext_secrets {
            tracing::warn!(
                "CERT_KEY is not set: private keys of certificates stand unsealed in the store"
            );
        }
        if common.cert_key.is_some() && common.legacy_keys {
            tracing::info!(
                "CERT_KEY is set: certificates are not copied to NAME:latest, where older programs look for them \
                 (LEGACY_KEYS)"
            );
        }
        let plaintext = common.allow_plaintext_secrets || common.cert_key.is_none();
        let sealer =
            Sealer::new(settings.secret_key.as_ref(), common.cert_key.as_ref(), plaintext)?;
        let store = Store::new(shared.backend.clone(), sealer, shared.clock.clone())
            .keeping_history(settings.history_entries);
        let control = Control::new(store, shared.clock.clone(), Cost::default())
            .map_err(|error| anyhow!("{error:?}"))?;
        let own = settings.own_listeners.iter().filter_map(|listener| match listener {
            Listen::Address(address) => Some(*address),
            Listen::Inherited(_) => None,
        });
        control.keeps_within(Reach::new(own.collect(), settings.allow_upstreams.clone()));
        let listener = listen(&settings.listen)
            .await
            .with_context(|| format!("can't listen on {} (API_LISTEN)", settings.listen))?;
        let address = listener.local_addr()?;
        let lookup = lookup_socket(&settings)?;
        let lifecycle = issuing::lifecycle(&settings, &control, &shared.clock)?;
        let has_users = Arc::default();
        Ok(Self { settings, shared, control, listener, address, lookup, lifecycle, has_users })
    }

    /// Where it listens; the port is the real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it can commit and be logged in to, to be asked at any time; asks the store.
    pub fn ready(&self) -> impl Fn() -> BoxFuture<'static, bool> + Send + Sync + 'static {
        let (control, has_users) = (self.control.clone(), self.has_users.clone());
        move || {
            let (control, has_users) = (control.clone(), has_users.clone());
            Box::pin(async move { has_users.load(Ordering::Acquire) && control.ready().await })
        }
    }

    /// Makes the first administrator when there is no user. Asks an unreachable store again until the drain.
    ///
    /// # Errors
    /// When `ADMIN_PASSWORD` breaks a rule for passwords.
    pub async fn first_admin(&self, shutdown: &Shutdown) -> anyhow::Result<Option<FirstAdmin>> {
        first_admin(&self.control, &self.settings, &self.shared.clock, shutdown).await
    }

    /// Serves until `shutdown` drains; then lets requests under way finish, up to the deadline. `also_ready` is what
    /// readiness depends on besides the store; `announce` hears of the first administrator when one is made: now, or
    /// later, when the store has lost its users.
    ///
    /// # Errors
    /// When a service task dies, or `ADMIN_PASSWORD` breaks a rule.
    pub async fn run(
        self,
        shutdown: Shutdown,
        also_ready: impl Fn() -> bool + Send + Sync + 'static,
        announce: impl Fn(FirstAdmin) + Send,
    ) -> anyhow::Result<()> {
        let tasks = Tasks::new();
        let Self { settings, shared, control, listener, address, lookup, lifecycle, has_users } =
            self;
        tasks.service("control", &shutdown, control.clone().run(shutdown.clone(), lifecycle));
        let draining = shutdown.clone();
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
        if let Some(lookup) = lookup {
            let (control, until) = (control.clone(), shutdown.clone());
            tasks.service("lookup socket", &shutdown, async move {
                lookup.serve(control, until.draining()).await;
            });
        }
        tracing::info!(%address, "the API is served");

        let work = async {
            // Again and again: a store may be wiped or replaced, and then nobody could log in and accept it.
            while !shutdown.is_draining() {
                let made = first_admin(&control, &settings, &shared.clock, &shutdown).await?;
                made.into_iter().for_each(&announce);
                has_users.store(true, Ordering::Release);
                tokio::select! {
                    () = shared.clock.sleep(RETRY) => {}
                    () = shutdown.draining() => {}
                }
            }
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

/// A socket that can't be made where it was asked for is an error. At its default place it is only missed: an ordinary user
/// has no `/run/gatewright`, and need not have an older data plane.
fn lookup_socket(settings: &ApiSettings) -> anyhow::Result<Option<LookupSocket>> {
    let Some(path) = &settings.common.lookup_socket else { return Ok(None) };
    match LookupSocket::bind(path, settings.lookup_socket_group) {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if path.as_path() == Path::new(config::LOOKUP_SOCKET) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(path = %path.display(), error, "no lookups are served; LOOKUP_SOCKET names another place");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!("can't serve lookups at {} (LOOKUP_SOCKET; empty: off)", path.display())
        }),
    }
}

async fn listen(setting: &Listen) -> io::Result<TcpListener> {
    match setting {
        Listen::Address(address) => TcpListener::bind(address).await,
        Listen::Inherited(name) => {
            let mut sockets = runtime::inherited_listeners(name)?;
            let (Some(socket), true) = (sockets.pop(), sockets.is_empty()) else {
                return Err(io::Error::other("several sockets go by this name"));
            };
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        }
    }
}

async fn first_admin(
    control: &Control,
    settings: &ApiSettings,
    clock: &Clock,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<FirstAdmin>> {
    let mut told = false;
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
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "can't see whether there are users; trying on");
                }
                tokio::select! {
                    () = clock.sleep(RETRY) => {}
                    () = shutdown.draining() => {}
                }
            }
        }
    }
    Ok(None)
}
