use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Parts, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use model::UpstreamTls;
use tokio::time::{Sleep, sleep};

use super::answer_body::{AnswerBody, Rest, RestOfUpload};
use super::sending::Sending;
use super::{Http2, Lease};
use crate::alarm::Alarm;
use crate::codec::UploadError;
use crate::connect::Connector;
use crate::error::BoxError;
use crate::framing::{self, Framing};
use crate::request_head::RequestHead;
use crate::{Answer, Endpoint, Error, Outgoing, Problem, SharedFields, UpBody};

/// Interim responses borne before the final one.
const MAX_INTERIM: u8 = 32;

/// One exchange on a connection that is there, or a new one.
///
/// It is repeated once: when the other end says that it did nothing, which is safe for every method (RFC 9113 §8.7); or
/// when a connection that was there before ended without a word, if the method is idempotent. In both cases only if the
/// body is all there.
pub(crate) async fn send<B>(
    http2: &Rc<Http2>,
    connector: &Connector,
    endpoint: &Endpoint,
    outgoing: &mut Outgoing<B>,
    mut on_interim: impl FnMut(StatusCode, HeaderMap),
) -> Result<Answer, Error>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (head, slot) = outgoing.split(endpoint);
    let mut is_first = true;
    loop {
        let lease = http2.lease(connector, endpoint).await?;
        let Some(upload) = slot.take() else { return Err(Error::already_sent()) };
        let mut sending = Sending::new(upload, head.expects_continue());
        let lost = match lease.begin(request(&head), sending.is_done()) {
            Ok((response, stream)) => {
                let alarm = Alarm::new(http2.idle_timeout);
                let mut attempt = Attempt {
                    patience: sending.is_held().then(|| Box::pin(sleep(http2.continue_timeout))),
                    sending: &mut sending,
                    stream,
                    response,
                    alarm,
                    on_interim: &mut on_interim,
                    interims: 0,
                    is_deaf: false,
                };
                match poll_fn(|cx| attempt.poll(cx)).await {
                    Ok(response) => {
                        let Attempt { stream, alarm, .. } = attempt;
                        let upload = (!sending.is_done()).then(|| rest_of(sending, stream));
                        return Done { http2, endpoint, lease, upload, alarm }
                            .conclude(response, head.method);
                    }
                    Err(lost) => lost,
                }
            }
            Err(error) => Lost::by(error, false),
        };
        *slot = sending.into_upload();
        let may_repeat = is_first && slot.is_some();
        is_first = false;
        match lost {
            Lost::Refused(_) if may_repeat => lease.is_refused(),
            Lost::Broken(_) if may_repeat && lease.is_pooled() && head.method.is_idempotent() => {}
            lost => {
                if matches!(lost, Lost::Silent) {
                    lease.doubt();
                }
                return Err(lost.at(endpoint));
            }
        }
    }
}

/// The head as HTTP/2 has it (RFC 9113 §8.3.1): the host is the authority, and nothing belongs to the connection.
fn request(head: &RequestHead<'_>) -> Request<()> {
    let mut parts = Parts::default();
    parts.scheme = Some(match head.endpoint.tls() {
        UpstreamTls::Off => Scheme::HTTP,
        _ => Scheme::HTTPS,
    });
    parts.path_and_query = Some(target(head.target));
    let mut request = Request::new(());
    let headers = request.headers_mut();
    head.for_each_field(|name, value| match *name {
        HOST => parts.authority = authority(value),
        CONNECTION | TRANSFER_ENCODING | UPGRADE => {}
        TE if value != "trailers" => {}
        _ if is_of_older_connections(name) => {}
        _ => {
            headers.append(name.clone(), value.clone());
        }
    });
    if let Some((name, value)) = head.id
        && let Ok(mut value) = HeaderValue::from_bytes(value)
    {
        // Not for the codec's table, where the next would be compared with each that came before.
        value.set_sensitive(true);
        headers.append(name, value);
    }
    headers.extend(head.shared.into_iter().flat_map(SharedFields::fields).cloned());
    parts.authority = parts.authority.or_else(|| authority(head.endpoint.authority()));
    *request.method_mut() = head.method.clone();
    // Scheme and path are there, and so is the authority: an endpoint has one.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
    request
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    Authority::try_from(host.as_bytes()).ok()
}

/// `http://name?query` has no path; HTTP/2 needs one.
fn target(target: &PathAndQuery) -> PathAndQuery {
    if target.as_str().starts_with(['/', '*']) {
        return target.clone();
    }
    PathAndQuery::try_from(format!("/{target}")).unwrap_or_else(|_| target.clone())
}

fn is_of_older_connections(name: &HeaderName) -> bool {
    matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Why there is no final head.
enum Lost {
    /// The other end did nothing with the request.
    Refused(io::Error),
    /// The connection ended before an answer.
    Broken(io::Error),
    /// The other end gave the request up.
    Reset(io::Error),
    /// The answer broke off after an interim one.
    Truncated(io::Error),
    /// Nothing came in time.
    Silent,
    Bad(Problem),
    RequestBody(BoxError),
}

impl Lost {
    /// `is_heard`: something of an answer came.
    fn by(error: h2::Error, is_heard: bool) -> Self {
        if error.is_library() {
            return Self::Bad(Problem::Malformed);
        }
        let is_refusal = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // RFC 9113 §6.8: a stream beyond the last one that GOAWAY names was not processed; the codec ends no other by it.
        let is_undone = error.is_remote() && (is_refusal || error.is_go_away());
        let (is_io, is_reset) = (error.is_io(), error.is_reset());
        let source = io::Error::other(error);
        match () {
            () if is_heard => Self::Truncated(source),
            () if is_undone => Self::Refused(source),
            () if is_io => Self::Broken(source),
            () if is_reset => Self::Reset(source),
            () => Self::RequestBody(source.into()),
        }
    }

    fn at(self, endpoint: &Endpoint) -> Error {
        let endpoint = endpoint.clone();
        match self {
            Self::Refused(source) => {
                Error::ClosedBeforeAnswer { endpoint, sent: false, source: Some(source) }
            }
            Self::Broken(source) | Self::Reset(source) => {
                Error::ClosedBeforeAnswer { endpoint, sent: true, source: Some(source) }
            }
            Self::Truncated(source) => Error::Truncated { endpoint, source: Some(source) },
            Self::Silent => Error::ResponseTimeout { endpoint },
            Self::Bad(problem) => Error::BadResponse { endpoint, problem },
            Self::RequestBody(source) => Error::RequestBody { source },
        }
    }
}

/// Sending and waiting for the final head, both at once.
struct Attempt<'a, B, F> {
    sending: &'a mut Sending<B>,
    stream: SendStream<Bytes>,
    response: ResponseFuture,
    alarm: Alarm,
    on_interim: F,
    interims: u8,
    /// Ends the wait for `100 Continue`.
    patience: Option<Pin<Box<Sleep>>>,
    /// The other end takes no more; it may still have said why.
    is_deaf: bool,
}

impl<B, F> Attempt<'_, B, F>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    F: FnMut(StatusCode, HeaderMap),
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, Lost>> {
        self.poll_upload(cx)?;
        let was_held = self.sending.is_held();
        self.poll_interims(cx)?;
        if let Poll::Ready(answer) = Pin::new(&mut self.response).poll(cx) {
            self.alarm.rest();
            return Poll::Ready(answer.map_err(|error| Lost::by(error, self.interims > 0)));
        }
        if was_held && !self.sending.is_held() {
            self.poll_upload(cx)?;
        }
        if !self.is_deaf && self.sending.waits_for_body() {
            // It is the client that keeps everyone waiting.
            self.alarm.rest();
            return Poll::Pending;
        }
        ready!(self.alarm.poll(cx));
        Poll::Ready(Err(Lost::Silent))
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        if self.sending.is_done() || self.is_deaf {
            return Ok(());
        }
        if self.patience.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            self.patience = None;
            self.sending.release();
        }
        let before = self.sending.moved();
        let sent = self.sending.poll(&mut self.stream, cx);
        if self.sending.moved() != before {
            self.alarm.rest();
        }
        match sent {
            Poll::Ready(Err(UploadError::Body(error))) => {
                self.stream.send_reset(Reason::CANCEL);
                return Err(Lost::RequestBody(error));
            }
            Poll::Ready(Err(UploadError::Write(_))) => self.is_deaf = true,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        Ok(())
    }

    fn poll_interims(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        while let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            let interim = interim.map_err(|error| Lost::by(error, self.interims > 0))?;
            let (parts, ()) = interim.into_parts();
            self.interims += 1;
            if self.interims > MAX_INTERIM {
                return Err(Lost::Bad(Problem::HeadTooLarge));
            }
            // RFC 9113 §8.6: HTTP/2 has none.
            if parts.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Lost::Bad(Problem::Upgrade));
            }
            if parts.status == StatusCode::CONTINUE {
                self.patience = None;
                self.sending.release();
            }
            self.alarm.rest();
            (self.on_interim)(parts.status, parts.headers);
        }
        Ok(())
    }
}

/// A final head is there: all that is needed to make an answer of it.
struct Done<'a> {
    http2: &'a Http2,
    endpoint: &'a Endpoint,
    lease: Lease,
    /// None: all was sent.
    upload: Option<RestOfUpload>,
    alarm: Alarm,
}

impl Done<'_> {
    fn conclude(self, response: Response<RecvStream>, method: &Method) -> Result<Answer, Error> {
        let bad = |problem| Error::BadResponse { endpoint: self.endpoint.clone(), problem };
        let (mut parts, stream) = response.into_parts();
        if parts.headers.len() > self.http2.max_fields {
            return Err(bad(Problem::HeadTooLarge));
        }
        let ending =
            framing::of_response(method, parts.status, Version::HTTP_11, &mut parts.headers)
                .map_err(bad)?;
        parts.version = Version::HTTP_11;
        let has_none = *method == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = if has_none || stream.is_end_stream() {
            UpBody::default()
        } else {
            let left = match ending.framing {
                Framing::Length(length) => Some(length),
                Framing::None => Some(0),
                _ => None,
            };
            let endpoint = self.endpoint.clone();
            let Self { upload, lease, alarm, .. } = self;
            UpBody::from(AnswerBody::new(endpoint, stream, left, upload, lease, alarm))
        };
        Ok(Answer::Response(Response::from_parts(parts, body)))
    }
}

/// The answer came before the request was all sent: the rest goes on while the answer is read, as with gRPC's streams.
fn rest_of<B>(mut sending: Sending<B>, mut stream: SendStream<Bytes>) -> RestOfUpload
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    Box::new(move |cx| match sending.poll(&mut stream, cx) {
        Poll::Ready(Err(UploadError::Body(error))) => {
            stream.send_reset(Reason::CANCEL);
            Rest::Over(Err(UploadError::Body(error)))
        }
        Poll::Ready(sent) => Rest::Over(sent),
        Poll::Pending if sending.waits_for_body() => Rest::WaitsForClient,
        Poll::Pending => Rest::WaitsForRoom,
    })
}
