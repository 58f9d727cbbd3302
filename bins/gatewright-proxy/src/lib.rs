//! The data plane as a library: what `gatewright-proxy` runs, and `gatewright up` beside the API.
//!
//! [`open`] reaches for what is shared with the rest of the process, [`DataPlane::bind`] takes the ports,
//! [`DataPlane::run`] loads the first table and serves until the drain. It holds `CERT_KEY` and no other secret.
#![forbid(unsafe_code)]

mod instance;
mod translate;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use config::{ProxySettings, StoreUrl};
use discovery::{Discovery, StateFile};
pub use proxy::{Addresses, AlsoReady, Roots};
use proxy::{Proxy, Surroundings, Tables};
use runtime::{Clock, Shutdown, Tasks};
use store::{Backend, EmbeddedBackend, Sealer, Store};
use store_redis::{RedisBackend, RedisSettings};
use telemetry::{AccessLog, Metrics};

/// How long the first table is waited for before serving without one.
const FIRST_TABLE: Duration = Duration::from_secs(3);
/// How long the last lines of the access log may take to be written.
const LAST_LINES: Duration = Duration::from_secs(5);

/// What a data plane shares with its process. In `gatewright up` the API has the same parts.
#[derive(Clone)]
pub struct Shared {
    /// The shared state.
    pub backend: Arc<dyn Backend>,
    /// Where it counts.
    pub metrics: Metrics,
    /// Where it logs requests.
    pub access: AccessLog,
    /// Where it knows the time from.
    pub clock: Clock,
}

/// Opens the store and the access log and makes the rest.
///
/// # Errors
/// When an embedded store is in use by another process or can't be read, or the access log can't be opened. A Redis
/// that is down is no error.
pub async fn open(settings: &ProxySettings) -> anyhow::Result<Shared> {
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
    let access = AccessLog::open(&translate::access_log(settings), &metrics)?;
    Ok(Shared { backend, metrics, access, clock })
}

/// A data plane that has its ports and serves nobody yet.
pub struct DataPlane {
    proxy: Proxy,
    discovery: Discovery,
    tables: Arc<Tables>,
    access: AccessLog,
    started: Arc<AtomicBool>,
}

impl DataPlane {
    /// Makes the tables and binds the listeners.
    ///
    /// # Errors
    /// When an address can't be bound (the error names it), a file can't be read, or a key can't be used.
    pub fn bind(settings: &ProxySettings, shared: Shared) -> anyhow::Result<Self> {
        let common = &settings.common;
        make_room();
        let Shared { backend, metrics, access, clock } = shared;
        let plaintext = common.allow_plaintext_secrets || common.cert_key.is_none();
        let sealer = Sealer::new(None, common.cert_key.as_ref(), plaintext)?;
        let store = Store::new(backend, sealer, clock.clone());
        let roots = Roots::new(settings.static_roots.iter().cloned()).context("STATIC_ROOTS")?;
        let tables = Arc::new(Tables::empty(clock.now().into())?.with_static_roots(roots));
        let around = Surroundings { metrics, access: access.clone(), clock: clock.clone() };
        let proxy = Proxy::bind(translate::proxy(settings)?, tables.clone(), around)?;
        let addresses = proxy.addresses();
        tracing::info!(http = ?addresses.http, https = ?addresses.https, admin = ?addresses.admin, "listening");
        let about = discovery::Settings {
            instance: instance::name(common.instance.as_deref(), &common.state_dir)
                .context("this instance needs a name")?,
            workers: settings.workers as u64,
            version: telemetry::VERSION.to_owned(),
            addr: addresses.admin.map(|address| address.to_string()).unwrap_or_default(),
            lookup_socket: common.lookup_socket.clone(),
            state_file: state_file(common),
        };
        let discovery = Discovery::new(store, tables.clone(), about, clock);
        let started = Arc::new(AtomicBool::new(false));
        Ok(Self { proxy, discovery, tables, access, started })
    }

    /// Where it listens; ports are the real ones.
    pub fn addresses(&self) -> &Addresses {
        self.proxy.addresses()
    }

    /// Whether it serves and holds a table, to be asked at any time.
    pub fn ready(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (tables, started) = (self.tables.clone(), self.started.clone());
        move || started.load(Ordering::Acquire) && tables.state().loaded
    }

    /// Makes the proxy's `/readyz` depend on something else too.
    #[must_use]
    pub fn also_ready(mut self, also_ready: AlsoReady) -> Self {
        self.proxy = self.proxy.also_ready(also_ready);
        self
    }

    /// Loads the first table and serves until `shutdown` drains; then drains.
    ///
    /// # Errors
    /// When a worker or a service task dies.
    pub async fn run(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        tokio::select! {
            loaded = self.discovery.first_load(FIRST_TABLE) => {
                if let Err(error) = loaded {
                    let cause = anyhow::Error::from(error);
                    let what = match self.tables.state().loaded {
                        true => "serving the last-known-good table",
                        false => "serving without a table",
                    };
                    tracing::warn!("{what}, trying on: {cause:#}");
                }
            }
            () = shutdown.draining() => {}
        }
        self.started.store(true, Ordering::Release);
        let tasks = Tasks::new();
        tasks.service("discovery", &shutdown, self.discovery.run(shutdown.clone()));
        let outcome = tokio::select! {
            outcome = self.proxy.run(shutdown) => outcome.map(|_| ()).map_err(anyhow::Error::from),
            died = tasks.died() => Err(died.into()),
        };
        if outcome.is_ok() {
            tasks.wait().await;
        }
        if !self.access.close(LAST_LINES) {
            tracing::warn!("the access log's reader is too slow: its last lines are lost");
        }
        outcome
    }
}

/// As many connections as the system allows this process: two for each request under way, two for each tunnel.
fn make_room() {
    match runtime::raise_open_files() {
        Ok(limit) => tracing::info!(open_files = limit, "room for connections"),
        Err(error) => tracing::warn!(%error, "the limit on open files stays as it is"),
    }
}

/// Where the table is kept for a start without the store. An embedded store needs no such file: it is one itself, and
/// without it the process does not start.
fn state_file(common: &config::Common) -> Option<StateFile> {
    match &common.store {
        StoreUrl::Embedded(_) => None,
        StoreUrl::Redis(_) => Some(StateFile {
            path: common.state_dir.join("last-known-good"),
            plaintext: common.allow_plaintext_secrets,
        }),
    }
}
