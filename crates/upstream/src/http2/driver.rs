use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

use super::{Http2, Session};
use crate::Endpoint;
use crate::stream::Stream;

/// How long the answer to a PING may take.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// How long to say goodbye when nobody uses the connection any more.
const PARTING: Duration = Duration::from_secs(5);
/// The least time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Drives one connection to its end, and watches over its idle time: half of it passed, the other end is asked for a sign
/// of life, once. Servers end connections that are asked more often than they answer requests (gRPC's after two).
pub(super) struct Driver {
    connection: Connection<Stream, Bytes>,
    ping: Option<PingPong>,
    session: Weak<Session>,
    http2: Weak<Http2>,
    endpoint: Endpoint,
    keep_alive: Duration,
    phase: Phase,
    /// When the phase is over.
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Watching,
    /// A sign of life is owed.
    Asked,
    /// There was one in this idle time.
    Answered,
    /// Nobody sends requests any more.
    Parting,
}

impl Driver {
    pub(super) fn new(
        http2: &Rc<Http2>,
        endpoint: &Endpoint,
        session: &Rc<Session>,
        mut connection: Connection<Stream, Bytes>,
    ) -> Self {
        let keep_alive = http2.keep_alive;
        Self {
            ping: connection.ping_pong(),
            connection,
            session: Rc::downgrade(session),
            http2: Rc::downgrade(http2),
            endpoint: endpoint.clone(),
            keep_alive,
            phase: Phase::Watching,
            timer: Box::pin(sleep((keep_alive / 2).max(LOOK_EVERY))),
        }
    }

    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        self.forget();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever waits for an answer hears of an error by itself.
        if Pin::new(&mut self.connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            match self.session.upgrade() {
                None if self.phase != Phase::Parting => self.enter(Phase::Parting, PARTING),
                None => {}
                Some(session) if session.take_doubt(cx.waker()) && self.phase != Phase::Asked => {
                    self.ask();
                }
                Some(_) => {}
            }
            if self.phase == Phase::Asked && self.is_answered(cx) {
                self.enter(Phase::Answered, self.keep_alive / 2);
            }
            ready!(self.timer.as_mut().poll(cx));
            match self.phase {
                Phase::Watching | Phase::Answered => self.look(),
                Phase::Asked | Phase::Parting => return Poll::Ready(()),
            }
        }
    }

    fn enter(&mut self, phase: Phase, lasting: Duration) {
        self.phase = phase;
        self.timer.as_mut().reset(Instant::now() + lasting.max(LOOK_EVERY));
    }

    /// Lets the connection go if it was idle for long, or asks whether it lives; and asks where its name leads by now.
    fn look(&mut self) {
        let half = self.keep_alive / 2;
        if let Some(http2) = self.http2.upgrade() {
            http2.resolver.keep_up(&self.endpoint, &http2.tasks);
        }
        let idle = self.session.upgrade().and_then(|session| session.idle());
        match idle {
            None => self.enter(Phase::Watching, half),
            // Dropped by all, it closes by itself.
            Some(idle) if idle >= self.keep_alive => {
                self.forget();
                self.enter(self.phase, half);
            }
            Some(idle) if idle < half => self.enter(Phase::Watching, half - idle),
            Some(_) if self.phase == Phase::Watching => self.ask(),
            Some(idle) => self.enter(Phase::Answered, self.keep_alive - idle),
        }
    }

    fn ask(&mut self) {
        // It is the only one in flight; else the connection is at its end and says so.
        let sent = self.ping.as_mut().is_some_and(|ping| ping.send_ping(Ping::opaque()).is_ok());
        let phase = if sent { Phase::Asked } else { Phase::Answered };
        self.enter(phase, PONG_WITHIN);
    }

    fn is_answered(&mut self, cx: &mut Context<'_>) -> bool {
        self.ping.as_mut().is_some_and(|ping| matches!(ping.poll_pong(cx), Poll::Ready(Ok(_))))
    }

    fn forget(&self) {
        if let (Some(http2), Some(session)) = (self.http2.upgrade(), self.session.upgrade()) {
            http2.forget(&self.endpoint, &session);
        }
    }
}
