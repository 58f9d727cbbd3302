//! A worker's cheap clocks.

use std::cell::{Cell, RefCell};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use httpdate::HttpDate;
use runtime::Clock;

/// The time as a worker knows it: exact on request, coarse for free.
///
/// Coarse time is refreshed by [`Time::tick`], which the worker calls several times a second, and whenever somebody
/// reads the exact time. Calendar time is derived from a pair of readings that each tick renews.
pub(crate) struct Time {
    clock: Clock,
    coarse: Cell<Instant>,
    pair: Cell<(Instant, SystemTime)>,
    /// The value of `Date`, and the second that it names.
    http_date: RefCell<(u64, HeaderValue)>,
}

impl Time {
    pub(crate) fn new(clock: Clock) -> Self {
        let (now, date) = (Instant::now(), clock.now());
        Self {
            clock,
            coarse: Cell::new(now),
            pair: Cell::new((now, date)),
            http_date: RefCell::new((0, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))),
        }
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

    /// The present as a `Date` field says it (RFC 9110 §6.6.1), made anew once a second.
    pub(crate) fn http_date(&self) -> HeaderValue {
        let date = self.date(self.coarse());
        let second = date.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (named, value) = &mut *self.http_date.borrow_mut();
        if *named != second
            && let Ok(text) = HeaderValue::try_from(HttpDate::from(date).to_string())
        {
            (*named, *value) = (second, text);
        }
        value.clone()
    }

    /// Renews what is derived.
    pub(crate) fn tick(&self) {
        self.pair.set((self.now(), self.clock.now()));
    }
}
