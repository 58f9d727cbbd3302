//! One stream: its request to the service, its answer to the client.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use telemetry::Counter;

use super::SEND_BUFFER;
use crate::body::Reply;
use crate::conn::Conn;
use crate::gauge::Flow;
use crate::incoming::Incoming;
use crate::record::X_REQUEST_ID;
use crate::service;

/// A body of so many bytes is taken from the app before the client has room for it: it is there already.
const SMALL: u64 = 16 * 1024;

/// Where interim answers go.
pub(crate) type Respond = RefCell<SendResponse<Bytes>>;

/// Answers a request, to the end of its stream.
#[inline(always)] // the future is then built where it stays rather than copied there
pub(super) fn exchange(
    conn: Rc<Conn>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> impl Future<Output = ()> {
    let (head, body) = request.into_parts();
    let body = Incoming::http2(body, &head.headers);
    let respond = RefCell::new(respond);
    async move {
        let answered = {
            let mut answer = pin!(service::answer(conn.clone(), head, body, Some(&respond)));
            poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                // Dropping the answer drops the exchange with the upstream, and tells the log.
                Poll::Pending => respond.borrow_mut().poll_reset(cx).map(|_| None),
            })
            .await
        };
        if let Some(response) = answered {
            send(&conn, response, respond.into_inner()).await;
        }
    }
}

/// Sends an interim answer (RFC 9113 §8.1), if the stream is still open.
pub(crate) fn interim(respond: &Respond, status: StatusCode, mut headers: HeaderMap) {
    let mut respond = respond.borrow_mut();
    // The waker is replaced when the answer is waited for.
    let gone = respond.poll_reset(&mut Context::from_waker(Waker::noop())).is_ready();
    if gone || status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    rewrite::response(&mut headers);
    let mut response = Response::new(());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    if let Err(error) = respond.send_informational(response) {
        tracing::debug!(%error, "can't send an interim answer");
    }
}

async fn send(conn: &Rc<Conn>, response: Response<Reply>, mut respond: SendResponse<Bytes>) {
    let (mut parts, mut body) = response.into_parts();
    let is_over = body.is_end_stream();
    let length = if is_over { None } else { body.size_hint().exact() };
    complete(conn, &mut parts.headers, length, body.unnamed());
    let stream = match respond.send_response(Response::from_parts(parts, ()), is_over) {
        Ok(stream) => stream,
        Err(error) => {
            body.fails("the client went away");
            tracing::debug!(%error, remote = %conn.ends.remote, "can't send an answer");
            return respond.send_reset(Reason::INTERNAL_ERROR);
        }
    };
    drop(respond);
    if is_over {
        return;
    }
    let mut sender = Sender { conn, stream, flow: None };
    match sender.send(&mut body, length).await {
        Ok(()) => {}
        Err(Broken::Gone) => body.fails("the client went away"),
        Err(Broken::App) => {
            turn_of_codec().await;
            sender.stream.send_reset(Reason::INTERNAL_ERROR);
        }
        Err(Broken::TooSlow) => {
            body.fails("the client takes its answer too slowly");
            conn.worker.meters.lapses.with(["slow_reader"], Counter::inc);
            sender.stream.send_reset(Reason::CANCEL);
        }
    }
}

/// Ready after the codec had its turn. A reset takes back what the codec has not put out yet, and the client shall see
/// how far the answer came.
async fn turn_of_codec() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Adds what every answer says.
fn complete(conn: &Conn, headers: &mut HeaderMap, length: Option<u64>, id: Option<&str>) {
    name(headers, id);
    headers.entry(DATE).or_insert_with(|| conn.worker.time.http_date());
    if let Some(length) = length {
        headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}

/// Names the request, unless the app did. An id is not for the codec's table: there the next would be compared with each that
/// came before, and push out what comes again.
fn name(headers: &mut HeaderMap, id: Option<&str>) {
    let id = match id.map(HeaderValue::from_str) {
        Some(Ok(id)) => Some(headers.entry(X_REQUEST_ID).or_insert(id)),
        _ => headers.get_mut(X_REQUEST_ID),
    };
    if let Some(id) = id {
        id.set_sensitive(true);
    }
}

/// Why an answer is not sent to its end.
enum Broken {
    /// The client reset the stream, or is gone.
    Gone,
    /// The app broke off, which is noted already.
    App,
    TooSlow,
}

/// Sends a body as the client makes room for it.
struct Sender<'a> {
    conn: &'a Conn,
    stream: SendStream<Bytes>,
    /// There from the first wait on.
    flow: Option<Rc<Flow>>,
}

impl Sender<'_> {
    async fn send(&mut self, body: &mut Reply, length: Option<u64>) -> Result<(), Broken> {
        let small = length.is_some_and(|length| length <= SMALL);
        loop {
            if !small {
                self.room(1).await?;
            }
            let Some(frame) = self.next(body).await? else {
                return self.put(Bytes::new(), true);
            };
            let frame = match frame.into_data() {
                Ok(data) => {
                    let last = body.is_end_stream();
                    self.data(data, last).await?;
                    if last {
                        return Ok(());
                    }
                    continue;
                }
                Err(frame) => frame,
            };
            if let Ok(trailers) = frame.into_trailers() {
                self.stream.reserve_capacity(0);
                return self.stream.send_trailers(trailers).map_err(|_| Broken::Gone);
            }
        }
    }

    /// The next piece from the app. While it is waited for no room is kept: the connection's window belongs to all, and a
    /// client may open it only once it is used up.
    async fn next(&mut self, body: &mut Reply) -> Result<Option<Frame<Bytes>>, Broken> {
        let stream = &mut self.stream;
        poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Ready(Some(frame)) => Poll::Ready(frame.map(Some).map_err(|_| Broken::App)),
            Poll::Pending => {
                stream.reserve_capacity(0);
                stream.poll_reset(cx).map(|_| Err(Broken::Gone))
            }
        })
        .await
    }

    /// Sends a piece, as much at a time as there is room for.
    async fn data(&mut self, mut data: Bytes, last: bool) -> Result<(), Broken> {
        if data.is_empty() && last {
            return self.put(data, true);
        }
        while !data.is_empty() {
            let room = self.room(data.len().min(SEND_BUFFER)).await?;
            let piece = data.split_to(room.min(data.len()));
            self.put(piece, last && data.is_empty())?;
        }
        Ok(())
    }

    fn put(&mut self, piece: Bytes, last: bool) -> Result<(), Broken> {
        self.stream.send_data(piece, last).map_err(|_| Broken::Gone)
    }

    /// Waits until there is room for some of the bytes; for how many.
    async fn room(&mut self, wanted: usize) -> Result<usize, Broken> {
        self.stream.reserve_capacity(wanted);
        let room = self.stream.capacity();
        if room > 0 {
            if let Some(flow) = &self.flow {
                let cx = Context::from_waker(Waker::noop());
                let now = self.conn.worker.time.coarse();
                let _ = self.conn.pulse.downloads.poll(flow, Some(room.min(wanted)), now, &cx);
            }
            return Ok(room);
        }
        self.wait_for_room().await
    }

    async fn wait_for_room(&mut self) -> Result<usize, Broken> {
        let Self { conn, stream, flow } = self;
        let downloads = &conn.pulse.downloads;
        let flow = flow.get_or_insert_with(|| downloads.begins());
        poll_fn(|cx| {
            let moved = match stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => Some(room),
                Poll::Ready(_) => return Poll::Ready(Err(Broken::Gone)),
                Poll::Pending => None,
            };
            if downloads.poll(flow, moved, conn.worker.time.coarse(), cx).is_ready() {
                return Poll::Ready(Err(Broken::TooSlow));
            }
            moved.map_or(Poll::Pending, |room| Poll::Ready(Ok(room)))
        })
        .await
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        if let Some(flow) = &self.flow {
            self.conn.pulse.downloads.ends(flow, self.conn.worker.time.coarse());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each answer's id went into the table of fields, and was looked for by walking over all that were there: a twentieth of
    /// what an answer cost.
    #[test]
    fn ids_stay_out_of_the_table_of_fields() {
        for (own, id, expected) in [
            (None, Some("ours"), Some("ours")),
            (Some("the app's"), Some("ours"), Some("the app's")),
            (Some("the rules'"), None, Some("the rules'")),
            (None, None, None),
        ] {
            let own = own.map(|own| (X_REQUEST_ID, HeaderValue::from_static(own)));
            let mut headers: HeaderMap = own.into_iter().collect();
            name(&mut headers, id);
            let named = headers.get(X_REQUEST_ID);
            assert_eq!(named.map(HeaderValue::as_bytes), expected.map(str::as_bytes));
            assert!(named.is_none_or(HeaderValue::is_sensitive));
        }
    }
}
