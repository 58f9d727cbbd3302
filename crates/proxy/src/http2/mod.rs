//! HTTP/2 to clients: one task per connection, which runs the codec of the `h2` crate and all its streams.
//!
//! A round of it: the streams that were woken are polled, their answers go into the codec; if there is something for the
//! codec, it is polled, brings new requests, and what it put out is sent at once. Why not hyper's server, and what is
//! gained: `docs/decisions/http2-server.md`.

mod send;
mod streams;
mod turns;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Settings;
use crate::conn::Conn;
use crate::gather::{Gather, Gathered};
use crate::http1::{MAX_HEAD, count};
use crate::pulse::Lapse;
use crate::transport::Metered;
use crate::watch::{Notice, Watch};
pub(crate) use send::{Respond, interim};
use streams::Streams;
use turns::{CODEC, Turns};

/// How much of a request body a client may send before it is asked for more, per stream and connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of an answer the codec takes while the transport takes nothing.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client may open and reset before they were seen.
const PENDING_RESETS: usize = 20;
/// Streams that may be reset for the client's mistakes.
const ERROR_RESETS: usize = 1024;
/// How many rounds before others on this thread have their turn.
const ROUNDS: usize = 8;

/// The codec's settings. Budgets for small DATA frames and the like are its own; extended CONNECT is not offered.
pub(crate) fn builder(settings: &Settings) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_streams(settings.limits.streams)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS));
    builder
}

/// Serves HTTP/2 to the end of the connection.
pub(crate) async fn serve<S>(conn: Rc<Conn>, io: Metered<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begin = |request, respond| send::exchange(conn.clone(), request, respond);
    let mut session = Session::new(&conn, io, begin);
    poll_fn(|cx| session.poll(cx)).await;
}

/// A connection at work. `B` makes a stream of a request.
struct Session<'a, S, B, F> {
    conn: &'a Rc<Conn>,
    codec: Codec<S>,
    gather: Rc<RefCell<Gather<Metered<S>>>>,
    begin: B,
    streams: Streams<F>,
    turns: Arc<Turns>,
    waker: Waker,
    watch: Watch,
    parting: bool,
}

type Transport<S> = Gathered<Metered<S>>;

enum Codec<S> {
    Handshake(Box<Handshake<Transport<S>, Bytes>>),
    Open(Box<Connection<Transport<S>, Bytes>>, Option<PingPong>),
}

impl<'a, S, B, F> Session<'a, S, B, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Fn(Request<RecvStream>, SendResponse<Bytes>) -> F,
    F: Future<Output = ()>,
{
    fn new(conn: &'a Rc<Conn>, io: Metered<S>, begin: B) -> Self {
        let gather = Gather::new(io);
        let handshake = conn.worker.http2.handshake(Gathered(gather.clone()));
        let turns = Arc::new(Turns::default());
        turns.wake(CODEC);
        Self {
            conn,
            codec: Codec::Handshake(Box::new(handshake)),
            gather,
            begin,
            streams: Streams::new(turns.clone()),
            waker: turns::waker(&turns, CODEC),
            turns,
            watch: Watch::new(conn),
            parting: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.turns.begin(cx);
        loop {
            if self.run().is_ready() {
                return Poll::Ready(());
            }
            let Poll::Ready(notice) = self.watch.poll(cx) else {
                self.turns.end();
                return Poll::Pending;
            };
            if self.heed(&notice).is_ready() {
                return Poll::Ready(());
            }
            // What it heeded is the codec's to say.
            self.turns.wake(CODEC);
        }
    }

    fn run(&mut self) -> Poll<()> {
        for _ in 0..ROUNDS {
            let codec = self.streams.poll_woken();
            if codec && self.poll_codec().is_ready() {
                return Poll::Ready(());
            }
            if self.turns.is_empty() {
                break;
            }
        }
        if !self.conn.pulse.is_busy() && (self.streams.holds() || self.gather.borrow().holds()) {
            self.watch.rest_later();
        }
        Poll::Pending
    }

    /// Ready at the end of the connection.
    fn poll_codec(&mut self) -> Poll<()> {
        let waker = self.waker.clone();
        let mut cx = Context::from_waker(&waker);
        let end = self.poll_requests(&mut cx);
        if let Poll::Ready(Err(error)) = self.gather.borrow_mut().drain(&mut cx) {
            tracing::debug!(%error, remote = %self.conn.ends.remote, "connection broke");
            return Poll::Ready(());
        }
        if let Err(error) = ready!(end) {
            tracing::debug!(%error, remote = %self.conn.ends.remote, "connection ended");
        }
        Poll::Ready(())
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if let Codec::Handshake(handshake) = &mut self.codec {
            let mut open = ready!(Pin::new(&mut **handshake).poll(cx))?;
            if self.parting {
                open.graceful_shutdown();
            }
            let ping = open.ping_pong();
            self.codec = Codec::Open(Box::new(open), ping);
        }
        let Codec::Open(connection, _) = &mut self.codec else { return Poll::Pending };
        while let Some(request) = ready!(connection.poll_accept(cx)) {
            let (request, respond) = request?;
            self.streams.start(|| (self.begin)(request, respond));
        }
        Poll::Ready(Ok(()))
    }

    /// Does what the watch wants; ready if that is the end.
    fn heed(&mut self, notice: &Notice) -> Poll<()> {
        match notice {
            Notice::Closing => {}
            Notice::Silent => {
                self.ask();
                return Poll::Pending;
            }
            Notice::Resting => {
                self.gather.borrow_mut().rest();
                self.streams.rest();
                return Poll::Pending;
            }
            Notice::Lapse(Lapse::Idle) if !self.parting => {
                count(self.conn, Lapse::Idle);
                self.watch.wait_for_goodbye();
            }
            // It ends when the last stream is over. Until then the codec may hold what the transport has no room for yet,
            // of answers that are over for everybody else.
            Notice::Lapse(Lapse::Idle) if self.conn.pulse.take_moved() => {
                self.watch.wait_for_goodbye();
            }
            Notice::Lapse(lapse) => {
                count(self.conn, *lapse);
                return Poll::Ready(());
            }
        }
        self.parting = true;
        if let Codec::Open(connection, _) = &mut self.codec {
            connection.graceful_shutdown();
        }
        Poll::Pending
    }

    /// Asks the client for a sign of life. Any byte is one.
    fn ask(&mut self) {
        let Codec::Open(_, Some(ping)) = &mut self.codec else { return };
        // The answer to the last question, if nobody has taken it note of yet, stands in the way of the next.
        let _ = ping.poll_pong(&mut Context::from_waker(Waker::noop()));
        if let Err(error) = ping.send_ping(Ping::opaque()) {
            tracing::debug!(%error, remote = %self.conn.ends.remote, "can't ask for a sign of life");
        }
    }
}
