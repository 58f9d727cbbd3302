use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use model::{Hostname, UpstreamHost};
use runtime::Tasks;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::Endpoint;

/// How often the name of an upstream is looked up although no new connection is needed: it may have moved.
const LOOK_UP_PERIOD: Duration = Duration::from_secs(30);
/// Beyond this many names those past their time are forgotten.
const MANY: usize = 1024;

/// The system's resolver, believed for a short while, and asked one question at a time about each name: after a
/// deploy thousands of requests may need the same answer at once.
#[derive(Debug)]
pub(crate) struct Resolver {
    ttl: Duration,
    known: RefCell<HashMap<Hostname, Known>>,
    asking: RefCell<HashMap<Hostname, Rc<Asking>>>,
    generations: Cell<u64>,
}

/// Which answer about a name is in force: another number, another answer. Connections made by an earlier one lead to where
/// the app may not be any more.
#[derive(Debug)]
pub(crate) struct Named {
    generation: Cell<u64>,
    looked_up: Cell<Instant>,
}

impl Named {
    /// The number of the answer in force.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// How long ago it was looked up.
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.looked_up.get())
    }
}

/// A name that is being looked up, by whoever holds the cell's turn. When that one goes away the next takes over.
type Asking = OnceCell<Result<Rc<[IpAddr]>, (io::ErrorKind, String)>>;

#[derive(Debug)]
struct Known {
    addresses: Rc<[IpAddr]>,
    until: Instant,
    named: Rc<Named>,
}

impl Resolver {
    pub(crate) fn new(ttl: Duration) -> Self {
        let generations = Cell::new(0);
        Self { ttl, known: RefCell::default(), asking: RefCell::default(), generations }
    }

    /// Which answer about a name is in force, now and later.
    pub(crate) fn named(&self, name: &Hostname) -> Rc<Named> {
        let mut known = self.known.borrow_mut();
        let unknown = || Known {
            addresses: [].into(),
            until: Instant::now(),
            named: Rc::new(Named {
                generation: Cell::new(self.next_generation()),
                looked_up: Cell::new(Instant::now()),
            }),
        };
        known.entry(name.clone()).or_insert_with(unknown).named.clone()
    }

    /// The same of an endpoint's name; none for an address.
    pub(crate) fn named_of(&self, endpoint: &Endpoint) -> Option<Rc<Named>> {
        name_of(endpoint).map(|name| self.named(name))
    }

    /// Looks an endpoint's name up again, in a task of `tasks`, when that is some time ago: connections that are in use ask for
    /// no new one.
    pub(crate) fn keep_up(self: &Rc<Self>, endpoint: &Endpoint, tasks: &Tasks) {
        let Some(name) = name_of(endpoint) else { return };
        if self.named(name).age(Instant::now()) >= LOOK_UP_PERIOD {
            let (resolver, name) = (self.clone(), name.clone());
            tasks.spawn_local("upstream name", async move { resolver.refresh(&name).await });
        }
    }

    fn next_generation(&self) -> u64 {
        self.generations.set(self.generations.get() + 1);
        self.generations.get()
    }

    /// Looks a name up again if it is not believed any more; that it can't be looked up changes nothing.
    async fn refresh(&self, name: &Hostname) {
        if self.resolve(name).await.is_err() {
            // Not at once again: whoever needs a connection asks anyway.
            self.named(name).looked_up.set(Instant::now());
        }
    }

    /// The addresses of a name, in the system's order. Failures are not remembered, but shared by all who wait.
    pub(crate) async fn resolve(&self, name: &Hostname) -> io::Result<Rc<[IpAddr]>> {
        self.resolve_by(name, look_up).await
    }

    pub(crate) async fn resolve_by(
        &self,
        name: &Hostname,
        look_up: impl AsyncFnOnce(&Hostname) -> io::Result<Rc<[IpAddr]>>,
    ) -> io::Result<Rc<[IpAddr]>> {
        if let Some(addresses) = self.remembered(name) {
            return Ok(addresses);
        }
        let asking = self.asking.borrow_mut().entry(name.clone()).or_default().clone();
        let told = |error: io::Error| (error.kind(), error.to_string());
        let answer = asking
            .get_or_init(async || {
                let answer = look_up(name).await.map_err(told);
                if let Ok(addresses) = &answer {
                    self.remember(name, addresses);
                }
                answer
            })
            .await;
        // Whoever asks from now on asks anew; those who wait have the answer.
        self.asking
            .borrow_mut()
            .retain(|_, other| !Rc::ptr_eq(other, &asking) && Rc::strong_count(other) > 1);
        answer.clone().map_err(|(kind, text)| io::Error::new(kind, text))
    }

    /// Takes an answer for the one in force.
    pub(crate) fn remember(&self, name: &Hostname, addresses: &Rc<[IpAddr]>) {
        let named = self.named(name);
        let now = Instant::now();
        let mut known = self.known.borrow_mut();
        if known.len() >= MANY {
            known.retain(|_, known| known.until > now || Rc::strong_count(&known.named) > 1);
        }
        let former = known.get(name).map(|known| known.addresses.clone());
        // In another order it is the same answer.
        let is_same = |former: &Rc<[IpAddr]>| {
            former.is_empty()
                || (former.iter().all(|ip| addresses.contains(ip))
                    && addresses.iter().all(|ip| former.contains(ip)))
        };
        if !former.as_ref().is_some_and(is_same) {
            named.generation.set(self.next_generation());
        }
        named.looked_up.set(now);
        let until = now + self.ttl;
        known.insert(name.clone(), Known { addresses: addresses.clone(), until, named });
    }

    fn remembered(&self, name: &Hostname) -> Option<Rc<[IpAddr]>> {
        let known = self.known.borrow();
        let known = known.get(name).filter(|known| known.until > Instant::now())?;
        Some(known.addresses.clone())
    }
}

fn name_of(endpoint: &Endpoint) -> Option<&Hostname> {
    match endpoint.upstream().host() {
        UpstreamHost::Name(name) => Some(name),
        UpstreamHost::Ip(_) => None,
    }
}

async fn look_up(name: &Hostname) -> io::Result<Rc<[IpAddr]>> {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
    Ok(found.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv4Addr;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_is_believed_for_its_time_only() {
        let resolver = Resolver::new(Duration::from_secs(5));
        let name: Hostname = "localhost".parse().unwrap();
        let first = resolver.resolve(&name).await.unwrap();
        assert!(first.iter().all(IpAddr::is_loopback));
        assert!(Rc::ptr_eq(&first, &resolver.resolve(&name).await.unwrap()));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(!Rc::ptr_eq(&first, &resolver.resolve(&name).await.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn another_answer_is_told_from_the_same_in_another_order() {
        let resolver = Resolver::new(Duration::from_secs(5));
        let name: Hostname = "app.test".parse().unwrap();
        let named = resolver.named(&name);
        let answer = async |last: &[u8]| {
            tokio::time::advance(Duration::from_secs(6)).await;
            let all: Rc<[IpAddr]> = last.iter().map(|n| IpAddr::from([10, 0, 0, *n])).collect();
            let look_up = async |_: &Hostname| Ok(all.clone());
            resolver.resolve_by(&name, look_up).await.unwrap();
            named.generation()
        };
        let first = answer(&[1, 2]).await;
        assert_eq!(answer(&[2, 1]).await, first);
        let second = answer(&[2]).await;
        assert_ne!(second, first);
        assert_ne!(answer(&[2, 3]).await, second);
        assert_eq!(named.age(Instant::now()), Duration::ZERO);
    }

    #[tokio::test]
    async fn an_unknown_name_is_an_error() {
        let resolver = Resolver::new(Duration::from_secs(5));
        let name: Hostname = "no-such-host.invalid".parse().unwrap();
        assert!(resolver.resolve(&name).await.is_err());
    }

    /// Each request that found a name forgotten asked the system for it, on a thread of a pool with few.
    #[tokio::test(start_paused = true)]
    async fn who_asks_for_a_name_that_is_being_looked_up_gets_the_same_answer() {
        let resolver = Resolver::new(Duration::from_secs(5));
        let name: Hostname = "app.test".parse().unwrap();
        let asked = Cell::new(0);
        let slow = async |_: &Hostname| {
            asked.set(asked.get() + 1);
            tokio::time::sleep(Duration::from_secs(1)).await;
            match asked.get() {
                1 => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
                _ => Ok([IpAddr::from(Ipv4Addr::LOCALHOST)].into()),
            }
        };
        let all = || join_all((0..100).map(|_| resolver.resolve_by(&name, slow)));
        let failed = all().await;
        assert!(failed.iter().all(|it| it.as_ref().unwrap_err().to_string() == "no such name"));
        assert_eq!(asked.get(), 1);
        let found = all().await;
        assert!(found.iter().all(|it| it.as_ref().unwrap()[..] == [Ipv4Addr::LOCALHOST]));
        assert_eq!(asked.get(), 2);
        assert!(resolver.asking.borrow().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_whose_asker_goes_away_is_taken_over() {
        let resolver = Resolver::new(Duration::from_secs(5));
        let name: Hostname = "app.test".parse().unwrap();
        let slow = async |_: &Hostname| {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok([IpAddr::from(Ipv4Addr::LOCALHOST)].into())
        };
        let impatient = async {
            let limit = Duration::from_secs(1);
            tokio::time::timeout(limit, resolver.resolve_by(&name, slow)).await
        };
        let (gone, found) = tokio::join!(impatient, resolver.resolve_by(&name, slow));
        assert!(gone.is_err());
        assert_eq!(found.unwrap().len(), 1);
    }
}
