//! HTTP clients whose connections the test holds: hyper over TCP or over TLS that trusts the system's local authority.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A request's body.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a client needs to know of a proxy.
#[derive(Clone, Debug)]
pub struct Front {
    /// Its plain listener.
    pub http: SocketAddr,
    /// Its TLS listener.
    pub https: SocketAddr,
    /// The local authority's root, PEM.
    pub ca_pem: String,
    /// The same in a file.
    pub ca_file: PathBuf,
}

/// No body.
pub fn empty() -> Body {
    Empty::new().boxed_unsync()
}

/// A body from memory.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// Any other body.
pub fn body(body: impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Body {
    body.boxed_unsync()
}

/// An HTTP/1.1 connection over plain TCP.
pub async fn plain(addr: SocketAddr) -> io::Result<Connection> {
    Connection::h1(tcp(addr).await?).await
}

/// An HTTP/1.1 connection over TLS, with `name` as SNI.
pub async fn h1(front: &Front, name: &str) -> io::Result<Connection> {
    Connection::h1(tls(front, name, &["http/1.1"]).await?).await
}

/// An HTTP/2 connection over TLS, with `name` as SNI.
pub async fn h2(front: &Front, name: &str) -> io::Result<Connection> {
    Connection::h2(tls(front, name, &["h2"]).await?).await
}

/// A TLS stream to the HTTPS listener that offers `alpn`.
pub async fn tls(front: &Front, name: &str, alpn: &[&str]) -> io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(tls_config(&front.ca_pem, alpn)));
    let name = ServerName::try_from(name.to_owned()).expect("a test uses valid names");
    connector.connect(name, tcp(front.https).await?).await
}

/// A client configuration that trusts `roots_pem` and nothing else.
pub fn tls_config(roots_pem: &str, alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
        roots.add(root.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

async fn tcp(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A client connection; closes with its value.
pub struct Connection {
    sender: Sender,
    _driver: JoinSet<()>,
}

enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

impl Connection {
    /// HTTP/1.1 over `stream`.
    pub async fn h1<S>(stream: S) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // How it ended shows in the requests.
            let _ = connection.with_upgrades().await;
        });
        Ok(Self { sender: Sender::H1(sender), _driver: driver })
    }

    /// HTTP/2 over `stream`.
    pub async fn h2<S>(stream: S) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 22)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender: Sender::H2(sender), _driver: driver })
    }

    /// Sends a request for an absolute URI, on HTTP/1.1 in origin form with a `Host`.
    ///
    /// On HTTP/2 `self` may be used again at once, on HTTP/1.1 when the answer's body was read.
    pub fn send(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        let answer: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = match &mut self.sender {
            Sender::H1(sender) => Box::pin(sender.send_request(origin_form(request))),
            Sender::H2(sender) => Box::pin(sender.send_request(request)),
        };
        answer
    }

    /// Waits until the connection is free, sends a request and reads its whole answer.
    pub async fn fetch(&mut self, request: Request<Body>) -> hyper::Result<Response<Bytes>> {
        self.ready().await?;
        let (head, body) = self.send(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Waits until a request may be sent; an error when the connection was closed.
    pub async fn ready(&mut self) -> hyper::Result<()> {
        match &mut self.sender {
            Sender::H1(sender) => sender.ready().await,
            Sender::H2(sender) => sender.ready().await,
        }
    }
}

fn origin_form(mut request: Request<Body>) -> Request<Body> {
    let uri = std::mem::take(request.uri_mut());
    if let Some(authority) = uri.authority() {
        let host = authority.as_str().parse().expect("an authority is a field value");
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    let target = uri.path_and_query().map_or("/", |it| it.as_str());
    *request.uri_mut() = target.parse().expect("it was part of a URI");
    request
}
