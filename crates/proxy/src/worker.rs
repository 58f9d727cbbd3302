//! What the connections of one thread share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Shutdown, Tasks};
use telemetry::{AccessRecord, AccessWriter};
use upstream::{Spare, Upstreams};

use crate::clients::Clients;
use crate::id::Ids;
use crate::meters::Meters;
use crate::scratch::Scratch;
use crate::time::Time;
use crate::{Settings, Tables, http2};

/// How often the coarse time is refreshed and the access log handed over.
const TICK: Duration = Duration::from_millis(100);
/// One thread of the data plane: nothing in here is shared with another.
pub(crate) struct Worker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) upstreams: Rc<Upstreams>,
    pub(crate) meters: Meters,
    pub(crate) time: Rc<Time>,
    pub(crate) ids: Ids,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) tasks: Tasks,
    /// The connections of each client, if they are limited.
    pub(crate) clients: Option<Arc<Clients>>,
    closing: Shutdown,
    pub(crate) https_port: u16,
    /// What requests that are over have left.
    pub(crate) spare: Spare,
    pub(crate) http2: h2::server::Builder,
    pub(crate) connections: Cell<usize>,
    pub(crate) parked: Cell<usize>,
    draining: Cell<bool>,
    /// What tunnels read into.
    pub(crate) scratch: Scratch,
    access: RefCell<AccessWriter>,
    logs_access: bool,
}

/// What a worker is made of that is not its own.
pub(crate) struct Parts {
    pub(crate) settings: Arc<Settings>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) meters: Meters,
    pub(crate) access: AccessWriter,
    pub(crate) time: Time,
    pub(crate) tasks: Tasks,
    pub(crate) clients: Option<Arc<Clients>>,
    pub(crate) https_port: u16,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let Parts { settings, tables, tls, meters, access, time, tasks, clients, https_port } =
            parts;
        Rc::new(Self {
            // Idle upstream connections are nobody's request: the drain does not wait for them.
            upstreams: Upstreams::new(settings.upstream.clone(), Tasks::new()),
            spare: Spare::default(),
            http2: http2::builder(&settings),
            logs_access: access.is_on(),
            scratch: Scratch::default(),
            access: RefCell::new(access),
            ids: Ids::new(),
            connections: Cell::new(0),
            parked: Cell::new(0),
            draining: Cell::new(false),
            closing: Shutdown::new(),
            time: Rc::new(time),
            settings,
            tables,
            meters,
            tls,
            tasks,
            clients,
            https_port,
        })
    }

    /// Begins to close: wakes everybody who waits for [`Worker::closing`].
    pub(crate) fn close(&self) {
        self.draining.set(true);
        self.closing.drain();
    }

    /// Whether connections are being closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.draining.get()
    }

    /// Waits for [`Worker::close`].
    pub(crate) fn closing(&self) -> impl Future<Output = ()> + 'static {
        let closing = self.closing.clone();
        async move { closing.draining().await }
    }

    /// Whether there is an access log.
    pub(crate) fn logs_access(&self) -> bool {
        self.logs_access
    }

    /// Writes a line to the access log.
    pub(crate) fn log_access(&self, record: &AccessRecord<'_>) {
        self.access.borrow_mut().record(record);
    }

    /// Keeps the coarse time, hands over the access log and drops the counts of hosts that are gone, for ever.
    pub(crate) async fn tick(&self) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = 0u32;
        loop {
            interval.tick().await;
            self.time.tick();
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(10) {
                self.access.borrow_mut().flush();
                self.meters.forget_gone(&self.tables);
            }
        }
    }
}
