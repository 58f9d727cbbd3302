use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use runtime::Tasks;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::connect::{Named, Resolver};
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

    /// What [`Pool::generation`] was when it was made.
    fn generation(&self) -> u64;
}

/// The idle connections of one worker.
#[derive(Debug)]
pub(crate) struct Pools<C> {
    pools: RefCell<HashMap<Endpoint, Rc<Pool<C>>, ByOwnHash>>,
    shared: Rc<Shared>,
    resolver: Rc<Resolver>,
    tasks: Tasks,
}

/// The idle connections to one endpoint. The one used last is reused first, so that those not needed grow old.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    endpoint: Endpoint,
    idle: RefCell<Vec<Idle<C>>>,
    /// Where its name leads; none for an address.
    named: Option<Rc<Named>>,
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
    pub(crate) fn new(settings: &Settings, resolver: Rc<Resolver>, tasks: Tasks) -> Rc<Self> {
        let shared = Rc::new(Shared {
            now: Cell::new(Instant::now()),
            keep_alive: settings.keep_alive,
            max_idle: settings.max_idle,
            closed: Cell::new(false),
            sweeping: Cell::new(false),
            over: Notify::new(),
        });
        Rc::new(Self { pools: RefCell::default(), shared, resolver, tasks })
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
        Rc::new(Pool {
            endpoint: endpoint.clone(),
            idle: RefCell::default(),
            named: self.resolver.named_of(endpoint),
            shared: self.shared.clone(),
        })
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
        pools.values().for_each(|pool| self.resolver.keep_up(&pool.endpoint, &self.tasks));
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

    /// Which answer about the endpoint's name is in force; connections of another are not used again.
    pub(crate) fn generation(&self) -> u64 {
        self.named.as_ref().map_or(0, |named| named.generation())
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
            if self.named.is_some() && connection.generation() != self.generation() {
                continue;
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use model::{Hostname, UpstreamTls};

    use super::*;

    struct Fake(u64);

    impl Reusable for Fake {
        fn is_quiet(&mut self) -> bool {
            true
        }

        fn is_quiet_in_kernel(&mut self) -> bool {
            true
        }

        fn generation(&self) -> u64 {
            self.0
        }
    }

    /// An app that moved went on being asked at its old address for as long as connections to it were in use.
    #[tokio::test(start_paused = true)]
    async fn connections_to_where_a_name_led_before_are_not_used_again() {
        let resolver = Rc::new(Resolver::new(Duration::from_secs(5)));
        let pools = Pools::<Fake>::new(&Settings::default(), resolver.clone(), Tasks::new());
        pools.shared.sweeping.set(true);
        let endpoint = Endpoint::new("app.test:80".parse().unwrap(), UpstreamTls::Off);
        let name: Hostname = "app.test".parse().unwrap();
        let pool = pools.of(&endpoint);
        let moves_to = async |last: u8| {
            tokio::time::advance(Duration::from_secs(6)).await;
            let to: Rc<[IpAddr]> = [IpAddr::from([10, 0, 0, last])].into();
            resolver.resolve_by(&name, async |_| Ok(to)).await.unwrap();
        };
        moves_to(1).await;
        let busy = Fake(pool.generation());
        pool.put(Fake(pool.generation()));
        moves_to(1).await;
        assert!(pool.take(false).is_some(), "it is still there");
        pool.put(Fake(pool.generation()));
        moves_to(2).await;
        assert!(pool.take(false).is_none());
        pool.put(busy);
        assert!(pool.take(true).is_none(), "one that was in use meanwhile neither");
        pool.put(Fake(pool.generation()));
        assert!(pool.take(true).is_some());
    }
}
