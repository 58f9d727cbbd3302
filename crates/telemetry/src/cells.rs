//! The values behind the metrics. The plain kinds have one writer, which the types enforce: they are `Send` but
//! neither `Sync` nor `Clone`, so a relaxed load and store is enough and costs what an ordinary addition costs.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Keeps cells of different threads off each other's cache lines.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Padded<T>(pub(crate) T);

type OneThread = PhantomData<Cell<()>>;

/// A count that only grows, written by one thread.
#[derive(Debug)]
pub struct Counter(pub(crate) Arc<Padded<AtomicU64>>, OneThread);

impl Counter {
    pub(crate) fn new(cell: Arc<Padded<AtomicU64>>) -> Self {
        Self(cell, PhantomData)
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        let cell = &self.0.0;
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }
}

/// A count that only grows, written by anyone. Dearer than [`Counter`]: not for the request path.
#[derive(Clone, Debug)]
pub struct SharedCounter(pub(crate) Arc<Padded<AtomicU64>>);

impl SharedCounter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.0.fetch_add(n, Relaxed);
    }
}

/// A value that goes up and down, written by one thread; the threads' values are added up.
#[derive(Debug)]
pub struct Gauge(pub(crate) Arc<Padded<AtomicI64>>, OneThread);

impl Gauge {
    pub(crate) fn new(cell: Arc<Padded<AtomicI64>>) -> Self {
        Self(cell, PhantomData)
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        let cell = &self.0.0;
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets this thread's share.
    pub fn set(&self, value: i64) {
        self.0.0.store(value, Relaxed);
    }
}

/// A value that goes up and down, written by anyone.
#[derive(Clone, Debug)]
pub struct SharedGauge(pub(crate) Arc<Padded<AtomicI64>>);

impl SharedGauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.0.fetch_add(n, Relaxed);
    }

    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.0.store(value, Relaxed);
    }
}

/// A distribution over fixed buckets, written by one thread.
#[derive(Debug)]
pub struct Histogram(pub(crate) Arc<Buckets>, OneThread);

/// How often each bucket was hit (not cumulative; the last one is above every bound) and the sum, as `f64` bits.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Buckets {
    pub(crate) bounds: &'static [f64],
    pub(crate) hits: Box<[AtomicU64]>,
    pub(crate) sum: AtomicU64,
}

impl Buckets {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let hits = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, hits, sum: AtomicU64::new(0f64.to_bits()) }
    }
}

impl Histogram {
    pub(crate) fn new(buckets: Arc<Buckets>) -> Self {
        Self(buckets, PhantomData)
    }

    /// Counts a duration, in seconds.
    pub fn observe(&self, duration: Duration) {
        self.observe_value(duration.as_secs_f64());
    }

    /// Counts a value.
    pub fn observe_value(&self, value: f64) {
        let index = self.0.bounds.iter().position(|bound| value <= *bound);
        self.count(index.unwrap_or(self.0.bounds.len()), value);
    }

    /// Counts a duration here and in another histogram, whose bounds are the same: its bucket is looked for once.
    pub fn observe_in_both(&self, other: &Self, duration: Duration) {
        let value = duration.as_secs_f64();
        let index = self.0.bounds.iter().position(|bound| value <= *bound);
        let index = index.unwrap_or(self.0.bounds.len());
        self.count(index, value);
        match std::ptr::eq(self.0.bounds, other.0.bounds) {
            true => other.count(index, value),
            false => other.observe_value(value),
        }
    }

    fn count(&self, index: usize, value: f64) {
        let buckets = &*self.0;
        let hit = &buckets.hits[index];
        hit.store(hit.load(Relaxed) + 1, Relaxed);
        let sum = f64::from_bits(buckets.sum.load(Relaxed)) + value;
        buckets.sum.store(sum.to_bits(), Relaxed);
    }
}
