use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body;
use tokio::time::{Sleep, sleep};

use super::answer_body::{AnswerBody, RestOfUpload};
use super::head::{self, Head};
use super::upload::{Upload, UploadError};
use super::{Codec, Connection};
use crate::connect::Connector;
use crate::error::BoxError;
use crate::framing::{self, Ending, Framing};
use crate::pool::Pool;
use crate::request_head::{RequestHead, is_interim};
use crate::{Answer, Endpoint, Error, Outgoing, Problem, UpBody, UpgradedIo};

/// Interim responses borne before the final one.
const MAX_INTERIM: u8 = 32;

/// One exchange on a connection of `pool`, or a new one.
pub(crate) async fn send<B>(
    codec: &Rc<Codec>,
    connector: &Connector,
    pool: Rc<Pool<Connection>>,
    endpoint: &Endpoint,
    outgoing: &mut Outgoing<B>,
    mut on_interim: impl FnMut(StatusCode, HeaderMap),
) -> Result<Answer, Error>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (request, slot) = outgoing.split(endpoint);
    let repeatable = request.method.is_idempotent();
    let mut pooled = pool.take(!repeatable);
    loop {
        let is_pooled = pooled.is_some();
        let connection = match pooled.take() {
            Some(connection) => connection,
            // Boxed: rare, and larger than all the rest of this future. On failure the request is untouched.
            None => {
                let stream = Box::pin(connector.connect(endpoint)).await?;
                Connection::new(stream, codec.idle_timeout, pool.generation())
            }
        };
        let Some(upload) = slot.as_mut() else { return Err(Error::already_sent()) };
        upload.begin(&request, codec.spare.bytes());
        let mut attempt = Attempt::new(codec, connection, upload, &mut on_interim);
        match poll_fn(|cx| attempt.poll(cx)).await {
            Ok((head, rest)) => {
                let connection = attempt.connection;
                let upload = slot.take().filter(|upload| !upload.is_done()).map(rest_of);
                let answer =
                    Done { codec, pool, connection, upload, head, rest }.conclude(&request);
                codec.spare.keep_fields(mem::take(&mut outgoing.headers));
                return answer;
            }
            // The upstream may have closed the idle connection before this request reached it. Once more, if
            // that can't do anything twice; the next connection is a new one, so there is no third time.
            Err(Failure::Lost(_))
                if is_pooled
                    && upload.can_begin_again()
                    && (repeatable || upload.written() == 0) => {}
            Err(failure) => {
                let sent = upload.written() > 0;
                if !upload.can_begin_again() {
                    *slot = None;
                }
                return Err(failure.at(endpoint, sent));
            }
        }
    }
}

/// Why there is no final head.
enum Failure {
    /// The connection ended before a byte came.
    Lost(Option<io::Error>),
    /// The connection ended within the head, or after an interim one.
    Truncated(Option<io::Error>),
    Timeout,
    Bad(Problem),
    RequestBody(BoxError),
}

impl Failure {
    fn at(self, endpoint: &Endpoint, sent: bool) -> Error {
        let endpoint = endpoint.clone();
        match self {
            Self::Lost(source) => Error::ClosedBeforeAnswer { endpoint, sent, source },
            Self::Truncated(source) => Error::Truncated { endpoint, source },
            Self::Timeout => Error::ResponseTimeout { endpoint },
            Self::Bad(problem) => Error::BadResponse { endpoint, problem },
            Self::RequestBody(source) => Error::RequestBody { source },
        }
    }
}

/// Sending and waiting for the final head, both at once.
struct Attempt<'a, B, F> {
    codec: &'a Codec,
    connection: Connection,
    upload: &'a mut Upload<B>,
    on_interim: F,
    input: Bytes,
    heard: bool,
    interims: u8,
    /// Ends the wait for `100 Continue`.
    patience: Option<Pin<Box<Sleep>>>,
    /// The upstream takes no more; it may still have said why.
    deaf: Option<io::Error>,
}

impl<'a, B, F> Attempt<'a, B, F>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    F: FnMut(StatusCode, HeaderMap),
{
    fn new(
        codec: &'a Codec,
        mut connection: Connection,
        upload: &'a mut Upload<B>,
        on_interim: F,
    ) -> Self {
        connection.alarm.rest();
        let patience = upload.is_held().then(|| Box::pin(sleep(codec.continue_timeout)));
        Self {
            codec,
            connection,
            upload,
            on_interim,
            input: Bytes::new(),
            heard: false,
            interims: 0,
            patience,
            deaf: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Head, Bytes), Failure>> {
        self.poll_upload(cx)?;
        let was_held = self.upload.is_held();
        if let Poll::Ready(answer) = self.poll_head(cx) {
            return Poll::Ready(answer);
        }
        if was_held && !self.upload.is_held() {
            self.poll_upload(cx)?;
        }
        if self.deaf.is_none() && self.upload.waits_for_body() && !self.upload.is_held() {
            // It is the client that keeps everyone waiting.
            self.connection.alarm.rest();
            return Poll::Pending;
        }
        ready!(self.connection.alarm.poll(cx));
        Poll::Ready(Err(Failure::Timeout))
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.upload.is_done() || self.deaf.is_some() {
            return Ok(());
        }
        if self.patience.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            self.patience = None;
            self.upload.release();
        }
        let before = self.upload.written();
        let sent = self.upload.poll(&mut self.connection.stream, cx);
        if self.upload.is_done() {
            self.codec.spare.keep_bytes(self.upload.take_buffer());
        }
        if self.upload.written() != before {
            self.connection.alarm.rest();
        }
        match sent {
            Poll::Ready(Err(UploadError::Body(error))) => Err(Failure::RequestBody(error)),
            Poll::Ready(Err(UploadError::Write(error))) => {
                if self.connection.stream.is_tls() {
                    self.upload.doubt();
                }
                self.deaf = Some(error);
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Head, Bytes), Failure>> {
        loop {
            if !self.input.is_empty() {
                match head::take(self.codec, &mut self.input).map_err(Failure::Bad)? {
                    Some(head) if is_interim(head.status) => {
                        self.interim(head)?;
                        continue;
                    }
                    Some(head) => return Poll::Ready(Ok((head, mem::take(&mut self.input)))),
                    None => {}
                }
            }
            match ready!(self.codec.intake.poll_read(&mut self.connection.stream, cx)) {
                Ok(read) if !read.is_empty() => {
                    self.heard = true;
                    self.connection.alarm.rest();
                    self.input = joined(&self.input, read);
                }
                Ok(_) => return Poll::Ready(Err(self.ended(None))),
                Err(error) => return Poll::Ready(Err(self.ended(Some(error)))),
            }
        }
    }

    fn interim(&mut self, head: Head) -> Result<(), Failure> {
        self.interims += 1;
        if self.interims > MAX_INTERIM {
            return Err(Failure::Bad(Problem::HeadTooLarge));
        }
        if head.status == StatusCode::CONTINUE {
            self.patience = None;
            self.upload.release();
        }
        (self.on_interim)(head.status, head.headers);
        Ok(())
    }

    fn ended(&mut self, error: Option<io::Error>) -> Failure {
        let cause = self.deaf.take().or(error);
        if self.heard { Failure::Truncated(cause) } else { Failure::Lost(cause) }
    }
}

fn joined(front: &Bytes, back: Bytes) -> Bytes {
    if front.is_empty() {
        return back;
    }
    // A head in several pieces: rare.
    let mut both = BytesMut::with_capacity(front.len() + back.len());
    both.extend_from_slice(front);
    both.extend_from_slice(&back);
    both.freeze()
}

/// A final head, and all that is needed to make an answer of it.
struct Done<'a> {
    codec: &'a Rc<Codec>,
    pool: Rc<Pool<Connection>>,
    connection: Connection,
    /// None: all was sent.
    upload: Option<RestOfUpload>,
    head: Head,
    rest: Bytes,
}

impl Done<'_> {
    fn conclude(mut self, request: &RequestHead<'_>) -> Result<Answer, Error> {
        if self.head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(request);
        }
        let Head { status, version, headers, .. } = &mut self.head;
        let ending = framing::of_response(request.method, *status, *version, headers);
        let Ending { framing, keeps_alive } = ending.map_err(|problem| self.bad(problem))?;
        let reusable = keeps_alive && framing != Framing::Close;
        if matches!(framing, Framing::None | Framing::Chunked) {
            self.head.headers.remove(header::TRANSFER_ENCODING);
        }
        let mut response = response(&mut self.head);
        *response.body_mut() = self.body(framing, reusable);
        Ok(Answer::Response(response))
    }

    fn body(mut self, framing: Framing, reusable: bool) -> UpBody {
        let whole = match framing {
            Framing::None => Some(0),
            Framing::Length(length) if length <= self.rest.len() as u64 => {
                usize::try_from(length).ok()
            }
            _ => None,
        };
        let Some(whole) = whole else {
            return UpBody::from(AnswerBody::new(
                self.codec.clone(),
                self.pool,
                self.connection,
                framing,
                self.rest,
                self.upload,
                reusable,
            ));
        };
        let body = self.rest.split_to(whole);
        // Bytes beyond the response are nobody's: such a connection is not trusted again.
        if reusable && self.rest.is_empty() && self.upload.is_none() {
            self.pool.put(self.connection);
        }
        UpBody::from(body)
    }

    fn switch(mut self, request: &RequestHead<'_>) -> Result<Answer, Error> {
        if !request.asked_for(&self.head.headers) || self.upload.is_some() {
            return Err(self.bad(Problem::Upgrade));
        }
        let response = response(&mut self.head);
        let io = UpgradedIo::new(self.connection.stream, self.rest);
        Ok(Answer::Upgraded(response, io))
    }

    fn bad(&self, problem: Problem) -> Error {
        Error::BadResponse { endpoint: self.pool.endpoint().clone(), problem }
    }
}

fn response<T: Default>(head: &mut Head) -> Response<T> {
    let mut response = Response::new(T::default());
    *response.status_mut() = head.status;
    *response.headers_mut() = mem::take(&mut head.headers);
    if let Some(reason) = head.reason.take() {
        response.extensions_mut().insert(reason);
    }
    response
}

/// The answer came before the request was all sent. An application may answer as it reads, so the rest is sent
/// while the answer's body is read; without an error, as the answer stands for itself.
fn rest_of<B>(mut upload: Upload<B>) -> RestOfUpload
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    Box::new(move |stream, cx| upload.poll(stream, cx))
}
