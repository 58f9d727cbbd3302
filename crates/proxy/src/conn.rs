//! One connection of a client: TLS, the choice of HTTP version, its end.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use model::Hostname;
use proxy_protocol::{Addresses, Version, write};
use rewrite::{Peer, Scheme};
use rustls::server::ClientHello;
use rustls::{ProtocolVersion, ServerConfig, SupportedCipherSuite};
use telemetry::Counter;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::matched::Matched;
use crate::pulse::Pulse;
use crate::stream::Stream;
use crate::transport::Metered;
use crate::upgrade::Tunnel;
use crate::worker::Worker;
use crate::{Settings, http1, http2};

/// What the requests of one connection share.
pub(crate) struct Conn {
    pub(crate) worker: Rc<Worker>,
    pub(crate) ends: Ends,
    pub(crate) peer: Peer,
    pub(crate) tls: Option<Tls>,
    pub(crate) pulse: Rc<Pulse>,
    pub(crate) last_match: RefCell<Option<Rc<Matched>>>,
    /// What follows once the answer `101` is out.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
}

/// The two ends of a connection, of the one that a proxy before us accepted if that tells them.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    /// The client's.
    pub(crate) remote: SocketAddr,
    /// Where it connected to.
    pub(crate) local: Option<SocketAddr>,
}

/// What a TLS handshake settled.
pub(crate) struct Tls {
    pub(crate) version: &'static str,
    pub(crate) cipher: &'static str,
    server_name: Option<Hostname>,
    certificate: Option<Arc<certs::Entry>>,
}

impl Conn {
    /// What tells an upstream whose the connection is; `None` when its own end is not known.
    pub(crate) fn tells(&self, version: Version) -> Option<Vec<u8>> {
        let Ends { remote: source, local } = self.ends;
        Some(write(version, &Addresses { source, destination: local? }))
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}

impl Tls {
    /// The name in the ClientHello.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_ref().map(Hostname::as_str)
    }

    /// Whether requests for a host may come on this connection: its certificate covers the host, or the client knows
    /// by the fallback certificate, or by having sent no name, that nothing was promised.
    pub(crate) fn may_serve(&self, host: &str) -> bool {
        match (&self.server_name, &self.certificate) {
            (Some(name), Some(certificate)) => name.as_str() == host || certificate.covers(host),
            _ => true,
        }
    }
}

/// Serves a connection without TLS to its end.
pub(crate) async fn serve_plain(worker: Rc<Worker>, stream: TcpStream, ends: Ends) {
    serve_http1(worker, Stream::Plain(stream), ends, None).await;
}

/// Serves a connection with TLS to its end.
pub(crate) async fn serve_tls(worker: Rc<Worker>, stream: TcpStream, ends: Ends) {
    let handshake = Box::pin(handshake(&worker, stream));
    let (result, done) = match handshake.await {
        Ok(Shaken::Client(stream, tls)) => ("ok", Some((stream, tls))),
        Ok(Shaken::Authority) => ("challenge", None),
        Err(reason) => (reason, None),
    };
    worker.meters.handshakes.with([result], Counter::inc);
    let Some((stream, tls)) = done else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_http2(worker, stream, ends, tls).await;
    } else {
        serve_http1(worker, Stream::Tls(Box::new(stream)), ends, Some(tls)).await;
    }
}

async fn serve_http1(worker: Rc<Worker>, stream: Stream, ends: Ends, tls: Option<Tls>) {
    let pulse = pulse(&worker, true);
    let io = Metered::new(stream, pulse.clone(), worker.time.clone());
    let conn = conn(worker, ends, tls, pulse);
    http1::serve(conn, io).await;
}

async fn serve_http2(worker: Rc<Worker>, stream: TlsStream<TcpStream>, ends: Ends, tls: Tls) {
    let pulse = pulse(&worker, false);
    let io = Metered::new(stream, pulse.clone(), worker.time.clone());
    let conn = conn(worker, ends, Some(tls), pulse);
    http2::serve(conn, io).await;
}

fn pulse(worker: &Worker, bytes_begin_a_head: bool) -> Rc<Pulse> {
    let Settings { timeouts, rates, .. } = &*worker.settings;
    Rc::new(Pulse::new(*timeouts, *rates, bytes_begin_a_head, worker.time.coarse()))
}

fn conn(worker: Rc<Worker>, ends: Ends, tls: Option<Tls>, pulse: Rc<Pulse>) -> Rc<Conn> {
    Rc::new(Conn {
        peer: Peer::new(ends.remote.ip(), &worker.settings.trusted_proxies),
        ends,
        tls,
        pulse,
        last_match: RefCell::default(),
        tunnel: RefCell::default(),
        worker,
    })
}

/// Whom a handshake was with.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and boxing would cost each connection"
)]
enum Shaken {
    /// Somebody who will send requests.
    Client(TlsStream<TcpStream>, Tls),
    /// An authority: it has seen what it wanted to see, and nothing follows.
    Authority,
}

/// Shakes hands, by the certificate for the name asked for. The error says what to count.
async fn handshake(worker: &Worker, stream: TcpStream) -> Result<Shaken, &'static str> {
    let patience = worker.settings.timeouts.header;
    let deadline = Instant::now() + patience;
    let hello = LazyConfigAcceptor::new(Default::default(), stream);
    let hello = timeout_at(deadline, hello).await.map_err(|_| "timeout")?.map_err(|_| "failed")?;
    // A name that is no host name can't be routed: such a client gets the fallback certificate.
    let name = hello.client_hello().server_name().and_then(|name| name.parse::<Hostname>().ok());
    if let Some(name) = &name
        && asks_for_proof(&hello.client_hello())
        && let Some(tls) =
            worker.tables.challenge_tls(name, worker.time.date(worker.time.coarse()).into())
    {
        prove(hello, tls, deadline).await?;
        return Ok(Shaken::Authority);
    }
    let parked = match &name {
        Some(name) if worker.tables.awaits_cert(name) => park(worker, name).await,
        _ => Duration::ZERO,
    };
    let certificate = name.as_ref().and_then(|name| worker.tables.certs().find(name.as_str()));
    let stream = timeout_at(deadline + parked, hello.into_stream(worker.tls.clone()))
        .await
        .map_err(|_| "timeout")?
        .map_err(|_| "failed")?;
    let session = stream.get_ref().1;
    let tls = Tls {
        version: version(session.protocol_version()),
        cipher: cipher(session.negotiated_cipher_suite()),
        server_name: name,
        certificate,
    };
    Ok(Shaken::Client(stream, tls))
}

/// Whether this is an authority with TLS-ALPN-01, which offers this one protocol (RFC 8737 §3).
fn asks_for_proof(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|offered| offered.eq([certs::ACME_TLS]))
}

/// Answers a TLS-ALPN-01 challenge: by the handshake alone, after which the connection is closed (RFC 8737 §3).
async fn prove(
    hello: StartHandshake<TcpStream>,
    tls: Arc<ServerConfig>,
    deadline: Instant,
) -> Result<(), &'static str> {
    let shaken = timeout_at(deadline, hello.into_stream(tls)).await;
    let mut stream = shaken.map_err(|_| "timeout")?.map_err(|_| "failed")?;
    // It may have hung up already.
    let _ = timeout_at(deadline, stream.shutdown()).await;
    Ok(())
}

/// Asks for a certificate and waits until it is there, for a bounded time and among a bounded number. Says how long
/// that took.
async fn park(worker: &Worker, name: &Hostname) -> Duration {
    let share = worker.settings.limits.parked / worker.settings.workers.max(1);
    if !worker.tables.wanted().ask(name.clone()) || worker.parked.get() >= share.max(1) {
        return Duration::ZERO;
    }
    let _parked = Parked::new(worker);
    let begun = Instant::now();
    let arrival = worker.tables.certs().wait_for(name.as_str());
    let came = timeout(worker.settings.timeouts.certificate, arrival).await.is_ok();
    worker.meters.handshakes.with([if came { "waited" } else { "unserved" }], Counter::inc);
    begun.elapsed()
}

/// Counts a waiting handshake, however it ends.
struct Parked<'a>(&'a Worker);

impl<'a> Parked<'a> {
    fn new(worker: &'a Worker) -> Self {
        worker.parked.set(worker.parked.get() + 1);
        worker.meters.parked.add(1);
        Self(worker)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.0.parked.set(self.0.parked.get().saturating_sub(1));
        self.0.meters.parked.add(-1);
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "",
    }
}

fn cipher(suite: Option<SupportedCipherSuite>) -> &'static str {
    suite.and_then(|suite| suite.suite().as_str()).unwrap_or_default()
}
