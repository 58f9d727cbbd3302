//! From an endpoint to an open connection.

mod danger_accept_any;
mod resolve;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use model::{Hostname, UpstreamHost, UpstreamHttp, UpstreamTls};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::resolve::Resolver;
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
    resolver: Resolver,
    tls: ClientTls,
}

impl Connector {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            limit: settings.connect_timeout,
            resolver: Resolver::new(settings.resolve_ttl),
            tls: ClientTls::new(settings.extra_roots),
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
            Ok(Err(source)) => Err(Error::Connect { endpoint: endpoint.clone(), source }),
            Err(_) => Err(Error::ConnectTimeout { endpoint: endpoint.clone() }),
        }
    }

    async fn dial(&self, http: UpstreamHttp, endpoint: &Endpoint) -> io::Result<Stream> {
        let port = endpoint.upstream().port();
        let tcp = match endpoint.upstream().host() {
            UpstreamHost::Ip(ip) => TcpStream::connect(SocketAddr::new(*ip, port)).await?,
            UpstreamHost::Name(name) => self.dial_name(name, port).await?,
        };
        tcp.set_nodelay(true)?;
        // An app that vanished without a word must not hold a tunnel or a pool's place for ever.
        SockRef::from(&tcp).set_tcp_keepalive(&KEEPALIVE)?;
        match endpoint.tls() {
            UpstreamTls::Off => Ok(Stream::Plain(tcp)),
            mode => {
                let tls = self.tls.handshake(endpoint, mode, http, tcp).await?;
                Ok(Stream::Tls(Box::new(tls)))
            }
        }
    }

    /// Tries one address after the other; each has its share of the time, so that a dead one leaves some to the
    /// rest.
    async fn dial_name(&self, name: &Hostname, port: u16) -> io::Result<TcpStream> {
        let addresses = self.resolver.resolve(name).await?;
        let share = self.limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for ip in addresses.iter() {
            match timeout(share, TcpStream::connect(SocketAddr::new(*ip, port))).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tunnel to an app whose machine had lost its power stayed for ever.
    #[tokio::test]
    async fn a_silent_app_is_asked_whether_it_is_still_there() {
        let app = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = app.local_addr().unwrap().to_string();
        let endpoint = Endpoint::new(address.parse().unwrap(), UpstreamTls::Off);
        let stream = Connector::new(Settings::default()).connect(&endpoint).await.unwrap();
        let Stream::Plain(tcp) = stream else { panic!("no TLS was asked for") };
        let socket = SockRef::from(&tcp);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
    }
}
