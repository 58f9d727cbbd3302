//! HTTP/2 to upstreams, by the codec of the `h2` crate: many requests on one connection, each in its own task, and one
//! task that drives the connection. Why not hyper's client: `docs/decisions/http2-upstream.md`.
//!
//! A connection takes requests once the other end has sent its settings, and as many at a time as those allow, at most
//! [`MAX_STREAMS`]. What is asked beyond goes on a new one. One that is told to part (GOAWAY), refuses a request or ends
//! gets no more; those on it go on.

mod answer_body;
mod driver;
mod exchange;
mod place;
mod sending;
mod session;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use model::UpstreamHttp;
use runtime::Tasks;
use tokio::time::timeout;

pub(crate) use self::answer_body::AnswerBody;
use self::driver::Driver;
pub(crate) use self::exchange::send;
use self::place::{Failed, Place};
use self::session::{Lease, Session};
use crate::connect::{Connector, Resolver};
use crate::endpoint::ByOwnHash;
use crate::stream::Stream;
use crate::{Endpoint, Error, Settings};

/// Requests that one connection has at a time. As many windows as this fit into the connection's, so that answers nobody
/// reads never take the room of another.
const MAX_STREAMS: usize = 64;
/// How much of an answer is taken in before it is read, per stream and connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// How much of a request the codec takes while the connection takes nothing.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams given up that are remembered for a while, as something may still come for them.
const REMEMBERED_RESETS: usize = 256;

/// The connections of one worker that speak HTTP/2.
#[derive(Debug)]
pub(crate) struct Http2 {
    builder: Builder,
    tasks: Tasks,
    resolver: Rc<Resolver>,
    places: RefCell<HashMap<Endpoint, Rc<Place>, ByOwnHash>>,
    closed: Cell<bool>,
    connect_timeout: Duration,
    idle_timeout: Option<Duration>,
    continue_timeout: Duration,
    keep_alive: Duration,
    max_fields: usize,
}

impl Http2 {
    pub(crate) fn new(settings: &Settings, resolver: Rc<Resolver>, tasks: Tasks) -> Rc<Self> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(settings.max_head).unwrap_or(u32::MAX))
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            // Until the other end has said how many: that is how its settings are known to be there.
            .initial_max_send_streams(0);
        Rc::new(Self {
            builder,
            tasks,
            resolver,
            places: RefCell::default(),
            closed: Cell::new(false),
            connect_timeout: settings.connect_timeout,
            idle_timeout: settings.idle_timeout,
            continue_timeout: settings.continue_timeout,
            keep_alive: settings.keep_alive,
            max_fields: settings.max_headers,
        })
    }

    /// Lets go of every connection; one that is in use goes with its last request.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.places.borrow_mut().clear();
    }

    /// Room for one request. Those who want a new connection at the same time share one.
    async fn lease(
        self: &Rc<Self>,
        connector: &Connector,
        endpoint: &Endpoint,
    ) -> Result<Lease, Error> {
        let place = self.place(endpoint);
        if let Some(lease) = place.lease(self.keep_alive) {
            return Ok(lease);
        }
        let dial = place.dial();
        let mut own = None;
        let mine = &mut own;
        let told = dial
            .told(|| async {
                let opened = self.open(connector, &place).await;
                let told = opened.as_ref().map(|_| ()).map_err(Failed::by);
                *mine = Some(opened);
                told
            })
            .await;
        place.end_of(&dial);
        match own {
            Some(Ok(lease)) => return Ok(lease),
            Some(Err(error)) => {
                drop(place);
                self.tidy(endpoint);
                return Err(error);
            }
            None => told.map_err(|failed| failed.at(endpoint))?,
        }
        match place.lease(self.keep_alive) {
            Some(lease) => Ok(lease),
            // It takes fewer than were waiting.
            None => self.open(connector, &place).await,
        }
    }

    /// A new connection, with room for its first request.
    async fn open(
        self: &Rc<Self>,
        connector: &Connector,
        place: &Rc<Place>,
    ) -> Result<Lease, Error> {
        let endpoint = place.endpoint();
        let stream = Box::pin(connector.connect_to_speak(UpstreamHttp::Two, endpoint)).await?;
        let (sender, connection) = match timeout(self.connect_timeout, self.begin(stream)).await {
            Ok(Ok(begun)) => begun,
            Ok(Err(source)) => return Err(Error::Connect { endpoint: endpoint.clone(), source }),
            Err(_) => return Err(Error::ConnectTimeout { endpoint: endpoint.clone() }),
        };
        let session = Session::new(sender, place.generation());
        let driver = Driver::new(self, endpoint, &session, connection);
        self.tasks.spawn_local("HTTP/2 upstream connection", driver.run());
        if !self.closed.get() {
            place.add(session.clone());
        }
        Ok(Lease::first(session))
    }

    /// Speaks until the other end has sent its settings, and so has shown that it understands.
    async fn begin(
        &self,
        stream: Stream,
    ) -> io::Result<(SendRequest<Bytes>, Connection<Stream, Bytes>)> {
        if !stream.may_speak_http2() {
            return Err(io::Error::other("it does not offer HTTP/2 by ALPN"));
        }
        let strange = |error: h2::Error| {
            io::Error::other(format!("it does not speak HTTP/2 as it should: {error}"))
        };
        let (sender, mut connection) = self.builder.handshake(stream).await.map_err(strange)?;
        poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(strange(error))),
            Poll::Ready(Ok(())) => {
                let why = "it does not speak HTTP/2 as it should: it closed the connection";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)))
            }
            Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        Ok((sender, connection))
    }

    fn place(&self, endpoint: &Endpoint) -> Rc<Place> {
        if let Some(place) = self.places.borrow().get(endpoint) {
            return place.clone();
        }
        let place = Rc::new(Place::new(endpoint.clone(), self.resolver.named_of(endpoint)));
        // A connection that says whose it is serves one request: nobody else is to find it.
        if endpoint.preface().is_none() {
            self.places.borrow_mut().insert(endpoint.clone(), place.clone());
        }
        place
    }

    /// Takes a connection out: no more requests go on it.
    fn forget(&self, endpoint: &Endpoint, session: &Rc<Session>) {
        if let Some(place) = self.places.borrow().get(endpoint) {
            place.remove(session);
        }
        self.tidy(endpoint);
    }

    /// Endpoints come and go with the host table.
    fn tidy(&self, endpoint: &Endpoint) {
        let mut places = self.places.borrow_mut();
        let unused = |place: &Rc<Place>| Rc::strong_count(place) == 1 && place.is_empty();
        if places.get(endpoint).is_some_and(unused) {
            places.remove(endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use model::{Hostname, UpstreamTls};
    use tokio::net::TcpListener;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    /// An app that moved went on being asked at its old address for as long as a connection to it was in use.
    #[tokio::test]
    async fn a_connection_to_where_a_name_led_before_takes_no_more_requests() {
        LocalSet::new().run_until(check_a_move()).await;
    }

    async fn check_a_move() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = format!("app.test:{}", listener.local_addr().unwrap().port());
        let endpoint =
            Endpoint::speaking(UpstreamHttp::Two, app.parse().unwrap(), UpstreamTls::Off);
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn_local(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while connection.accept().await.is_some() {}
                });
            }
        });
        let settings = Settings { resolve_ttl: Duration::from_secs(600), ..Settings::default() };
        let resolver = Rc::new(Resolver::new(settings.resolve_ttl));
        let http2 = Http2::new(&settings, resolver.clone(), Tasks::new());
        let connector = Connector::new(settings, resolver.clone());
        let name: Hostname = "app.test".parse().unwrap();
        let leads_to = |last: &[u8]| {
            let addresses = last.iter().map(|last| IpAddr::from([127, 0, 0, *last]));
            resolver.remember(&name, &addresses.collect());
        };
        let is_pooled = async || http2.lease(&connector, &endpoint).await.unwrap().is_pooled();

        leads_to(&[1]);
        let in_use = http2.lease(&connector, &endpoint).await.unwrap();
        leads_to(&[1]);
        assert!(is_pooled().await, "it is still there");
        leads_to(&[1, 2]);
        assert!(!is_pooled().await);
        drop(in_use);
        assert!(is_pooled().await);
    }
}
