//! An app made of a script: each connection runs it, and what comes in is kept.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use runtime::Tasks;
use tokio::net::TcpListener;

use super::client::Client;

/// One connection at the origin. Its client is read like any other peer.
pub(crate) struct Visit {
    pub(crate) peer: Client,
    heads: Arc<Mutex<Vec<String>>>,
}

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    tasks: Tasks,
}

impl Visit {
    /// Reads a request's head; none when the connection ended.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.peer.try_take(1).await?);
        }
        let head = String::from_utf8(head).unwrap();
        self.heads.lock().unwrap().push(head.clone());
        Some(head)
    }

    pub(crate) async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.peer.send(text).await;
    }

    /// Answers with a text.
    pub(crate) async fn answer(&mut self, text: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())).await;
    }
}

impl Origin {
    /// Every connection runs the script.
    pub(crate) async fn start<F>(script: impl Fn(Visit) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (counted, kept, tasks) = (connections.clone(), heads.clone(), Tasks::new());
        let visits = tasks.clone();
        tasks.spawn("origin", async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let visit = Visit { peer: Client::over(stream), heads: kept.clone() };
                visits.spawn("visit", script(visit));
            }
        });
        Self { address, connections, heads, tasks }
    }

    /// Answers each request with its own head, keeping the connection.
    pub(crate) async fn echo() -> Self {
        Self::start(|mut visit| async move {
            while let Some(head) = visit.request().await {
                visit.answer(&head).await;
            }
        })
        .await
    }

    /// How many connections came.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests that came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// How many scripts failed an assertion.
    pub(crate) fn panics(&self) -> u64 {
        self.tasks.panics()
    }
}
