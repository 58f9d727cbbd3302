//! How fast bytes move while somebody waits for them.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Measures how fast the other side is in the time that it is being waited for.
///
/// A window opens when waiting begins and stays open over short interruptions; it is judged, and begun anew, when it
/// is over while still waiting.
#[derive(Default)]
pub(crate) struct Gauge {
    since: Option<Instant>,
    waiting: bool,
    moved: u64,
}

impl Gauge {
    pub(crate) fn wait(&mut self, waiting: bool, now: Instant) {
        self.waiting = waiting;
        if waiting && self.since.is_none() {
            (self.since, self.moved) = (Some(now), 0);
        }
    }

    pub(crate) fn add(&mut self, n: usize) {
        self.moved += n as u64;
    }

    /// When the window was opened, if one is.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Whether a window of this length is over and less than `rate` bytes per second moved in it.
    pub(crate) fn is_below(&mut self, rate: f64, window: Duration, now: Instant) -> bool {
        let Some(since) = self.since else { return false };
        let past = now.saturating_duration_since(since);
        if past < window {
            return false;
        }
        let slow = self.waiting && (self.moved as f64) < rate * past.as_secs_f64();
        (self.since, self.moved) = (self.waiting.then_some(now), 0);
        slow
    }
}

/// One body on its way, under watch.
#[derive(Default)]
pub(crate) struct Flow {
    total: Cell<u64>,
    gauge: RefCell<Gauge>,
    failed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Flow {
    /// Bytes that moved.
    pub(crate) fn total(&self) -> u64 {
        self.total.get()
    }

    /// Something moved, or the client is waited for; ready once the client was found too slow.
    pub(crate) fn poll(&self, moved: Option<usize>, now: Instant, cx: &Context<'_>) -> Poll<()> {
        if self.failed.get() {
            return Poll::Ready(());
        }
        self.total.set(self.total.get() + moved.unwrap_or(0) as u64);
        let mut gauge = self.gauge.borrow_mut();
        gauge.add(moved.unwrap_or(0));
        gauge.wait(moved.is_none(), now);
        if moved.is_none() {
            self.waker
                .borrow_mut()
                .get_or_insert_with(|| cx.waker().clone())
                .clone_from(cx.waker());
        }
        Poll::Pending
    }

    /// Nobody wants the rest.
    pub(crate) fn fail(&self) {
        self.failed.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.gauge.borrow().is_waiting()
    }

    pub(crate) fn since(&self) -> Option<Instant> {
        self.gauge.borrow().since()
    }

    pub(crate) fn is_below(&self, rate: f64, window: Duration, now: Instant) -> bool {
        self.gauge.borrow_mut().is_below(rate, window, now)
    }
}
