//! The workers: from listening sockets to the end of the drain.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use runtime::{Clock, Shutdown, Tasks, Workers};
use socket2::{SockRef, TcpKeepalive};
use telemetry::{AccessLog, Metrics};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::admin::AlsoReady;
use crate::clients::Clients;
use crate::conn::Ends;
use crate::entry;
use crate::explain::Explainer;
use crate::listen::{Addresses, Sockets, bind, bind_admin};
use crate::meters::{Families, Meters};
use crate::time::Time;
use crate::worker::{Parts, Worker};
use crate::{Error, Settings, StoreGuard, Tables, admin, conn, health};

/// When to ask a silent client's kernel whether it is still there, and how often before it is given up.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);
/// What accepting says of a client that was gone before.
const GONE: [io::ErrorKind; 3] =
    [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
/// How long to leave the accept queue alone when the process is out of file descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What the data plane gets from the program it runs in.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where it counts.
    pub metrics: Metrics,
    /// Where it logs requests.
    pub access: AccessLog,
    /// Where it knows the date from.
    pub clock: Clock,
}

/// A data plane whose sockets are bound and which serves nobody yet.
pub struct Proxy {
    settings: Arc<Settings>,
    tables: Arc<Tables>,
    around: Surroundings,
    addresses: Addresses,
    sockets: Vec<Sockets>,
    admin: Option<TcpListener>,
    also_ready: Option<AlsoReady>,
    tls: Arc<rustls::ServerConfig>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Binds all listeners.
    ///
    /// # Errors
    /// When one can't be bound (the error names it), or TLS can't be set up.
    pub fn bind(
        settings: Settings,
        tables: Arc<Tables>,
        around: Surroundings,
    ) -> Result<Self, Error> {
        let (sockets, mut addresses) = bind(&settings)?;
        let admin = settings.admin.as_ref().map(bind_admin).transpose()?;
        addresses.admin = admin.as_ref().map(|(address, _)| *address);
        let tls = certs::server_config(tables.certs()).map_err(Error::Tls)?;
        Ok(Self {
            settings: Arc::new(settings),
            tables,
            around,
            addresses,
            sockets,
            admin: admin.map(|(_, socket)| socket),
            also_ready: None,
            tls,
        })
    }

    /// Makes `/readyz` depend on something else too. It is asked for each probe, on the admin listener's thread.
    #[must_use]
    pub fn also_ready(mut self, also_ready: AlsoReady) -> Self {
        self.also_ready = Some(also_ready);
        self
    }

    /// Where it listens; ports are the real ones.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until `shutdown` drains, then drains. Returns the number of connections that had to be cut off.
    ///
    /// Draining: readiness is withdrawn; after the lame-duck time the accept queue is emptied and closed; answers of
    /// HTTP/1 say `Connection: close`, HTTP/2 says GOAWAY; what is in flight goes on, tunnels included, until it is
    /// done, the deadline has passed, or `shutdown` aborts.
    ///
    /// # Errors
    /// When a thread can't be started or a worker dies.
    pub async fn run(self, shutdown: Shutdown) -> Result<usize, Error> {
        let https_port = self.https_port();
        let cut_off = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<Tasks> = self.sockets.iter().map(|_| Tasks::new()).collect();
        let families = Families::new(&self.around.metrics, self.settings.host_histograms);
        let most = self.settings.limits.connections_per_client;
        let clients = (most > 0).then(|| Clients::new(most));
        watch_tables(&self.around.metrics, &self.tables, &tasks);
        health::tell(&self.around.metrics, &self.tables);
        let over = Shutdown::new();
        let admin = self.admin;
        let (tables, around) = (&self.tables, &self.around);
        let unknown_host_status = self.settings.unknown_host_status;
        let explainer = Explainer { https_port, unknown_host_status };
        let admin =
            admin::start(admin, tables, around, self.also_ready, explainer, &shutdown, &over)?;
        let health = health::start(tables, &self.settings.upstream, &over)?;
        let sockets: Arc<Mutex<Vec<_>>> =
            Arc::new(Mutex::new(self.sockets.into_iter().map(Some).collect()));
        let count = tasks.len();
        let (settings, counted) = (self.settings, cut_off.clone());
        let (tables, tls, around) = (self.tables, self.tls, self.around);
        let workers = Workers::spawn(count, "proxy", move |index| {
            let sockets = take(&sockets, index);
            let worker = Worker::new(Parts {
                settings: settings.clone(),
                tables: tables.clone(),
                tls: tls.clone(),
                meters: Meters::new(families.clone()),
                access: around.access.writer(),
                time: Time::new(around.clock.clone()),
                tasks: tasks.get(index).cloned().unwrap_or_default(),
                clients: clients.clone(),
                https_port,
            });
            work(worker, sockets, shutdown.clone(), counted.clone())
        })
        .map_err(Error::Worker)?;
        let end = workers.join().await;
        over.drain();
        if let Some(admin) = admin {
            admin.join().await?;
        }
        health.join().await?;
        end?;
        Ok(cut_off.load(Ordering::Relaxed))
    }

    fn https_port(&self) -> u16 {
        let first = self.addresses.https.first().map(SocketAddr::port);
        self.settings.https_public_port.or(first).unwrap_or(443)
    }
}

/// One worker's life.
async fn work(worker: Rc<Worker>, sockets: Sockets, shutdown: Shutdown, cut_off: Arc<AtomicUsize>) {
    let life = async {
        let Sockets { http, https } = sockets;
        for socket in http {
            accept(&worker, socket, conn::serve_plain);
        }
        for socket in https {
            accept(&worker, socket, conn::serve_tls);
        }
        shutdown.draining().await;
        let drain = worker.settings.drain;
        let aborted = async {
            let _ = timeout(drain.lame_duck, shutdown.aborted()).await;
            worker.close();
            let _ = timeout(drain.deadline, shutdown.aborted()).await;
        };
        tokio::select! {
            () = aborted => {}
            // Only once closing has begun: before, no task need be running.
            () = async { worker.closing().await; worker.tasks.wait().await } => {}
        }
        worker.upstreams.close();
    };
    tokio::select! {
        () = worker.tick() => {}
        () = life => {}
    }
    let left = worker.connections.get();
    if left > 0 {
        cut_off.fetch_add(left, Ordering::Relaxed);
        worker.meters.cut_off.add(left as u64);
        tracing::warn!(connections = left, "cut off at the end of the drain");
    }
}

/// Accepts connections until the worker closes, then those that wait already.
fn accept<F>(
    worker: &Rc<Worker>,
    socket: TcpListener,
    serve: impl Fn(Rc<Worker>, TcpStream, Ends) -> F + Copy + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    let worker = worker.clone();
    worker.tasks.clone().spawn_local("accept", async move {
        let listener = match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a listener can't be used"),
        };
        let mut closing = std::pin::pin!(worker.closing());
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut closing => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => begin(&worker, stream, remote, serve),
                Err(error) => pause_if_exhausted(&error).await,
            }
        }
        if let Err(error) = empty(&worker, listener, serve) {
            tracing::warn!(%error, "can't empty an accept queue");
        }
    });
}

/// Accepts what waits in the queue of a listener that closes. Asks the kernel itself: tokio tells only of connections
/// that it has heard of, and of so many at a time.
fn empty<F>(
    worker: &Rc<Worker>,
    listener: tokio::net::TcpListener,
    serve: impl Fn(Rc<Worker>, TcpStream, Ends) -> F + Copy + 'static,
) -> io::Result<()>
where
    F: Future<Output = ()> + 'static,
{
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, remote)) => {
                stream.set_nonblocking(true)?;
                begin(worker, TcpStream::from_std(stream)?, remote, serve);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if GONE.contains(&error.kind()) => {}
            Err(error) => return Err(error),
        }
    }
}

fn begin<F>(
    worker: &Rc<Worker>,
    mut stream: TcpStream,
    remote: SocketAddr,
    serve: impl Fn(Rc<Worker>, TcpStream, Ends) -> F + Copy + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    // Without it small answers wait; an error means that the client is gone already.
    let _ = stream.set_nodelay(true);
    // A peer that vanished without a word must not hold a tunnel for ever.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    let open = Open::new(worker);
    let ends = Ends { remote, local: stream.local_addr().ok() };
    if entry::is_told(worker, remote) {
        let worker = worker.clone();
        worker.tasks.clone().spawn_local("connection", async move {
            // Boxed: over soon, and no part of what the connection takes from then on.
            if let Some((ends, place)) = Box::pin(entry::told(&worker, &mut stream, ends)).await {
                serve(worker, stream, ends).await;
                drop(place);
            }
            drop(open);
        });
    } else if let Some(place) = entry::enter(worker, remote) {
        let served = serve(worker.clone(), stream, ends);
        worker.tasks.spawn_local("connection", served.map(move |()| drop((place, open))));
    }
}

/// Counts an open connection, however it ends.
struct Open(Rc<Worker>);

impl Open {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.connections.set(worker.connections.get() + 1);
        worker.meters.connections.add(1);
        worker.meters.accepted.inc();
        Self(worker.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get().saturating_sub(1));
        self.0.meters.connections.add(-1);
    }
}

/// A client that was gone before it was accepted is no trouble. Running out of descriptors is: the queue would be
/// asked again at once, and again, for nothing.
async fn pause_if_exhausted(error: &io::Error) {
    if !GONE.contains(&error.kind()) {
        tracing::warn!(%error, "can't accept connections");
        sleep(EXHAUSTED_PAUSE).await;
    }
}

fn take(sockets: &Mutex<Vec<Option<Sockets>>>, index: usize) -> Sockets {
    let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
    sockets.get_mut(index).and_then(Option::take).unwrap_or_default()
}

/// Metrics that are read off when asked for.
fn watch_tables(metrics: &Metrics, tables: &Arc<Tables>, tasks: &[Tasks]) {
    let of = tables.clone();
    metrics.sampled_gauge("gatewright_hosts", "Hosts in the table.", move |samples| {
        samples.push(&[], of.hosts());
    });
    let of = tables.clone();
    metrics.sampled_gauge(
        "gatewright_certificates",
        "Certificates in the table.",
        move |samples| {
            samples.push(&[], of.certs().len());
        },
    );
    let of = tables.clone();
    metrics.sampled_gauge("gatewright_table_revision", "Revision of the table.", move |samples| {
        if let Some(revision) = &of.state().revision {
            samples.push(&[("epoch", revision.epoch.as_str())], revision.n);
        }
    });
    let of = tables.clone();
    metrics.sampled_gauge(
        "gatewright_table_stale",
        "1 while the store can't be read.",
        move |samples| {
            samples.push(&[], u8::from(of.state().stale));
        },
    );
    let of = tables.clone();
    metrics.sampled_gauge(
        "gatewright_store_guard",
        "1 while the store is not believed for this reason and the table is kept.",
        move |samples| {
            let standing = of.state().guard.as_ref().map(|guard| guard.reason);
            for reason in StoreGuard::REASONS {
                samples.push(&[("reason", reason)], u8::from(standing == Some(reason)));
            }
        },
    );
    let of = tasks.to_vec();
    metrics.sampled_counter(
        "gatewright_panics_total",
        "Connections lost to a mistake in the program.",
        move |samples| samples.push(&[], of.iter().map(Tasks::panics).sum::<u64>()),
    );
}
