//! What is left when a writer or the server is killed at any moment: a commit as a whole, or nothing of it.
#![cfg(test)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::{ClientLike, HashesInterface, SetsInterface, SortedSetsInterface};
use model::Secret;
use store::{Backend, Collection, Expect, Fields, HistoryEntry, Key, Txn, etag};
use store_redis::{RedisBackend, RedisSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

mod server;

use server::Server;

async fn connect(port: u16) -> RedisBackend {
    let url = Secret::new(format!("redis://127.0.0.1:{port}"));
    RedisBackend::connect(&RedisSettings::new(&url, "proxy_").unwrap()).await.unwrap()
}

fn host(id: &str) -> Key {
    Key::new(Collection::Host, id)
}

fn value(text: &str) -> Fields {
    Fields::from([("value".to_owned(), text.to_owned())])
}

/// Passes everything on and keeps what each client said since it was last asked.
struct Relay {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let all = heard.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let place = {
                    let mut all = all.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                connections.spawn(copy(from_client, to_server, Some((all.clone(), place))));
                connections.spawn(copy(from_server, to_client, None));
            }
        });
        Self { port, heard, _tasks: tasks }
    }

    fn forget(&self) {
        self.heard.lock().unwrap().iter_mut().for_each(Vec::clear);
    }

    /// What the connection said that ran a script.
    fn script(&self) -> Vec<u8> {
        let heard = self.heard.lock().unwrap();
        let ran = |said: &&Vec<u8>| said.windows(7).any(|word| word == b"EVALSHA");
        let said = heard.iter().find(ran).expect("a script was run");
        // Beside each script the server is asked for its replicas.
        said.strip_suffix(b"*1\r\n$4\r\nROLE\r\n").unwrap_or(said).to_vec()
    }
}

type Heard = (Arc<Mutex<Vec<Vec<u8>>>>, usize);

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, heard: Option<Heard>) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if let Some((all, place)) = &heard {
            all.lock().unwrap()[*place].extend_from_slice(&piece[..length]);
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// Everything that readers see, as the server has it.
async fn state(operator: &Client, backend: &RedisBackend) -> String {
    let mut ids: Vec<String> = operator.smembers("proxy_Host").await.unwrap();
    ids.sort_unstable();
    let mut text = format!("{ids:?}\n");
    for id in ["a", "b", "c"] {
        text += &format!("{id}: {:?}\n", backend.get(&host(id)).await.unwrap());
    }
    let log: Vec<(String, f64)> =
        operator.zrange("proxy_gw_changes", 0, -1, None, false, None, true).await.unwrap();
    let revision: Fields = operator.hgetall("proxy_gw_revision").await.unwrap();
    let history = backend.history(None, 100).await.unwrap();
    text + &format!("{log:?}\n{revision:?}\n{history:?}\n")
}

/// A killed process has sent some of the bytes of its commit. For every number of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_killed_between_any_two_bytes_of_a_commit_leaves_all_or_nothing() {
    let server = Server::start(&[]);
    let operator = server.client().await;
    let relay = Relay::start(server.port()).await;
    let (direct, relayed) = (connect(server.port()).await, connect(relay.port).await);
    let before = async || {
        let () = operator.flushall(false).await.unwrap();
        let txn = Txn::new().put(host("a"), value("old"), Expect::Any).put(
            host("c"),
            value("goes"),
            Expect::Any,
        );
        direct.commit(txn.entry("first".to_owned(), 10)).await.unwrap()
    };
    let commit = || {
        Txn::new()
            .put(host("a"), value("new"), Expect::ETag(etag(&value("old"))))
            .put(host("b"), value("comes"), Expect::Absent)
            .delete(host("c"), Expect::Exists)
            .entry("second".to_owned(), 10)
    };
    before().await;
    relayed.revision().await.unwrap();
    relay.forget();
    relayed.commit(commit()).await.unwrap();
    let said = relay.script();

    let mut whole = 0;
    for cut in 0..=said.len() {
        let start = before().await;
        let was = state(&operator, &direct).await;
        let mut writer = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        writer.write_all(&said[..cut]).await.unwrap();
        writer.shutdown().await.unwrap();
        // The server closes when it has done with what it got.
        writer.read_to_end(&mut Vec::new()).await.unwrap();
        let is = state(&operator, &direct).await;
        if is == was {
            continue;
        }
        whole += 1;
        assert!(cut == said.len(), "after {cut} of {} bytes:\n{was}{is}", said.len());
        let revision = direct.revision().await.unwrap();
        assert_eq!(revision.n, start.n + 1);
        let ids: BTreeSet<String> = operator.smembers("proxy_Host").await.unwrap();
        assert_eq!(ids, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(direct.get(&host("a")).await.unwrap(), Some(value("new")));
        assert_eq!(direct.get(&host("b")).await.unwrap(), Some(value("comes")));
        let told = HistoryEntry { number: 2, revision, text: "second".to_owned() };
        assert_eq!(direct.history(None, 1).await.unwrap(), [told]);
    }
    println!("cut after each of {} bytes", said.len());
    assert_eq!(whole, 1, "the whole of it was never taken");
}

const WRITERS: u64 = 4;

/// The server itself is killed again and again while writers are at it, with `appendfsync always`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_comes_back_with_every_acknowledged_commit_whole() {
    const ROUNDS: u64 = 8;
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (mut next, mut acknowledged) = (0, BTreeSet::new());
    for round in 0..ROUNDS {
        let backend = Arc::new(connect(server.port()).await);
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let backend = backend.clone();
            writers.spawn(write(backend, next + writer));
        }
        tokio::time::sleep(Duration::from_millis(40 + 29 * round)).await;
        server.kill();
        while let Some(done) = writers.join_next().await {
            let (seen, reached) = done.unwrap();
            acknowledged.extend(seen);
            next = next.max(reached + 1);
        }
        drop(backend);
        server.restart();
        check(&server, next + WRITERS, &acknowledged).await;
    }
    println!("{ROUNDS} kills, {} acknowledged", acknowledged.len());
    assert!(acknowledged.len() > 20);
}

/// Writes pairs until the server does not answer; the numbers that were acknowledged and the last tried.
async fn write(backend: Arc<RedisBackend>, first: u64) -> (Vec<u64>, u64) {
    let (mut seen, mut number) = (Vec::new(), first);
    loop {
        let txn = Txn::new()
            .put(host(&format!("left-{number}")), value("x"), Expect::Absent)
            .put(host(&format!("right-{number}")), value("x"), Expect::Absent)
            .entry(number.to_string(), 1_000_000);
        match backend.commit(txn).await {
            Ok(_) => seen.push(number),
            Err(_) => return (seen, number),
        }
        number += WRITERS;
    }
}

async fn check(server: &Server, end: u64, acknowledged: &BTreeSet<u64>) {
    let backend = connect(server.port()).await;
    let operator = server.client().await;
    let start = Instant::now();
    while backend.revision().await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "it does not come back");
    }
    let ids: BTreeSet<String> = operator.smembers("proxy_Host").await.unwrap();
    let mut there = BTreeSet::new();
    for number in 0..end {
        let sides = ["left", "right"].map(|side| format!("{side}-{number}"));
        for id in &sides {
            let found = backend.get(&host(id)).await.unwrap().is_some();
            assert_eq!(found, ids.contains(id), "{id} in the index");
        }
        assert_eq!(ids.contains(&sides[0]), ids.contains(&sides[1]), "{number} is half there");
        if ids.contains(&sides[0]) {
            there.insert(number);
        }
    }
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(backend.revision().await.unwrap().n, there.len() as u64);
    let changes: usize = operator.zcard("proxy_gw_changes").await.unwrap();
    assert_eq!(changes, 2 * there.len());
    let history = backend.history(None, 1_000_000).await.unwrap();
    let told: BTreeSet<u64> = history.iter().map(|entry| entry.text.parse().unwrap()).collect();
    assert_eq!((history.len(), told), (there.len(), there.clone()));
    for (entry, n) in history.iter().zip((1..=there.len() as u64).rev()) {
        assert_eq!((entry.number, entry.revision.n), (n, n));
    }
}
