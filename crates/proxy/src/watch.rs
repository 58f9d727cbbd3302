//! The one timer of a connection.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use crate::conn::Conn;
use crate::pulse::Lapse;

/// How far ahead to look when nothing is due: what becomes due in the meantime is armed then.
const LATER: Duration = Duration::from_secs(60);
/// How long a connection with nothing to do keeps the memory of its requests: bursts follow one another.
const KEEP: Duration = Duration::from_secs(2);
/// How long a connection that says goodbye may stand still.
const GOODBYE: Duration = Duration::from_secs(10);

/// Watches over a connection in the task that drives it: its limits of time, and the end of the worker.
///
/// The timer is moved only when something is due earlier than it is armed for. Deadlines that move away, as they do
/// with every request, cost nothing; the timer finds out when it fires.
pub(crate) struct Watch {
    conn: Rc<Conn>,
    timer: Pin<Box<Sleep>>,
    armed: Instant,
    registered: bool,
    closing: Pin<Box<dyn Future<Output = ()>>>,
    listens: bool,
    told: bool,
    idle_until: Option<Instant>,
    rest_at: Option<Instant>,
}

/// What a watch has to say.
pub(crate) enum Notice {
    /// The worker closes: no further requests. Said once.
    Closing,
    /// A limit was passed.
    Lapse(Lapse),
    /// An HTTP/2 client with requests in flight is to be asked whether it is still there.
    Silent,
    /// Nothing is in flight: memory that was kept for a while may go.
    Resting,
}

impl Watch {
    pub(crate) fn new(conn: &Rc<Conn>) -> Self {
        let now = conn.worker.time.coarse();
        let armed = conn.pulse.due(None, now).unwrap_or(now + LATER);
        Self {
            timer: Box::pin(sleep_until(armed.into())),
            armed,
            registered: false,
            closing: Box::pin(conn.worker.closing()),
            listens: false,
            told: false,
            idle_until: None,
            rest_at: None,
            conn: conn.clone(),
        }
    }

    /// To be polled after each poll of the connection, until pending.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Notice> {
        if self.hears_closing(cx) {
            let grace = self.conn.worker.settings.drain.idle_grace;
            self.idle_until = Some(self.conn.worker.time.now() + grace);
            return Poll::Ready(Notice::Closing);
        }
        loop {
            let coarse = self.conn.worker.time.coarse();
            match self.due(coarse) {
                Some(due) if due < self.armed => self.arm(due),
                _ => {}
            }
            if self.registered && !self.timer.is_elapsed() {
                return Poll::Pending;
            }
            self.registered = true;
            ready!(self.timer.as_mut().poll(cx));
            let now = self.conn.worker.time.now();
            if let Some(lapse) = self.conn.pulse.judge(now, self.idle_until) {
                return Poll::Ready(Notice::Lapse(lapse));
            }
            if self.conn.pulse.is_silent(now) {
                return Poll::Ready(Notice::Silent);
            }
            if self.rest_at.take_if(|at| *at <= now).is_some() && !self.conn.pulse.is_busy() {
                return Poll::Ready(Notice::Resting);
            }
            let later = now + LATER;
            self.arm(self.due(now).map_or(later, |due| due.min(later)));
        }
    }

    /// Has [`Notice::Resting`] said if nothing is in flight in a while. Asking again does not put it off.
    pub(crate) fn rest_later(&mut self) {
        self.rest_at.get_or_insert_with(|| self.conn.worker.time.coarse() + KEEP);
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        self.conn.pulse.due(self.idle_until, now).into_iter().chain(self.rest_at).min()
    }

    /// Gives an idle client a moment more.
    pub(crate) fn wait_for_goodbye(&mut self) {
        let now = self.conn.worker.time.now();
        self.conn.pulse.rest(now);
        self.idle_until = Some(now + GOODBYE);
    }

    /// The future is polled once, to be woken by it; from then on a flag tells at no cost.
    fn hears_closing(&mut self, cx: &mut Context<'_>) -> bool {
        if self.told {
            return false;
        }
        let first = !std::mem::replace(&mut self.listens, true);
        self.told =
            self.conn.worker.is_closing() || (first && self.closing.as_mut().poll(cx).is_ready());
        self.told
    }

    fn arm(&mut self, at: Instant) {
        self.timer.as_mut().reset(at.into());
        self.armed = at;
        self.registered = false;
    }
}
