//! The answers of an HTTP/2 connection that wait for their client.
//!
//! What can't be sent because the transport takes nothing is the connection's fault, and judged there. What can't be sent
//! because the client opens no window is judged here, answer by answer, in the time in which the transport was open. The
//! client owes the minimum rate to all waiting answers together: with `n` of them each gets its share of the rate, and
//! `n` times the time to show it, as a window that they share may be handed around. When all of them together don't move
//! at that rate, all have failed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Context;
use std::time::{Duration, Instant};

use crate::gauge::{Flow, Gauge};
use crate::settings::MinimumRates;

/// The waiting answers of one connection.
#[derive(Default)]
pub(crate) struct Downloads {
    flows: RefCell<Vec<Rc<Flow>>>,
    together: RefCell<Gauge>,
    blocked: Cell<Option<Instant>>,
    blocked_for: Cell<Duration>,
}

impl Downloads {
    /// Watches an answer that has to wait; drop the handle by [`Downloads::ends`].
    pub(crate) fn begins(&self) -> Rc<Flow> {
        let flow = Rc::new(Flow::default());
        self.flows.borrow_mut().push(flow.clone());
        flow
    }

    /// An answer moved by so many bytes, or waits for room; ready once it was found to be taken too slowly.
    pub(crate) fn poll(
        &self,
        flow: &Flow,
        moved: Option<usize>,
        now: Instant,
        cx: &Context<'_>,
    ) -> std::task::Poll<()> {
        let open = self.open_time(now);
        let polled = flow.poll(moved, open, cx);
        let mut together = self.together.borrow_mut();
        together.add(moved.unwrap_or(0));
        together.wait(self.flows.borrow().iter().any(|flow| flow.is_waiting()), open);
        polled
    }

    /// The answer is over.
    pub(crate) fn ends(&self, flow: &Rc<Flow>, now: Instant) {
        let mut flows = self.flows.borrow_mut();
        flows.retain(|other| !Rc::ptr_eq(other, flow));
        let waiting = flows.iter().any(|flow| flow.is_waiting());
        self.together.borrow_mut().wait(waiting, self.open_time(now));
    }

    /// Whether the transport takes nothing at present.
    pub(crate) fn blocks(&self, blocked: bool, now: Instant) {
        match (blocked, self.blocked.get()) {
            (true, None) => self.blocked.set(Some(now)),
            (false, Some(since)) => {
                let past = now.saturating_duration_since(since);
                self.blocked_for.set(self.blocked_for.get() + past);
                self.blocked.set(None);
            }
            _ => {}
        }
    }

    /// When to judge.
    pub(crate) fn due(&self, rates: &MinimumRates, now: Instant) -> Option<Instant> {
        let flows = self.flows.borrow();
        if flows.is_empty() {
            return None;
        }
        let alone = flows.iter().filter_map(|flow| flow.since()).min();
        let alone = alone.map(|since| since + rates.window * count(&flows));
        let together = self.together.borrow().since().map(|since| since + rates.window);
        alone.into_iter().chain(together).min().map(|at| at + self.blocked_time(now))
    }

    /// Fails what is taken too slowly; how many.
    pub(crate) fn judge(&self, rates: &MinimumRates, now: Instant) -> usize {
        let flows = self.flows.borrow();
        let (open, n) = (self.open_time(now), count(&flows));
        let rate = rates.download as f64;
        let all = self.together.borrow_mut().is_below(rate, rates.window, open);
        let mut failed = 0;
        for flow in flows.iter() {
            let alone = flow.is_below(rate / f64::from(n), rates.window * n, open);
            if alone || (all && flow.is_waiting()) {
                flow.fail();
                failed += 1;
            }
        }
        failed
    }

    /// A clock that stands still while the transport is blocked.
    fn open_time(&self, now: Instant) -> Instant {
        now.checked_sub(self.blocked_time(now)).unwrap_or(now)
    }

    fn blocked_time(&self, now: Instant) -> Duration {
        let present = self.blocked.get().map(|since| now.saturating_duration_since(since));
        self.blocked_for.get() + present.unwrap_or_default()
    }
}

/// How many answers wait, at least 1.
fn count(flows: &[Rc<Flow>]) -> u32 {
    let waiting = flows.iter().filter(|flow| flow.is_waiting()).count();
    u32::try_from(waiting).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const S: Duration = Duration::from_secs(1);
    const RATES: MinimumRates =
        MinimumRates { upload: 240, download: 240, window: Duration::from_secs(10) };

    #[test]
    fn an_answer_that_is_not_taken_fails_alone() {
        let (t, cx) = (Instant::now(), Context::from_waker(Waker::noop()));
        let downloads = Downloads::default();
        let (stuck, brisk) = (downloads.begins(), downloads.begins());
        assert!(downloads.poll(&stuck, None, t, &cx).is_pending());
        assert!(downloads.poll(&brisk, Some(1000), t, &cx).is_pending());
        assert_eq!(downloads.due(&RATES, t), Some(t + 10 * S));
        assert!(downloads.poll(&brisk, Some(100_000), t + 9 * S, &cx).is_pending());
        assert_eq!(downloads.judge(&RATES, t + 10 * S), 1);
        assert!(downloads.poll(&stuck, None, t + 10 * S, &cx).is_ready());
        assert!(downloads.poll(&brisk, None, t + 10 * S, &cx).is_pending());
        downloads.ends(&stuck, t);
        downloads.ends(&brisk, t);
        assert_eq!(downloads.due(&RATES, t), None);
    }

    #[test]
    fn answers_that_share_a_slow_window_get_longer_and_fail_together_when_nothing_moves() {
        let (t, cx) = (Instant::now(), Context::from_waker(Waker::noop()));
        let downloads = Downloads::default();
        let flows = [(); 10].map(|()| downloads.begins());
        for flow in &flows {
            assert!(downloads.poll(flow, None, t, &cx).is_pending());
        }
        // One of ten had its turn: the others wait for theirs.
        for at in 1..=4 {
            let at = t + 10 * at * S;
            assert!(downloads.poll(&flows[0], Some(2500), at, &cx).is_pending());
            assert!(downloads.poll(&flows[0], None, at, &cx).is_pending());
            assert_eq!(downloads.judge(&RATES, at), 0);
        }
        assert_eq!(downloads.judge(&RATES, t + 50 * S), 10);
    }

    #[test]
    fn time_in_which_the_transport_was_blocked_does_not_count() {
        let (t, cx) = (Instant::now(), Context::from_waker(Waker::noop()));
        let downloads = Downloads::default();
        let flow = downloads.begins();
        assert!(downloads.poll(&flow, None, t, &cx).is_pending());
        downloads.blocks(true, t + S);
        assert_eq!(downloads.due(&RATES, t + 21 * S), Some(t + 30 * S));
        assert_eq!(downloads.judge(&RATES, t + 21 * S), 0);
        downloads.blocks(false, t + 21 * S);
        assert_eq!(downloads.judge(&RATES, t + 29 * S), 0);
        assert_eq!(downloads.judge(&RATES, t + 30 * S), 1);
    }
}
