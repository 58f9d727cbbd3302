use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use runtime::Tasks;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::endpoint::ByOwnHash;
use crate::{Endpoint, Settings};

/// How often connections past their time, or closed by the other end, are let go.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

/// A connection that can lie idle between two requests.
pub(crate) trait Reusable {
    /// Whether the other end has left it alone, as far as this process has heard.
    fn is_quiet(&mut self) -> bool;

    /// As [`is_quiet`](Self::is_quiet), and as far as the kernel knows.
    fn is_quiet_in_kernel(&mut self) -> bool;
}

/// The idle connections of one worker.
#[derive(Debug)]
pub(crate) struct Pools<C> {
    pools: RefCell<HashMap<Endpoint, Rc<Pool<C>>, ByOwnHash>>,
    shared: Rc<Shared>,
    tasks: Tasks,
}

/// The idle connections to one endpoint. The one used last is reused first, so that those not needed grow old.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    endpoint: Endpoint,
    idle: RefCell<Vec<Idle<C>>>,
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    since: Instant,
}

#[derive(Debug)]
struct Shared {
    /// The time of the last sweep: near enough for how long a connection lies idle, and free to ask for.
    now: Cell<Instant>,
    keep_alive: Duration,
    max_idle: usize,
    closed: Cell<bool>,
    sweeping: Cell<bool>,
    /// Wakes the sweeper before its time: there is nothing left to sweep.
    over: Notify,
}

impl<C: Reusable + 'static> Pools<C> {
    pub(crate) fn new(settings: &Settings, tasks: Tasks) -> Rc<Self> {
        let shared = Rc::new(Shared {
            now: Cell::new(Instant::now()),
            keep_alive: settings.keep_alive,
            max_idle: settings.max_idle,
            closed: Cell::new(false),
            sweeping: Cell::new(false),
            over: Notify::new(),
        });
        Rc::new(Self { pools: RefCell::default(), shared, tasks })
    }

    /// The pool of an endpoint, made when first asked for. Connections that say whose they are have one for each request,
    /// which nobody else finds.
    pub(crate) fn of(self: &Rc<Self>, endpoint: &Endpoint) -> Rc<Pool<C>> {
        if endpoint.preface().is_some() {
            return self.new_pool(endpoint);
        }
        if let Some(pool) = self.pools.borrow().get(endpoint) {
            return pool.clone();
        }
        let pool = self.new_pool(endpoint);
        self.pools.borrow_mut().insert(endpoint.clone(), pool.clone());
        self.start_sweeping();
        pool
    }

    fn new_pool(&self, endpoint: &Endpoint) -> Rc<Pool<C>> {
        let (endpoint, shared) = (endpoint.clone(), self.shared.clone());
        Rc::new(Pool { endpoint, idle: RefCell::default(), shared })
    }

    /// Drops every idle connection, and from now on each one that becomes idle.
    pub(crate) fn close(&self) {
        self.shared.closed.set(true);
        self.shared.over.notify_one();
        self.pools.borrow_mut().clear();
    }

    fn start_sweeping(self: &Rc<Self>) {
        if self.shared.closed.get() || self.shared.sweeping.replace(true) {
            return;
        }
        self.shared.now.set(Instant::now());
        let sweeper = sweep(Rc::downgrade(self), self.shared.clone());
        self.tasks.spawn_local("idle upstream connections", sweeper);
    }

    /// Lets go what is of no more use; pools nobody uses too. False: nothing is left.
    fn sweep(&self) -> bool {
        self.shared.now.set(Instant::now());
        let mut pools = self.pools.borrow_mut();
        pools.retain(|_, pool| {
            pool.sweep();
            Rc::strong_count(pool) > 1 || !pool.idle.borrow().is_empty()
        });
        !pools.is_empty()
    }
}

impl<C> Drop for Pools<C> {
    fn drop(&mut self) {
        self.shared.over.notify_one();
    }
}

/// Runs while there are pools.
async fn sweep<C: Reusable + 'static>(pools: Weak<Pools<C>>, shared: Rc<Shared>) {
    loop {
        tokio::select! {
            () = sleep(SWEEP_PERIOD) => {}
            () = shared.over.notified() => {}
        }
        let left = pools.upgrade().is_some_and(|pools| pools.sweep());
        if !left {
            shared.sweeping.set(false);
            return;
        }
    }
}

impl<C: Reusable> Pool<C> {
    /// Where the connections lead.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A connection that looks usable; `certain` looks harder.
    pub(crate) fn take(&self, certain: bool) -> Option<C> {
        loop {
            let Idle { mut connection, since } = self.idle.borrow_mut().pop()?;
            if self.shared.now.get().duration_since(since) >= self.shared.keep_alive {
                // The others lie longer still.
                self.idle.borrow_mut().clear();
                return None;
            }
            let quiet =
                if certain { connection.is_quiet_in_kernel() } else { connection.is_quiet() };
            if quiet {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, or drops it if there are enough.
    pub(crate) fn put(&self, connection: C) {
        let mut idle = self.idle.borrow_mut();
        if !self.shared.closed.get() && idle.len() < self.shared.max_idle {
            idle.push(Idle { connection, since: self.shared.now.get() });
        }
    }

    fn sweep(&self) {
        let (now, keep_alive) = (self.shared.now.get(), self.shared.keep_alive);
        self.idle.borrow_mut().retain_mut(|idle| {
            now.duration_since(idle.since) < keep_alive && idle.connection.is_quiet()
        });
    }
}
