use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use model::Hostname;
use tokio::time::Instant;

/// Beyond this many names those past their time are forgotten.
const MANY: usize = 1024;

/// The system's resolver, believed for a short while.
#[derive(Debug)]
pub(crate) struct Resolver {
    ttl: Duration,
    known: RefCell<HashMap<Hostname, Known>>,
}

#[derive(Debug)]
struct Known {
    addresses: Rc<[IpAddr]>,
    until: Instant,
}

impl Resolver {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, known: RefCell::default() }
    }

    /// The addresses of a name, in the system's order. Failures are not remembered.
    pub(crate) async fn resolve(&self, name: &Hostname) -> io::Result<Rc<[IpAddr]>> {
        if let Some(addresses) = self.remembered(name) {
            return Ok(addresses);
        }
        let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
        let addresses: Rc<[IpAddr]> = found.map(|address| address.ip()).collect();
        let now = Instant::now();
        let mut known = self.known.borrow_mut();
        if known.len() >= MANY {
            known.retain(|_, known| known.until > now);
        }
        known.insert(name.clone(), Known { addresses: addresses.clone(), until: now + self.ttl });
        Ok(addresses)
    }

    fn remembered(&self, name: &Hostname) -> Option<Rc<[IpAddr]>> {
        let known = self.known.borrow();
        let known = known.get(name).filter(|known| known.until > Instant::now())?;
        Some(known.addresses.clone())
    }
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn an_unknown_name_is_an_error() {
        let resolver = Resolver::new(Duration::from_secs(5));
        let name: Hostname = "no-such-host.invalid".parse().unwrap();
        assert!(resolver.resolve(&name).await.is_err());
    }
}
