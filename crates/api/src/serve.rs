use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::{Parts, router};

/// How long a connection may be silent before a request and while sending its head.
const SILENCE: Duration = Duration::from_secs(30);
/// How many connections are open at once; more wait to be accepted.
const MOST: usize = 1024;
/// How long accepting pauses when the system has no more to give, such as file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the API until `until` is done, then lets the requests under way finish; drop it to cut them off.
///
/// # Errors
/// Never in practice: errors of single connections are theirs alone.
pub async fn serve(
    listener: TcpListener,
    parts: Parts,
    until: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router(parts);
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut until = std::pin::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MOST => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, router.clone(), stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    drop(stop);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Serves one connection; once `stopping` has ended, up to the end of the request under way.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut stopping: watch::Receiver<()>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;

    async fn start() -> (SocketAddr, oneshot::Sender<()>, JoinSet<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let parts = Parts {
            control: control::test_util::World::new().control,
            metrics: telemetry::Metrics::new(),
            ready: Arc::new(|| true),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, parts, async move {
            let _ = stopped.await;
        }));
        (address, stop, serving)
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_hung_up_on() {
        let (address, _stop, _serving) = start().await;
        for said in ["", "GET /livez HTTP/1.1\r\nHost:"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert!(!text.contains("200"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_request_under_way_is_finished_and_idle_connections_are_closed() {
        let (address, stop, mut serving) = start().await;
        let mut busy = TcpStream::connect(address).await.unwrap();
        let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
        let body = r#"{"username":"a","password":"b"}"#;
        let head = format!("{head}expect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len());
        busy.write_all(head.as_bytes()).await.unwrap();
        let mut told = [0; 25];
        busy.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 15];
        idle.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");

        stop.send(()).unwrap();
        let mut rest = String::new();
        idle.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with("ok\n"));
        busy.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(serving.join_next().await.unwrap().unwrap().is_ok());
    }
}
