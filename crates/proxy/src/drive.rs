//! Runs an HTTP/1 connection beside its watch.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use telemetry::Counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::conn::Conn;
use crate::guard::Guarded;
use crate::incoming::Incoming;
use crate::pulse::Lapse;
use crate::refused;
use crate::service;
use crate::transport::Metered;
use crate::watch::{Notice, Watch};

/// How long to try to part in good order.
const PARTING: Duration = Duration::from_secs(1);
/// How long a client that still uploads may take to read its answer.
const LINGER: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\n\
    content-length: 56\r\nconnection: close\r\n\r\n\
    408 Request Timeout: the request's head came too slowly\n";

/// Serves HTTP/1 to the end of the connection, what it was upgraded to included.
pub(crate) async fn http1<S>(conn: Rc<Conn>, io: Guarded<Metered<S>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn({
        let conn = conn.clone();
        move |request: Request<hyper::body::Incoming>| {
            let (head, body) = request.into_parts();
            service::answer(conn.clone(), head, Incoming::Http1(body), None)
                .map(Ok::<_, Infallible>)
        }
    });
    let mut http = conn.worker.http1.serve_connection(TokioIo::new(io), service);
    let mut watch = Watch::new(&conn);
    let _untied = Untied(conn.clone());
    let mut unread = false;
    let end = poll_fn(|cx| {
        conn.pulse.is_driven_by(cx);
        loop {
            if let Poll::Ready(end) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(Ok(end));
            }
            if conn.pulse.take_abandoned() {
                // Nothing tells hyper that nobody reads this body any more, but that it looks.
                unread = true;
                continue;
            }
            match ready!(watch.poll(cx)) {
                // From now on each answer says that it is the last, and the watch ends what is idle.
                // HTTP/1 has no way to ask a client for a sign of life.
                Notice::Closing | Notice::Silent => {}
                Notice::Lapse(lapse) => return Poll::Ready(Err(lapse)),
            }
        }
    })
    .await;
    // The answer of a refused request is the guard's, and none of the service's.
    if let Some(guard) = conn.guard.as_ref().filter(|guard| guard.violation().is_some()) {
        conn.worker.meters.malformed.inc();
        if let Some((violation, begun)) = guard.take_refused() {
            refused::log(&conn, violation.status(), violation.why(), &begun, Duration::ZERO);
        }
    }
    match end {
        Ok(Ok(())) => {
            let tunnel = conn.tunnel.take();
            if let Some(tunnel) = tunnel {
                let parts = http.into_parts();
                tunnel.run(&conn, parts.io.into_inner(), parts.read_buf).await;
            } else if unread {
                linger(http.into_parts().io.into_inner()).await;
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, remote = %conn.ends.remote, "connection ended"),
        Err(lapse) => {
            count(&conn, lapse);
            let io = http.into_parts().io.into_inner();
            if lapse == Lapse::Head {
                let waited = conn.worker.settings.timeouts.header;
                let (status, why) = (StatusCode::REQUEST_TIMEOUT, "the head came too slowly");
                refused::log(&conn, status, why, &io.begun(), waited);
            }
            part(&conn, io, lapse).await;
        }
    }
}

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

/// Reads on for a moment after our side is closed: were a client's bytes left unread, the close would be a reset, which
/// may overtake the answer.
async fn linger(mut io: impl AsyncRead + Unpin) {
    let mut scratch = vec![0; 16 * 1024];
    let read_out = async { while matches!(io.read(&mut scratch).await, Ok(n) if n > 0) {} };
    let _ = timeout(LINGER, read_out).await;
}

/// Ends an HTTP/1 connection on which no answer is due.
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
