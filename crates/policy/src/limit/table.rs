use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::rate::{Rule, Standing, Who, customer};

/// All buckets of a process, shared by its workers.
///
/// Memory is set when it is made: 16 bytes for each of `capacity` buckets, taken from the system as they are first used.
/// A newcomer takes the place of a bucket that is full, which loses nothing. Where none of the eight places it can
/// stand in is full, the fullest gives way: its owner gets a fresh bucket, so a flood of addresses makes
/// the limit laxer for a few who had used little, and never refuses anybody wrongly. Who is at the limit keeps his bucket
/// longest.
#[derive(Debug)]
pub struct Limiter {
    shards: Box<[Mutex<Box<[Set]>>]>,
    hasher: RandomState,
    evicted: AtomicU64,
}

/// Places that one key can stand in: (key, full at). A key of 0 is an empty place.
type Set = [[u64; 2]; WAYS];

const WAYS: usize = 8;
/// Locks; more than there are cores by far, so that workers seldom meet.
const SHARDS: usize = 64;

impl Limiter {
    /// Room for at least `capacity` buckets.
    pub fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(SHARDS * WAYS).max(1).next_power_of_two();
        // Zeroes of arrays come from the system untouched.
        let shard = |_| Mutex::new(vec![[[0; 2]; WAYS]; sets].into_boxed_slice());
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: RandomState::new(),
            evicted: AtomicU64::new(0),
        }
    }

    /// Takes a token, if there is one. `now` is the time since a moment that stays the same for this limiter.
    pub fn take(&self, rule: &Rule, who: Who<'_>, now: Duration) -> Standing {
        let key = self.key(rule, who);
        let now = nanos(now);
        self.with_set(key, |set| {
            let place = match set.iter().position(|[had, _]| *had == key) {
                Some(place) => place,
                None => {
                    let place = fullest(set);
                    if set[place][0] != 0 && set[place][1] > now {
                        self.evicted.fetch_add(1, Ordering::Relaxed);
                    }
                    set[place] = [key, 0];
                    place
                }
            };
            let (standing, full_at) = rule.rate.take(set[place][1], now);
            set[place][1] = full_at;
            standing
        })
    }

    /// How a request would stand, without taking anything.
    pub fn peek(&self, rule: &Rule, who: Who<'_>, now: Duration) -> Standing {
        let key = self.key(rule, who);
        let full_at = self.with_set(key, |set| {
            set.iter().find(|[had, _]| *had == key).map_or(0, |[_, full_at]| *full_at)
        });
        rule.rate.take(full_at, nanos(now)).0
    }

    /// How many buckets gave way that were not full: when it grows, the capacity is too small for what comes.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// How many buckets there is room for.
    pub fn capacity(&self) -> usize {
        let sets = self.shards.first().map_or(0, |it| lock(it).len());
        self.shards.len() * sets * WAYS
    }

    /// Hashed by a secret, so that nobody can choose addresses that share a place.
    fn key(&self, rule: &Rule, who: Who<'_>) -> u64 {
        let who = match who {
            Who::Client(ip) => (0, Some(customer(ip)), &[][..]),
            Who::Everybody => (1, None, &[][..]),
            Who::Bearer(value) => (2, None, value),
        };
        self.hasher.hash_one((rule.scope, who)).max(1)
    }

    fn with_set<R>(&self, key: u64, act: impl FnOnce(&mut Set) -> R) -> R {
        let mut sets = lock(&self.shards[index(key % SHARDS as u64)]);
        let place = key / SHARDS as u64 % sets.len() as u64;
        act(&mut sets[index(place)])
    }
}

/// The place whose bucket is full, or will be first.
fn fullest(set: &Set) -> usize {
    let order = |place: &usize| if set[*place][0] == 0 { 0 } else { set[*place][1] };
    (0..WAYS).min_by_key(order).unwrap_or(0)
}

/// A remainder by a length: it fits.
fn index(remainder: u64) -> usize {
    usize::try_from(remainder).unwrap_or_default()
}

/// No code of others runs under the lock, so what it holds is whole even if a thread died.
fn lock(shard: &Mutex<Box<[Set]>>) -> std::sync::MutexGuard<'_, Box<[Set]>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}
