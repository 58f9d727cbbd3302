//! What a connection is doing, seen by its transport, its service and its watch alike.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use crate::downloads::Downloads;
use crate::gauge::{Flow, Gauge};
use crate::interim::Interim;
use crate::settings::{MinimumRates, Timeouts};

/// The state of one connection. All times are the worker's coarse time.
pub(crate) struct Pulse {
    timeouts: Timeouts,
    rates: MinimumRates,
    /// On HTTP/1 a byte that arrives while nothing is in flight begins a head; on HTTP/2 it may be any frame.
    bytes_begin_a_head: bool,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    in_flight: Cell<u32>,
    reader_is_slow: RefCell<Gauge>,
    uploads: RefCell<Vec<Rc<Flow>>>,
    /// On HTTP/2, the answers that wait for the client.
    pub(crate) downloads: Downloads,
    /// On HTTP/2, when a byte was read last, and when a silent client was last asked for a sign of life.
    read_at: Cell<Instant>,
    asked_at: Cell<Option<Instant>>,
    moved: Cell<bool>,
    /// What the transport writes before the server's own bytes.
    pub(crate) interim: Interim,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before the first byte.
    Fresh,
    /// Between requests.
    Idle,
    /// Part of a head has come.
    Head,
    /// At least one request is in flight.
    Busy,
}

/// Why a watch ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// No request for the idle time, or none at all.
    Idle,
    /// A head was begun and not finished in time.
    Head,
    /// The client doesn't take its answer.
    SlowReader,
    /// With requests in flight, not a byte came for the idle time, nor after being asked for.
    Silent,
}

impl Pulse {
    pub(crate) fn new(
        timeouts: Timeouts,
        rates: MinimumRates,
        bytes_begin_a_head: bool,
        now: Instant,
    ) -> Self {
        Self {
            timeouts,
            rates,
            bytes_begin_a_head,
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(now),
            in_flight: Cell::new(0),
            reader_is_slow: RefCell::default(),
            uploads: RefCell::default(),
            downloads: Downloads::default(),
            read_at: Cell::new(now),
            asked_at: Cell::new(None),
            moved: Cell::new(false),
            interim: Interim::default(),
        }
    }

    /// The transport read something.
    pub(crate) fn has_read(&self, now: Instant) {
        self.moved.set(true);
        self.read_at.set(now);
        self.asked_at.set(None);
        match self.phase.get() {
            Phase::Fresh | Phase::Idle if self.bytes_begin_a_head => self.enter(Phase::Head, now),
            Phase::Fresh => self.enter(Phase::Idle, now),
            Phase::Idle | Phase::Head | Phase::Busy => {}
        }
    }

    /// The transport wrote `n` bytes.
    pub(crate) fn has_written(&self, n: usize) {
        self.moved.set(true);
        self.reader_is_slow.borrow_mut().add(n);
    }

    /// Whether the transport has bytes to write that the client's window has no room for.
    pub(crate) fn write_blocks(&self, blocked: bool, now: Instant) {
        self.reader_is_slow.borrow_mut().wait(blocked, now);
        self.downloads.blocks(blocked, now);
    }

    /// A request's head is complete.
    pub(crate) fn request_begins(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.enter(Phase::Busy, now);
    }

    /// A request's answer was handed over whole, or given up.
    pub(crate) fn request_ends(&self, now: Instant) {
        let left = self.in_flight.get().saturating_sub(1);
        self.in_flight.set(left);
        if left == 0 {
            self.enter(Phase::Idle, now);
        }
    }

    /// Whether a byte went either way since this was last asked.
    pub(crate) fn take_moved(&self) -> bool {
        self.moved.take()
    }

    /// Whether bytes wait for the client to take them.
    pub(crate) fn is_blocked(&self) -> bool {
        self.reader_is_slow.borrow().is_waiting()
    }

    /// Starts the idle time anew.
    pub(crate) fn rest(&self, now: Instant) {
        self.since.set(now);
    }

    /// Whether a request is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// Watches a request body that is about to be read; drop the handle by [`Pulse::upload_ends`].
    pub(crate) fn upload_begins(&self) -> Rc<Flow> {
        let upload = Rc::new(Flow::default());
        self.uploads.borrow_mut().push(upload.clone());
        upload
    }

    /// The request body was read whole, or given up.
    pub(crate) fn upload_ends(&self, upload: &Rc<Flow>) {
        self.uploads.borrow_mut().retain(|other| !Rc::ptr_eq(other, upload));
    }

    /// Whether a client with requests in flight has been silent for so long that it is to be asked for a sign of life.
    /// Says so once; what it reads next settles it.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        let silent =
            self.asked_at.get().is_none() && self.silence_due().is_some_and(|at| at <= now);
        if silent && self.stage() == Phase::Busy {
            self.asked_at.set(Some(now));
            return true;
        }
        false
    }

    /// When to look again, if nothing happens until then; `None`: whenever.
    pub(crate) fn due(&self, idle_until: Option<Instant>, now: Instant) -> Option<Instant> {
        let since = self.since.get();
        match self.stage() {
            Phase::Fresh => Some(earlier(since + self.timeouts.header, idle_until)),
            Phase::Idle => Some(earlier(since + self.timeouts.idle, idle_until)),
            Phase::Head => Some(since + self.timeouts.header),
            Phase::Busy => self.rates_due(now).into_iter().chain(self.silence_due()).min(),
        }
    }

    /// What is over by now. Uploads that are too slow are failed one by one and do not end the connection.
    pub(crate) fn judge(&self, now: Instant, idle_until: Option<Instant>) -> Option<Lapse> {
        match self.stage() {
            Phase::Busy => self.judge_rates(now),
            Phase::Head if self.due(None, now)? <= now => Some(Lapse::Head),
            Phase::Fresh | Phase::Idle if self.due(idle_until, now)? <= now => Some(Lapse::Idle),
            Phase::Fresh | Phase::Idle | Phase::Head => None,
        }
    }

    /// The phase as far as time goes: with bytes that the client has yet to take, the last answer is not over.
    fn stage(&self) -> Phase {
        if self.is_blocked() { Phase::Busy } else { self.phase.get() }
    }

    fn rates_due(&self, now: Instant) -> Option<Instant> {
        let window = self.rates.window;
        let uploads = self.uploads.borrow();
        let waits = uploads.iter().filter_map(|upload| upload.since());
        let waits = waits.chain(self.reader_is_slow.borrow().since()).map(|since| since + window);
        waits.chain(self.downloads.due(&self.rates, now)).min()
    }

    fn judge_rates(&self, now: Instant) -> Option<Lapse> {
        let window = self.rates.window;
        for upload in self.uploads.borrow().iter() {
            if upload.is_below(self.rates.upload as f64, window, now) {
                upload.fail();
            }
        }
        self.downloads.judge(&self.rates, now);
        let rate = self.rates.download as f64;
        if self.reader_is_slow.borrow_mut().is_below(rate, window, now) {
            return Some(Lapse::SlowReader);
        }
        let unanswered = self.asked_at.get().is_some();
        (unanswered && self.silence_due()? <= now).then_some(Lapse::Silent)
    }

    /// When a silent HTTP/2 client is to be asked, or given up after that. HTTP/1 has no question to ask.
    fn silence_due(&self) -> Option<Instant> {
        let asked = self.asked_at.get().map(|at| at + self.timeouts.header);
        let due = asked.unwrap_or(self.read_at.get() + self.timeouts.idle);
        (!self.bytes_begin_a_head).then_some(due)
    }

    fn enter(&self, phase: Phase, now: Instant) {
        self.phase.set(phase);
        self.since.set(now);
    }
}

fn earlier(at: Instant, limit: Option<Instant>) -> Instant {
    limit.map_or(at, |limit| at.min(limit))
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn pulse(now: Instant) -> Pulse {
        Pulse::new(Timeouts::default(), MinimumRates::default(), true, now)
    }

    #[test]
    fn a_silent_connection_lapses_after_the_header_time_and_an_idle_one_after_the_idle_time() {
        let t = Instant::now();
        let p = pulse(t);
        assert_eq!(p.judge(t + 9 * S, None), None);
        assert_eq!(p.judge(t + 10 * S, None), Some(Lapse::Idle));
        p.has_read(t);
        p.request_begins(t);
        assert_eq!(p.due(None, t), None);
        assert_eq!(p.judge(t + 1000 * S, None), None);
        p.request_ends(t + 20 * S);
        assert_eq!(p.due(None, t), Some(t + 80 * S));
        assert_eq!(p.due(Some(t + 21 * S), t), Some(t + 21 * S));
    }

    #[test]
    fn a_head_that_drips_lapses_counted_from_its_first_byte() {
        let t = Instant::now();
        let p = pulse(t);
        p.has_read(t + 2 * S);
        p.has_read(t + 9 * S);
        assert_eq!(p.judge(t + 11 * S, Some(t)), None);
        assert_eq!(p.judge(t + 12 * S, None), Some(Lapse::Head));
    }

    #[test]
    fn a_reader_is_slow_only_while_bytes_wait_for_it() {
        let t = Instant::now();
        let p = pulse(t);
        p.request_begins(t);
        p.write_blocks(true, t);
        assert_eq!(p.due(None, t), Some(t + 10 * S));
        p.has_written(2400);
        assert_eq!(p.judge(t + 10 * S, None), None);
        p.has_written(100);
        assert_eq!(p.judge(t + 20 * S, None), Some(Lapse::SlowReader));
        p.write_blocks(false, t);
        assert_eq!(p.judge(t + 90 * S, None), None);
    }

    #[test]
    fn a_silent_http2_client_is_asked_once_and_then_given_up() {
        let t = Instant::now();
        let p = Pulse::new(Timeouts::default(), MinimumRates::default(), false, t);
        p.request_begins(t);
        p.has_read(t);
        assert_eq!(p.due(None, t), Some(t + 60 * S));
        assert!(!p.is_silent(t + 59 * S));
        assert!(p.is_silent(t + 60 * S));
        assert!(!p.is_silent(t + 61 * S));
        assert_eq!(p.judge(t + 69 * S, None), None);
        assert_eq!(p.judge(t + 70 * S, None), Some(Lapse::Silent));
        p.has_read(t + 70 * S);
        assert_eq!(p.judge(t + 71 * S, None), None);
    }

    #[test]
    fn a_slow_upload_fails_alone() {
        let t = Instant::now();
        let p = pulse(t);
        p.request_begins(t);
        let (slow, waited_for) = (p.upload_begins(), p.upload_begins());
        let cx = Context::from_waker(Waker::noop());
        assert!(slow.poll(None, t, &cx).is_pending());
        assert!(waited_for.poll(Some(1), t, &cx).is_pending());
        assert_eq!(p.judge(t + 10 * S, None), None);
        assert!(slow.poll(None, t, &cx).is_ready());
        assert!(waited_for.poll(None, t, &cx).is_pending());
        p.upload_ends(&slow);
        p.upload_ends(&waited_for);
        assert_eq!(p.due(None, t), None);
    }
}
