use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::time::Instant;

use super::MAX_STREAMS;

/// One connection, as those see it who send requests on it. It is closed when the last of them has dropped it.
pub(super) struct Session {
    sender: SendRequest<Bytes>,
    generation: u64,
    in_flight: Cell<usize>,
    idle_since: Cell<Instant>,
    refused: Cell<bool>,
    doubted: Cell<bool>,
    driver: RefCell<Option<Waker>>,
}

impl Session {
    /// `generation` says which answer about the endpoint's name it was opened by.
    pub(super) fn new(sender: SendRequest<Bytes>, generation: u64) -> Rc<Self> {
        Rc::new(Self {
            sender,
            generation,
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            refused: Cell::new(false),
            doubted: Cell::new(false),
            driver: RefCell::default(),
        })
    }

    /// Whether requests may go on it: it lives, and was not told to part.
    pub(super) fn is_usable(&self, keep_alive: Duration) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let is_open = matches!(self.sender.clone().poll_ready(&mut cx), Poll::Ready(Ok(())));
        is_open && !self.refused.get() && self.idle().is_none_or(|idle| idle < keep_alive)
    }

    /// Which answer about the endpoint's name it was opened by.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether one more request may go on it now.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.get() < MAX_STREAMS.min(self.sender.current_max_send_streams())
    }

    /// How long it has had nothing to do; none: it has.
    pub(super) fn idle(&self) -> Option<Duration> {
        (self.in_flight.get() == 0).then(|| self.idle_since.get().elapsed())
    }

    /// Whether it was doubted since this was last asked. The driver is woken when it is.
    pub(super) fn take_doubt(&self, driver: &Waker) -> bool {
        let mut known = self.driver.borrow_mut();
        match &mut *known {
            Some(waker) => waker.clone_from(driver),
            none => *none = Some(driver.clone()),
        }
        self.doubted.take()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

/// A request's place on a connection, to the end of its answer.
#[derive(Debug)]
pub(super) struct Lease {
    session: Rc<Session>,
    first: bool,
}

impl Lease {
    /// For whom the connection was opened.
    pub(super) fn first(session: Rc<Session>) -> Self {
        Self::new(session, true)
    }

    /// For whom it was there already.
    pub(super) fn another(session: Rc<Session>) -> Self {
        Self::new(session, false)
    }

    fn new(session: Rc<Session>, first: bool) -> Self {
        session.in_flight.set(session.in_flight.get() + 1);
        Self { session, first }
    }

    /// Whether the connection was there before.
    pub(super) fn is_pooled(&self) -> bool {
        !self.first
    }

    /// Opens a stream with this head; `is_whole`: nothing follows.
    pub(super) fn begin(
        &self,
        request: Request<()>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.session.sender.clone().send_request(request, is_whole)
    }

    /// The other end refused a request: no more go on this connection.
    pub(super) fn is_refused(&self) {
        self.session.refused.set(true);
    }

    /// An answer did not come: the other end is asked for a sign of life.
    pub(super) fn doubt(&self) {
        self.session.doubted.set(true);
        if let Some(driver) = &*self.session.driver.borrow() {
            driver.wake_by_ref();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.in_flight.set(self.session.in_flight.get().saturating_sub(1));
        self.session.idle_since.set(Instant::now());
    }
}
