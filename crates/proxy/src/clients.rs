//! How many connections each client has, over all workers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Parts of the table, each with a lock of its own: workers accept at the same time.
const SHARDS: usize = 16;
/// How often it is said that somebody has too many.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The connections of each client. A client without any takes no memory, so that the table is never larger than what is
/// open.
#[derive(Debug)]
pub(crate) struct Clients {
    most: usize,
    shards: [Mutex<HashMap<u128, usize>>; SHARDS],
    choose: RandomState,
    told: Mutex<Option<Instant>>,
}

/// A connection that is counted while this lives.
#[derive(Debug)]
pub(crate) struct Place {
    clients: Arc<Clients>,
    client: u128,
}

impl Clients {
    /// At most so many for each.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let (shards, choose) = (Default::default(), RandomState::new());
        Arc::new(Self { most, shards, choose, told: Mutex::default() })
    }

    /// Counts a connection; `None`: the client has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let client = client(ip);
        let mut shard = self.shard(client);
        let count = shard.entry(client).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { clients: self.clone(), client })
    }

    /// Whether it is time to say again that somebody has too many.
    pub(crate) fn is_to_be_told(&self, now: Instant) -> bool {
        let mut told = lock(&self.told);
        let due = told.is_none_or(|last| now.saturating_duration_since(last) >= TELL_EVERY);
        if due {
            *told = Some(now);
        }
        due
    }

    fn shard(&self, client: u128) -> MutexGuard<'_, HashMap<u128, usize>> {
        let [low, ..] = self.choose.hash_one(client).to_le_bytes();
        lock(&self.shards[usize::from(low) % SHARDS])
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.clients.shard(self.client);
        if let Entry::Occupied(mut entry) = shard.entry(self.client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        if shard.is_empty() {
            // What a crowd took is given back.
            *shard = HashMap::new();
        }
    }
}

/// Who counts as one: an IPv4 address, or the /64 that a single IPv6 client has to itself.
fn client(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits() & !u128::from(u64::MAX),
    }
}

/// A poisoned lock is as good as a sound one here: counts are changed at once or not at all.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_count() {
        let clients = Clients::new(2);
        let enter = |ip: &str| clients.enter(ip.parse().unwrap());
        let (one, two) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_none());
        let _other = enter("192.0.2.2").unwrap();
        let _six = (enter("2001:db8::1").unwrap(), enter("2001:db8::2:0:0:1").unwrap());
        assert!(enter("2001:db8::ffff").is_none());
        let _next = enter("2001:db8:0:1::1").unwrap();
        drop(one);
        let _again = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        drop(two);
    }

    #[test]
    fn who_is_gone_takes_no_memory() {
        let clients = Clients::new(9);
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        let all: Vec<_> = (0..10_000).map(|n| clients.enter(ip(n)).unwrap()).collect();
        let size = || clients.shards.iter().map(|shard| lock(shard).capacity()).sum::<usize>();
        assert!(size() >= 10_000);
        drop(all);
        assert_eq!(size(), 0);
    }

    #[test]
    fn it_is_told_now_and_then() {
        let (clients, now) = (Clients::new(1), Instant::now());
        assert!(clients.is_to_be_told(now));
        assert!(!clients.is_to_be_told(now + TELL_EVERY / 2));
        assert!(clients.is_to_be_told(now + TELL_EVERY));
    }
}
