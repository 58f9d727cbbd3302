use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;

/// The longest answer that is read; a chain with its intermediates has some kilobytes.
const MAX_ANSWER: usize = 1 << 20;

/// One HTTP/1.1 connection over TLS. Its I/O is done by whoever exchanges something on it, so that it needs no task.
pub(crate) struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Connection {
    /// Connects to the host of a URL.
    pub(crate) async fn open(uri: &Uri, tls: Arc<ClientConfig>) -> Result<Self, Error> {
        let (name, host) = host(uri)?;
        let failed = |source: io::Error| Error::Unreachable {
            host: host.clone(),
            attempted: "connected to",
            source: source.into(),
        };
        let tcp = TcpStream::connect((name.as_str(), uri.port_u16().unwrap_or(443)));
        let tcp = tcp.await.map_err(failed)?;
        let insecure = |_| Error::Insecure { url: uri.to_string() };
        let name = ServerName::try_from(name).map_err(insecure)?;
        let stream = TlsConnector::from(tls).connect(name, tcp).await.map_err(failed)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(io::Error::other(error)))?;
        // How it ended shows in the exchange.
        Ok(Self { host, sender, driver: Box::pin(driver.map(drop)) })
    }

    /// Whether a request for this URL may go over it: same host, and not closed meanwhile.
    pub(crate) fn serves(&mut self, uri: &Uri) -> bool {
        host(uri).is_ok_and(|(_, host)| host == self.host)
            && self.driver.as_mut().now_or_never().is_none()
            && !self.sender.is_closed()
    }

    /// Sends a request and reads the whole answer; hands the connection back if it can be used again.
    pub(crate) async fn exchange(
        mut self,
        request: Request<Bytes>,
        patience: Duration,
    ) -> Result<(Response<Bytes>, Option<Self>), Error> {
        let host = self.host.clone();
        let mut over = false;
        let answer = answer(&mut self.sender, request);
        let driver = &mut self.driver;
        let driven = async {
            tokio::pin!(answer);
            tokio::select! {
                biased;
                answer = &mut answer => answer,
                () = driver => {
                    over = true;
                    // What had come before the end is still to be read.
                    answer.await
                }
            }
        };
        let answer = tokio::time::timeout(patience, driven)
            .await
            .map_err(|_| Error::Silent { host: host.clone(), after: patience })?
            .map_err(|source| Error::Unreachable { host, attempted: "read from", source })?;
        Ok((answer, (!over).then_some(self)))
    }
}

async fn answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
    sender.ready().await?;
    let answer = sender.send_request(origin_form(request)).await?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

/// The host of an `https` URL, bare and with its port.
fn host(uri: &Uri) -> Result<(String, String), Error> {
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            Ok((bare.to_owned(), format!("{host}:{}", uri.port_u16().unwrap_or(443))))
        }
        _ => Err(Error::Insecure { url: uri.to_string() }),
    }
}

fn origin_form(request: Request<Bytes>) -> Request<Full<Bytes>> {
    let (mut parts, body) = request.into_parts();
    let uri = std::mem::take(&mut parts.uri);
    let host = uri.authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok());
    if let Some(host) = host {
        parts.headers.insert(HOST, host);
    }
    if let Some(path) = uri.path_and_query() {
        parts.uri = Uri::from(path.clone());
    }
    Request::from_parts(parts, Full::new(body))
}
