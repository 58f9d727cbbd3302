use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::server::Server;
use crate::{Pattern, drain};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A well-behaved app over HTTP/1.1.
///
/// | path | answer |
/// |---|---|
/// | `/bytes/N` | N bytes of [`Pattern`], with `Content-Length`; `?chunked` without |
/// | `/delay/MS` | `ok` after MS milliseconds |
/// | `/drip/N/MS` | N pieces of 1,000 bytes of `.`, one each MS milliseconds |
/// | `/ws` | a WebSocket that echoes |
/// | any other | JSON: `app, method, uri, headers: {name: [values]}, length, sha256` of the request |
///
/// Every answer carries `x-app` with its name. Each request with an `x-test-id` header is kept for [`App::seen`].
pub struct App {
    server: Server,
    shared: Arc<Shared>,
}

/// A request that reached an [`App`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The request's `x-test-id`.
    pub id: String,
    /// Its method.
    pub method: Method,
    /// The number of the connection it came on, from 0.
    pub connection: usize,
}

struct Shared {
    name: String,
    seen: Mutex<Vec<Seen>>,
}

impl App {
    /// Starts one.
    pub fn start(name: &str) -> Self {
        let shared = Arc::new(Shared { name: name.to_owned(), seen: Mutex::default() });
        let app = shared.clone();
        let server = Server::start(move |number, stream| serve(app.clone(), number, stream));
        Self { server, shared }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Every request that carried an `x-test-id`, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn serve(app: Arc<Shared>, connection: usize, stream: TcpStream) {
    let upgrade: Mutex<Option<OnUpgrade>> = Mutex::default();
    let service = service_fn(|mut request: Request<Incoming>| {
        if request.uri().path() == "/ws" {
            *upgrade.lock().unwrap() = Some(hyper::upgrade::on(&mut request));
        }
        let app = &app;
        async move { Ok::<_, Infallible>(answer(app, connection, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    let upgrade = upgrade.lock().unwrap().take();
    if let (Ok(()), Some(upgrade)) = (served, upgrade)
        && let Ok(upgraded) = upgrade.await
    {
        echo(upgraded).await;
    }
}

async fn echo(upgraded: Upgraded) {
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    // Pings and the client's goodbye are answered while reading on.
    while let Some(Ok(message)) = socket.next().await {
        let data = message.is_text() || message.is_binary();
        if data && socket.send(message).await.is_err() {
            break;
        }
    }
}

async fn answer(app: &Shared, connection: usize, request: Request<Incoming>) -> Response<Body> {
    if let Some(id) = request.headers().get("x-test-id") {
        let id = String::from_utf8_lossy(id.as_bytes()).into_owned();
        let method = request.method().clone();
        app.seen.lock().unwrap().push(Seen { id, method, connection });
    }
    let path = request.uri().path().to_owned();
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let number = |at: usize| parts.get(at).and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
    let mut response = match parts[0] {
        "bytes" => bytes(number(1), request.uri().query() == Some("chunked")),
        "delay" => {
            tokio::time::sleep(Duration::from_millis(number(1))).await;
            Response::new(full("ok"))
        }
        "drip" => Response::new(drip(number(1), Duration::from_millis(number(2)))),
        "ws" => switch(request.headers()),
        _ => describe(app, request).await,
    };
    let name = app.name.parse().expect("an app's name is a header value");
    response.headers_mut().insert("x-app", name);
    response
}

fn bytes(length: u64, chunked: bool) -> Response<Body> {
    let pattern = if chunked { Pattern::chunked(length) } else { Pattern::sized(length) };
    Response::new(pattern.boxed_unsync())
}

fn drip(pieces: u64, pause: Duration) -> Body {
    let stream = futures_util::stream::unfold(0, move |sent| async move {
        if sent == pieces {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((Ok(Frame::data(Bytes::from_static(&[b'.'; 1000]))), sent + 1))
    });
    StreamBody::new(stream).boxed_unsync()
}

fn switch(headers: &HeaderMap) -> Response<Body> {
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        let mut response = Response::new(full("a WebSocket is wanted"));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = derive_accept_key(key.as_bytes());
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, "upgrade".parse().unwrap());
    headers.insert(header::UPGRADE, "websocket".parse().unwrap());
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.parse().unwrap());
    response
}

async fn describe(app: &Shared, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut headers = serde_json::Map::new();
    for name in head.headers.keys() {
        let values = head.headers.get_all(name).iter();
        let values: Vec<_> = values.map(|it| String::from_utf8_lossy(it.as_bytes())).collect();
        headers.insert(name.to_string(), json!(values));
    }
    let Ok(digest) = drain(body).await else {
        let mut response = Response::new(full("the body was cut"));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let told = json!({
        "app": app.name,
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "headers": headers,
        "length": digest.length,
        "sha256": digest.sha256,
    });
    let mut response = Response::new(full(told.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    response
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::Message;

    use super::*;
    use crate::{Digest, client};

    #[tokio::test]
    async fn it_does_what_its_table_says() {
        let app = App::start("app");
        let mut connection = client::plain(app.addr()).await.unwrap();
        let mut get = async |path: &str| {
            let uri = format!("http://app.test{path}");
            let request = Request::get(uri).header("x-test-id", path).body(client::empty());
            connection.fetch(request.unwrap()).await.unwrap()
        };
        assert_eq!(get("/delay/1").await.body(), "ok");
        assert_eq!(get("/drip/3/1").await.body().len(), 3000);
        let bytes = get("/bytes/100000?chunked").await;
        let (length, sha256) = (bytes.body().len() as u64, crate::sha256(bytes.body()));
        assert_eq!(Digest { length, sha256 }, Pattern::digest(100_000));
        let told: serde_json::Value = serde_json::from_slice(get("/any?x").await.body()).unwrap();
        assert_eq!(told["uri"], "/any?x");
        assert_eq!(told["headers"]["host"], json!(["app.test"]));
        let ids: Vec<_> = app.seen().into_iter().map(|it| it.id).collect();
        assert_eq!(ids, ["/delay/1", "/drip/3/1", "/bytes/100000?chunked", "/any?x"]);
    }

    #[tokio::test]
    async fn its_websocket_echoes_and_closes() {
        let app = App::start("app");
        let stream = TcpStream::connect(app.addr()).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async("ws://a/ws", stream).await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        socket.close(None).await.unwrap();
        while let Some(message) = socket.next().await {
            assert!(message.unwrap().is_close());
        }
    }
}
