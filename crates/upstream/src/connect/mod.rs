//! From an endpoint to an open connection.

mod danger_accept_any;
mod resolve;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use model::{Hostname, OutOfReach, Reach, UpstreamHost, UpstreamHttp, UpstreamTls};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) use self::resolve::{Named, Resolver};
use self::tls::ClientTls;
use crate::stream::Stream;
use crate::{Endpoint, Error, Settings};

/// When to ask a silent app's kernel whether it is still there, and how often before it is given up.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Opens connections; one per worker.
#[derive(Debug)]
pub(crate) struct Connector {
    limit: Duration,
    resolver: Rc<Resolver>,
    tls: ClientTls,
    reach: Reach,
}

impl Connector {
    pub(crate) fn new(settings: Settings, resolver: Rc<Resolver>) -> Self {
        Self {
            limit: settings.connect_timeout,
            resolver,
            tls: ClientTls::new(settings.extra_roots),
            reach: settings.reach,
        }
    }

    /// Resolves, connects and shakes hands, all within the connect timeout. HTTP/1.1 is to be spoken.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<Stream, Error> {
        self.connect_to_speak(UpstreamHttp::One, endpoint).await
    }

    /// As [`connect`](Self::connect), for this version of HTTP: TLS offers no other.
    pub(crate) async fn connect_to_speak(
        &self,
        http: UpstreamHttp,
        endpoint: &Endpoint,
    ) -> Result<Stream, Error> {
        match timeout(self.limit, self.dial(http, endpoint)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(failed(endpoint.clone(), source)),
            Err(_) => Err(Error::ConnectTimeout { endpoint: endpoint.clone() }),
        }
    }

    async fn dial(&self, http: UpstreamHttp, endpoint: &Endpoint) -> io::Result<Stream> {
        let port = endpoint.upstream().port();
        let mut tcp = match endpoint.upstream().host() {
            UpstreamHost::Ip(ip) => self.dial_address(SocketAddr::new(*ip, port)).await?,
            UpstreamHost::Name(name) => self.dial_name(name, port).await?,
        };
        tcp.set_nodelay(true)?;
        // An app that vanished without a word must not hold a tunnel or a pool's place for ever.
        SockRef::from(&tcp).set_tcp_keepalive(&KEEPALIVE)?;
        if let Some(preface) = endpoint.preface() {
            tcp.write_all(preface).await?;
        }
        match endpoint.tls() {
            UpstreamTls::Off => Ok(Stream::Plain(tcp)),
            mode => {
                let tls = self.tls.handshake(endpoint, mode, http, tcp).await?;
                Ok(Stream::Tls(Box::new(tls)))
            }
        }
    }

    /// Looks at the address that is connected to, and not at the name: what that stands for may have changed since anybody
    /// looked.
    async fn dial_address(&self, address: SocketAddr) -> io::Result<TcpStream> {
        match self.reach.refuses(address, is_ours) {
            Some(why) => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, Refused(address, why)))
            }
            None => TcpStream::connect(address).await,
        }
    }

    /// Tries one address after the other; each has its share of the time, so that a dead one leaves some to the
    /// rest.
    async fn dial_name(&self, name: &Hostname, port: u16) -> io::Result<TcpStream> {
        let addresses = self.resolver.resolve(name).await?;
        let share = self.limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for ip in addresses.iter() {
            match timeout(share, self.dial_address(SocketAddr::new(*ip, port))).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

/// An address that is out of reach, on its way out of the attempts.
#[derive(Debug, thiserror::Error)]
#[error("{0} {1}")]
struct Refused(SocketAddr, OutOfReach);

fn failed(endpoint: Endpoint, source: io::Error) -> Error {
    match source.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Refused(address, why)) => Error::OutOfReach { endpoint, address: *address, why: *why },
        None => Error::Connect { endpoint, source },
    }
}

/// Whether this machine has an address: nobody else's can be bound.
fn is_ours(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(settings: Settings) -> Connector {
        let resolver = Rc::new(Resolver::new(settings.resolve_ttl));
        Connector::new(settings, resolver)
    }

    /// A tunnel to an app whose machine had lost its power stayed for ever.
    #[tokio::test]
    async fn a_silent_app_is_asked_whether_it_is_still_there() {
        let app = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = app.local_addr().unwrap().to_string();
        let endpoint = Endpoint::new(address.parse().unwrap(), UpstreamTls::Off);
        let stream = connector(Settings::default()).connect(&endpoint).await.unwrap();
        let Stream::Plain(tcp) = stream else { panic!("no TLS was asked for") };
        let socket = SockRef::from(&tcp);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
    }

    /// Whatever is written in the record, and whatever a name stands for by now.
    #[tokio::test]
    async fn nothing_is_sent_where_nothing_may_be() {
        let own = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = own.local_addr().unwrap().port();
        let reach = Reach::new(vec![own.local_addr().unwrap()], Vec::new());
        let connector = connector(Settings { reach, ..Settings::default() });
        for host in ["127.0.0.1", "127.1.2.3", "0.0.0.0", "localhost"] {
            let upstream = format!("{host}:{port}").parse().unwrap();
            let refused = connector.connect(&Endpoint::new(upstream, UpstreamTls::Off)).await;
            let error = refused.unwrap_err();
            assert!(
                matches!(&error, Error::OutOfReach { why: OutOfReach::Own, .. }),
                "{host}: {error}"
            );
            assert!(error.may_try_elsewhere());
        }
        let metadata = Endpoint::new("169.254.169.254:80".parse().unwrap(), UpstreamTls::Off);
        let error = connector.connect(&metadata).await.unwrap_err().to_string();
        assert!(error.contains("link-local") && error.contains("ALLOW_UPSTREAMS"), "{error}");
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        assert!(is_ours([127, 0, 0, 1].into()) && !is_ours([192, 0, 2, 1].into()));
    }
}
