//! A gateway on real sockets with literal tables, raw origins behind it and raw clients before it.

pub(crate) mod client;
pub(crate) mod origin;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Host, Timestamp};
use proxy::{Listen, Proxy, Settings, Surroundings, TableState, Tables};
use runtime::{Clock, Shutdown, Tasks};
use telemetry::{AccessFormat, AccessLog, AccessSettings, AccessTarget, Metrics};
use tempfile::TempDir;
use tokio::sync::oneshot;

use client::Client;

/// Longer than anything here takes: a test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Gateway {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) tables: Arc<Tables>,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    pub(crate) ca: certs::LocalCa,
    access: AccessLog,
    log: PathBuf,
    _dir: TempDir,
    end: oneshot::Receiver<Result<usize, proxy::Error>>,
}

/// A host that is served on plain HTTP too.
pub(crate) fn host(pattern: &str, upstream: SocketAddr) -> Host {
    let mut host = Host::new(pattern.parse().unwrap());
    host.upstreams.push(upstream.to_string().parse().unwrap());
    host.force_https = false;
    host
}

impl Gateway {
    pub(crate) async fn start(hosts: Vec<Host>) -> Self {
        Self::start_with(hosts, |_| {}).await
    }

    pub(crate) async fn start_with(hosts: Vec<Host>, adjust: impl FnOnce(&mut Settings)) -> Self {
        let now = Timestamp::from(Clock::system().now());
        let tables = Arc::new(Tables::new(Arc::new(certs::CertTable::new(now).unwrap())));
        for host in hosts {
            tables.apply_host(&host.pattern.clone(), Some(host)).unwrap();
        }
        tables.set_state(TableState { loaded: true, ..TableState::default() });
        let any = || Listen::Address("127.0.0.1:0".parse().unwrap());
        let mut settings = Settings {
            http: vec![any()],
            https: vec![any()],
            admin: Some(any()),
            ..Settings::default()
        };
        settings.drain.idle_grace = Duration::from_millis(50);
        adjust(&mut settings);
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access.log");
        let metrics = Metrics::new();
        let target = AccessTarget::File(log.clone());
        let format = AccessFormat::Json;
        let access = AccessLog::open(&AccessSettings { format, target }, &metrics).unwrap();
        let around = Surroundings {
            metrics: metrics.clone(),
            access: access.clone(),
            clock: Clock::system(),
        };
        let proxy = Proxy::bind(settings, tables.clone(), around).unwrap();
        let addresses = proxy.addresses().clone();
        let shutdown = Shutdown::new();
        let (ended, end) = oneshot::channel();
        let run = proxy.run(shutdown.clone());
        Tasks::new().spawn("gateway", async move {
            let _ = ended.send(run.await);
        });
        Self {
            http: addresses.http[0],
            https: addresses.https[0],
            admin: addresses.admin.unwrap(),
            tables,
            metrics,
            shutdown,
            ca: certs::LocalCa::generate(now).unwrap(),
            access,
            log,
            _dir: dir,
            end,
        }
    }

    /// Gives a name or wildcard a certificate of the local authority.
    pub(crate) fn certify(&self, name: &str) {
        let now = Timestamp::from(Clock::system().now());
        let record = self.ca.issue(&name.parse().unwrap(), now).unwrap();
        self.tables.apply_cert(&record.name.clone(), Some(record)).unwrap();
    }

    /// A client on the plain port.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.http).await
    }

    /// Waits for the end of a drain that has begun; how many connections were cut off.
    pub(crate) async fn ended(&mut self) -> usize {
        tokio::time::timeout(PATIENCE, &mut self.end).await.expect("drains").unwrap().unwrap()
    }

    /// Drains, and hands out the access log's lines.
    pub(crate) async fn stop(mut self) -> Vec<serde_json::Value> {
        self.shutdown.drain();
        self.ended().await;
        self.log_lines()
    }

    /// The access log's lines, once the gateway has ended.
    pub(crate) fn log_lines(&self) -> Vec<serde_json::Value> {
        assert!(self.access.close(PATIENCE));
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
