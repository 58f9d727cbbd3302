//! A worker's cheap clocks.

use std::cell::Cell;
use std::time::{Instant, SystemTime};

use runtime::Clock;

/// The time as a worker knows it: exact on request, coarse for free.
///
/// Coarse time is refreshed by [`Time::tick`], which the worker calls several times a second, and whenever somebody
/// reads the exact time. Calendar time is derived from a pair of readings that each tick renews.
pub(crate) struct Time {
    clock: Clock,
    coarse: Cell<Instant>,
    pair: Cell<(Instant, SystemTime)>,
}

impl Time {
    pub(crate) fn new(clock: Clock) -> Self {
        let (now, date) = (Instant::now(), clock.now());
        Self { clock, coarse: Cell::new(now), pair: Cell::new((now, date)) }
    }

    /// The exact time; one reading of the clock.
    pub(crate) fn now(&self) -> Instant {
        let now = Instant::now();
        self.coarse.set(now);
        now
    }

    /// The time at most a tick ago.
    pub(crate) fn coarse(&self) -> Instant {
        self.coarse.get()
    }

    /// The date at an instant of this worker.
    pub(crate) fn date(&self, at: Instant) -> SystemTime {
        let (instant, date) = self.pair.get();
        match at.checked_duration_since(instant) {
            Some(later) => date + later,
            None => date - instant.saturating_duration_since(at),
        }
    }

    /// Renews what is derived.
    pub(crate) fn tick(&self) {
        self.pair.set((self.now(), self.clock.now()));
    }
}
