//! HTTP/1 to clients: one task per connection, in which a request is read, answered, and followed by the next.
//!
//! A parser that is kinder than another one down the line is how requests are smuggled. This one follows the stream
//! strictly by RFC 9112: head, body by its length or chunks, next head. What is not well-formed never reaches the service,
//! and nothing behind it is read. Why not hyper's server, and what is gained: `docs/decisions/http1-server.md`.
//!
//! * `head`, `fields`, `chunked` and `requests` are the grammar: bytes in, verdicts out. `violation` is what can be wrong.
//! * `link` reads, `request` makes requests of heads, `answer` writes heads, `send` sends answers.
//!
//! `CONNECT` is refused: this is not a forward proxy.

mod answer;
mod begun;
mod chunked;
#[cfg(test)]
mod feed;
mod fields;
mod head;
mod link;
mod request;
mod requests;
mod send;
#[cfg(test)]
mod tests;
mod violation;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};
use telemetry::Counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::body::Reply;
use crate::conn::Conn;
use crate::incoming::Incoming;
use crate::pulse::Lapse;
use crate::stream::Stream;
use crate::transport::Metered;
use crate::watch::{Notice, Watch};
use crate::{refused, service};

pub(crate) use begun::Begun;
pub(crate) use head::MAX_HEAD;
pub(crate) use link::RequestBody;
use link::{Link, Next};
use request::Wants;
use send::{send, send_bytes};
use violation::Violation;

/// How long to try to part in good order.
const PARTING: Duration = Duration::from_secs(1);
/// How long a client that still sends is read out, and how far if it sent what is no request.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\n\
    content-length: 56\r\nconnection: close\r\n\r\n\
    408 Request Timeout: the request's head came too slowly\n";

/// How a connection ended.
enum End {
    /// The client sends nothing more.
    Done,
    /// The last answer said so.
    Last,
    /// Something came that is no request.
    Refused(Violation),
    /// What follows is no longer HTTP.
    Switched,
}

/// Serves HTTP/1 to the end of the connection, what it was upgraded to included.
pub(crate) async fn serve(conn: Rc<Conn>, io: Metered<Stream>) {
    let link = Rc::new(RefCell::new(Link::new(io, conn.pulse.clone())));
    let _untied = Untied(conn.clone());
    let end = watched(&conn, &link).await;
    // Whoever shared it is gone with the last request.
    let Some(link) = Rc::into_inner(link).map(RefCell::into_inner) else { return };
    if link.violation().is_some() {
        conn.worker.meters.malformed.inc();
    }
    match end {
        Ok(Ok(End::Switched)) => {
            if let Some(tunnel) = conn.tunnel.take() {
                let (io, early) = link.into_parts();
                tunnel.run(&conn, io, early).await;
            }
        }
        Ok(Ok(End::Done)) => close(link.into_parts().0, 0).await,
        Ok(Ok(End::Last)) => {
            let unread = if link.is_read_out() { 0 } else { usize::MAX };
            close(link.into_parts().0, unread).await;
        }
        Ok(Ok(End::Refused(violation))) => {
            conn.worker.meters.malformed.inc();
            let (status, why) = (violation.status(), violation.why());
            refused::log(&conn, status, why, &link.begun(), Duration::ZERO);
            close(link.into_parts().0, LINGER_BYTES).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, remote = %conn.ends.remote, "connection ended"),
        Err(lapse) => {
            count(&conn, lapse);
            if lapse == Lapse::Head {
                let waited = conn.worker.settings.timeouts.header;
                let (status, why) = (StatusCode::REQUEST_TIMEOUT, "the head came too slowly");
                refused::log(&conn, status, why, &link.begun(), waited);
            }
            part(&conn, link.into_parts().0, lapse).await;
        }
    }
}

/// Runs the connection beside its watch.
async fn watched(conn: &Rc<Conn>, link: &Rc<RefCell<Link>>) -> Result<io::Result<End>, Lapse> {
    let mut watch = Watch::new(conn);
    let mut requests = pin!(serve_requests(conn, link));
    poll_fn(|cx| {
        if let Poll::Ready(end) = requests.as_mut().poll(cx) {
            return Poll::Ready(Ok(end));
        }
        loop {
            match ready!(watch.poll(cx)) {
                // From now on each answer says that it is the last, and the watch ends what is idle.
                // HTTP/1 has no way to ask a client for a sign of life.
                Notice::Closing | Notice::Silent | Notice::Resting => {}
                Notice::Lapse(lapse) => return Poll::Ready(Err(lapse)),
            }
        }
    })
    .await
}

/// One request after the other.
async fn serve_requests(conn: &Rc<Conn>, link: &Rc<RefCell<Link>>) -> io::Result<End> {
    loop {
        let next = poll_fn(|cx| link.borrow_mut().poll_head(cx, &conn.worker.scratch)).await?;
        let read = match next {
            Next::Head(head) => {
                let fields = conn.worker.spare.fields();
                request::request(&head, link.borrow_mut().requests().current(), fields)
            }
            Next::Bad(violation) => Err(violation),
            Next::End => return Ok(End::Done),
        };
        let (head, wants) = match read {
            Ok(read) => read,
            Err(violation) => {
                send_bytes(link, violation.answer()).await?;
                return Ok(End::Refused(violation));
            }
        };
        if let Some(end) = serve_request(conn, link, head, wants).await? {
            return Ok(end);
        }
        link.borrow_mut().requests().next();
    }
}

/// Answers one request; tells what ends the connection, if its answer does.
async fn serve_request(
    conn: &Rc<Conn>,
    link: &Rc<RefCell<Link>>,
    head: Parts,
    wants: Wants,
) -> io::Result<Option<End>> {
    let body = {
        let mut reading = link.borrow_mut();
        let asked = wants.http_1_1 && reading.requests().current().expects_continue;
        reading.begin_body(asked);
        match reading.requests().is_read_out() {
            true => Incoming::Empty,
            false => Incoming::Http1(RequestBody::new(link)),
        }
    };
    let response = answer(conn, link, head, body).await?;
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    // A body that nobody reads is put away if it is here; else where it ends is never known.
    let given_up = Rc::strong_count(link) == SHARED_BY_DRIVER && !link.borrow_mut().skip_body();
    let last = send(conn, link, response, wants, !wants.keep_alive || given_up).await?;
    Ok(match (switched, last || !link.borrow_mut().skip_body()) {
        (true, _) => Some(End::Switched),
        (false, true) => Some(End::Last),
        (false, false) => None,
    })
}

/// The answer to a request. Interim answers go out while it is made.
async fn answer(
    conn: &Rc<Conn>,
    link: &RefCell<Link>,
    head: Parts,
    body: Incoming,
) -> io::Result<Response<Reply>> {
    let mut answering = pin!(service::answer(conn.clone(), head, body, None));
    poll_fn(|cx| {
        if let Poll::Ready(response) = answering.as_mut().poll(cx) {
            return Poll::Ready(Ok(response));
        }
        if !conn.pulse.interim.is_empty() {
            let _ = Pin::new(&mut link.borrow_mut().io).poll_flush(cx)?;
        }
        Poll::Pending
    })
    .await
}

/// Whoever drives a connection, and nobody else.
const SHARED_BY_DRIVER: usize = 1;

/// Takes out a tunnel that came to nothing: it holds the connection that holds it, and its record waits to be written.
struct Untied(Rc<Conn>);

impl Drop for Untied {
    fn drop(&mut self) {
        drop(self.0.tunnel.take());
    }
}

/// Counts a connection that is ended before its time.
pub(crate) fn count(conn: &Conn, lapse: Lapse) {
    let reason = match lapse {
        Lapse::Idle => "idle",
        Lapse::Head => "slow_head",
        Lapse::SlowReader => "slow_reader",
        Lapse::Silent => "silent",
    };
    conn.worker.meters.lapses.with([reason], Counter::inc);
}

/// Ends our side. Up to `unread` bytes that the client may have sent are read out for a moment: were they left, the close
/// would be a reset, which may overtake the answer.
async fn close(mut io: impl AsyncRead + AsyncWrite + Unpin, unread: usize) {
    let closed = timeout(PARTING, io.shutdown()).await;
    if unread == 0 || !matches!(closed, Ok(Ok(()))) {
        return;
    }
    let mut scratch = vec![0; 16 * 1024];
    let mut left = unread;
    let read_out = async {
        while let Ok(n @ 1..) = io.read(&mut scratch).await {
            left = left.saturating_sub(n);
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(LINGER, read_out).await;
}

/// Ends a connection on which no answer is due.
async fn part(conn: &Conn, mut io: impl AsyncWrite + Unpin, lapse: Lapse) {
    if lapse == Lapse::SlowReader || conn.pulse.is_blocked() {
        return;
    }
    let goodbye = async {
        if lapse == Lapse::Head {
            io.write_all(REQUEST_TIMEOUT).await?;
        }
        io.shutdown().await
    };
    let _: Result<io::Result<()>, _> = timeout(PARTING, goodbye).await;
}
