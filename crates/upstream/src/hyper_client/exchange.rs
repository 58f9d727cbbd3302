use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::uri::Uri;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::answer_body::AnswerBody;
use super::request_body::{RequestBody, Watch};
use super::{Connection, HyperClient};
use crate::alarm::Alarm;
use crate::codec::Upload;
use crate::connect::Connector;
use crate::error::BoxError;
use crate::framing;
use crate::pool::Pool;
use crate::request_head::{BodyFraming, RequestHead};
use crate::{Answer, Endpoint, Error, Outgoing, Problem, SharedFields, UpBody, UpgradedIo};

/// Interim responses that may wait for the caller; more are dropped.
const INTERIM_QUEUE: usize = 32;

type Interim = (StatusCode, HeaderMap);

/// One exchange on a connection of `pool`, or a new one.
pub(crate) async fn send<B>(
    client: &Rc<HyperClient>,
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
    let (head, slot) = outgoing.split(endpoint);
    let repeatable = head.method.is_idempotent();
    let mut pooled = pool.take(!repeatable);
    let mut body = None;
    loop {
        let is_pooled = pooled.is_some();
        let mut connection = match pooled.take() {
            Some(connection) => connection,
            None => {
                let stream = connector.connect(endpoint).await?;
                client.open(endpoint, stream, pool.generation()).await?
            }
        };
        let (request_body, watch) = match body.take() {
            Some(again) => again,
            None => begin(slot, head.framing)?,
        };
        let waiting = Waiting { client, endpoint, watch: &watch };
        let request = request(&head, request_body);
        match waiting.send(&mut connection, request, &head, &mut on_interim).await {
            Ok((response, alarm)) => {
                *slot = None;
                return conclude(&head, response, pool, connection, alarm, watch).await;
            }
            Err(Lost::Untouched(request_body)) if is_pooled => {
                body = Some((request_body, watch));
            }
            Err(Lost::Untouched(_)) => return Err(closed(endpoint, false, None)),
            Err(Lost::Silent(_))
                if is_pooled && repeatable && head.framing == BodyFraming::None => {}
            Err(Lost::Silent(source)) => return Err(closed(endpoint, true, source)),
            Err(Lost::Failed(error)) => return Err(error),
        }
    }
}

type Begun = (RequestBody, Rc<Watch>);

/// Takes the body; one that is empty stays where it is, for another attempt.
fn begin<B>(slot: &mut Option<Upload<B>>, framing: BodyFraming) -> Result<Begun, Error>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let watch = Rc::new(Watch::default());
    let body = match (&slot, framing) {
        (None, _) => return Err(Error::already_sent()),
        (Some(_), BodyFraming::None) => None,
        (Some(_), _) => slot.take().map(Upload::into_body),
    };
    Ok((RequestBody::new(body, watch.clone()), watch))
}

fn request(head: &RequestHead<'_>, body: RequestBody) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from(head.target.clone());
    let headers = request.headers_mut();
    head.for_each_field(|name, value| {
        headers.append(name.clone(), value.clone());
    });
    if let Some((name, value)) = head.id
        && let Ok(value) = HeaderValue::from_bytes(value)
    {
        headers.append(name, value);
    }
    headers.extend(head.shared.into_iter().flat_map(SharedFields::fields).cloned());
    request
}

/// Why there is no response.
enum Lost {
    /// hyper gave the request back: nothing of it was written.
    Untouched(RequestBody),
    /// The connection ended before an answer.
    Silent(Option<io::Error>),
    Failed(Error),
}

/// One request in hyper's hands.
struct Waiting<'a> {
    client: &'a HyperClient,
    endpoint: &'a Endpoint,
    watch: &'a Rc<Watch>,
}

impl Waiting<'_> {
    async fn send(
        &self,
        connection: &mut Connection,
        mut request: Request<RequestBody>,
        head: &RequestHead<'_>,
        on_interim: &mut impl FnMut(StatusCode, HeaderMap),
    ) -> Result<(Response<Incoming>, Alarm), Lost> {
        let (interim, mut interims) = mpsc::channel::<Interim>(INTERIM_QUEUE);
        hyper::ext::on_informational(&mut request, move |response| {
            let _ = interim.try_send((response.status(), response.headers().clone()));
        });
        let mut held = head.expects_continue();
        if held {
            self.watch.hold();
        }
        let mut alarm = Alarm::new(self.client.idle_timeout);
        let mut patience = pin!(sleep(self.client.continue_timeout));
        let mut frames = 0;
        let mut sending = pin!(connection.0.try_send_request(request));
        let answer = poll_fn(|cx| {
            while let Poll::Ready(Some((status, headers))) = interims.poll_recv(cx) {
                alarm.rest();
                if status == StatusCode::CONTINUE {
                    held = false;
                    self.watch.release();
                }
                on_interim(status, headers);
            }
            if let Poll::Ready(answer) = sending.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            if held && patience.as_mut().poll(cx).is_ready() {
                held = false;
                self.watch.release();
            }
            if self.watch.waits_for_body() || self.watch.frames() != frames {
                frames = self.watch.frames();
                alarm.rest();
            }
            alarm.poll(cx).map(|()| None)
        })
        .await;
        match answer {
            None => Err(self.timed_out()),
            Some(Ok(response)) => {
                alarm.rest();
                Ok((response, alarm))
            }
            Some(Err(mut error)) => Err(match error.take_message() {
                Some(request) => Lost::Untouched(request.into_body()),
                None => self.lost(error.into_error()),
            }),
        }
    }

    fn timed_out(&self) -> Lost {
        Lost::Failed(Error::ResponseTimeout { endpoint: self.endpoint.clone() })
    }

    fn lost(&self, error: hyper::Error) -> Lost {
        if let Some(source) = self.watch.failure() {
            return Lost::Failed(Error::RequestBody { source });
        }
        let bad =
            |problem| Lost::Failed(Error::BadResponse { endpoint: self.endpoint.clone(), problem });
        if error.is_parse_too_large() {
            return bad(Problem::HeadTooLarge);
        }
        if error.is_parse() {
            return bad(Problem::Malformed);
        }
        if error.is_user() {
            return Lost::Failed(Error::RequestBody { source: error.into() });
        }
        Lost::Silent(io_source(&error))
    }
}

async fn conclude(
    head: &RequestHead<'_>,
    response: Response<Incoming>,
    pool: Rc<Pool<Connection>>,
    connection: Connection,
    alarm: Alarm,
    watch: Rc<Watch>,
) -> Result<Answer, Error> {
    let endpoint = pool.endpoint().clone();
    let bad = |problem| Error::BadResponse { endpoint: endpoint.clone(), problem };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if !head.asked_for(response.headers()) {
            return Err(bad(Problem::Upgrade));
        }
        let (mut parts, body) = response.into_parts();
        let on_upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        drop(body);
        let Some(on_upgrade) = on_upgrade else { return Err(bad(Problem::Upgrade)) };
        let upgraded = on_upgrade.await.map_err(|_| bad(Problem::Upgrade))?;
        parts.version = Version::HTTP_11;
        return Ok(Answer::Upgraded(Response::from_parts(parts, ()), UpgradedIo::from(upgraded)));
    }
    let (mut parts, incoming) = response.into_parts();
    framing::of_response(head.method, parts.status, parts.version, &mut parts.headers)
        .map_err(bad)?;
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts.version = Version::HTTP_11;
    let body = AnswerBody::new(incoming, pool, connection, alarm, watch);
    Ok(Answer::Response(Response::from_parts(parts, UpBody::from(body))))
}

/// What went wrong with a response's body.
pub(crate) fn body_error(endpoint: &Endpoint, error: &hyper::Error) -> Error {
    let endpoint = endpoint.clone();
    let source = io_source(error);
    match source.as_ref().map(io::Error::kind) {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            Error::BadResponse { endpoint, problem: Problem::Chunk }
        }
        _ => Error::Truncated { endpoint, source },
    }
}

fn closed(endpoint: &Endpoint, sent: bool, source: Option<io::Error>) -> Error {
    Error::ClosedBeforeAnswer { endpoint: endpoint.clone(), sent, source }
}

/// The I/O error behind hyper's, which can't be taken out: its kind and its text.
fn io_source(error: &hyper::Error) -> Option<io::Error> {
    let source = error.source()?.downcast_ref::<io::Error>()?;
    Some(io::Error::new(source.kind(), source.to_string()))
}
