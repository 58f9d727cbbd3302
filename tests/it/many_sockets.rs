//! Thousands of idle WebSockets: none is lost by changes to hosts, and each costs little.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use serde_json::json;
use testkit::{Process, System, alone, client, until, within};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const NAME: &str = "chat.test";
/// Of each kind: over plain TCP, over TLS.
const SOCKETS: usize = 4_000;
/// Handshakes that are under way at once.
const AT_ONCE: usize = 100;
const EDITS: usize = 1_000;

type Socket = WebSocketStream<Box<dyn Stream>>;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

fn small() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(512).write_buffer_size(0)
}

/// Echoes on every connection, for as long as what it gives is kept.
async fn echo_server() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut echoes = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            echoes.spawn(async move {
                let accepted =
                    tokio_tungstenite::accept_async_with_config(stream, Some(small())).await;
                let Ok(mut socket) = accepted else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if !message.is_close() && socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (addr, server)
}

/// Opens this many by `connect`, some at once.
async fn open(count: usize, connect: impl AsyncFn() -> Box<dyn Stream>) -> Vec<Socket> {
    let mut sockets = Vec::with_capacity(count);
    while sockets.len() < count {
        let some = (0..AT_ONCE.min(count - sockets.len())).map(|_| async {
            let url = format!("ws://{NAME}/socket");
            let stream = connect().await;
            let opened =
                tokio_tungstenite::client_async_with_config(url, stream, Some(small())).await;
            opened.map(|(socket, _)| socket)
        });
        sockets.extend(try_join_all(some).await.unwrap());
    }
    sockets
}

async fn echoes(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let echo = within("an echo", Duration::from_secs(20), socket.next()).await;
    assert_eq!(echo.unwrap().unwrap(), Message::text(text));
}

fn tell(kind: &str, before: u64, after: u64) {
    let each = after.saturating_sub(before) as f64 / SOCKETS as f64 / 1024.0;
    println!("{SOCKETS} idle WebSockets over {kind}: {each:.1} KiB of the proxy each");
}

/// Sets this process' limit on open files, which those that it starts inherit; none: as high as it may.
fn limit_open_files(limit: Option<u64>) {
    let mut now = getrlimit(Resource::Nofile);
    now.current = limit.or(now.maximum);
    setrlimit(Resource::Nofile, now).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_thousand_live_through_a_thousand_changes() {
    let _turn = alone().await;
    // As many as login shells allow: the proxy raises that itself.
    limit_open_files(Some(1_024));
    let system = System::start().await;
    limit_open_files(None);
    let (app, _server) = echo_server().await;
    system.api.route(NAME, app).await;
    system.api.route("other.test", app).await;
    let proxy = &system.proxies[0];
    let process: &Process = &proxy.process;
    let front = proxy.front();
    let tls = TlsConnector::from(Arc::new(client::tls_config(&front.ca_pem, &["http/1.1"])));
    let plain = async || {
        let stream = TcpStream::connect(front.http).await.unwrap();
        Box::new(stream) as Box<dyn Stream>
    };
    let over_tls = async || {
        let stream = TcpStream::connect(front.https).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        Box::new(tls.connect(name, stream).await.unwrap()) as Box<dyn Stream>
    };
    // What the first connections allocate stays, and is not theirs.
    drop(open(AT_ONCE, plain).await);
    drop(open(AT_ONCE, over_tls).await);

    let empty = process.memory();
    let mut sockets = open(SOCKETS, plain).await;
    let half = process.memory();
    tell("plain TCP", empty, half);
    sockets.extend(open(SOCKETS, over_tls).await);
    tell("TLS", half, process.memory());

    for edit in 0..EDITS {
        let (name, path) = match edit % 2 {
            0 => (NAME, format!("/api/host/{NAME}")),
            _ => ("other.test", "/api/host/other.test".to_owned()),
        };
        let record = json!({
            "host": name, "upstreams": [app.to_string()], "force_https": false,
            "response_headers": { "set": { "x-edit": edit.to_string() } },
        });
        system.api.put(&path, &record).await.expect(200);
    }
    let record = json!({
        "host": NAME, "upstreams": [app.to_string()], "force_https": false,
    });
    let path = format!("/api/host/{NAME}?wait=applied");
    assert_eq!(system.api.put(&path, &record).await.expect(200)["applied"], true);

    until("no tunnel is missing", Duration::from_secs(20), async || {
        let (_, metrics) = proxy.admin("/metrics").await;
        let line = metrics.lines().find(|line| line.starts_with("gatewright_tunnels_open"))?;
        (line.rsplit(' ').next()?.parse() == Ok(2 * SOCKETS)).then_some(())
    })
    .await;
    for (at, socket) in sockets.iter_mut().enumerate() {
        echoes(socket, &format!("hello {at}")).await;
    }
    println!("after an echo on each: {} MiB in all", process.memory() >> 20);
}
