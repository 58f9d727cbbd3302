//! The backend on a real Redis: the suite that every backend passes, and what only Redis can do.
#![cfg(test)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::interfaces::{HashesInterface, KeysInterface, SetsInterface};
use model::Secret;
use store::conformance::{Subject, suite};
use store::{Backend, Changes, Collection, Error, Expect, Fields, Hints, Key, Touched, Txn, etag};
use store_redis::{RedisBackend, RedisSettings};

mod server;

use server::Server;

const PATIENCE: Duration = Duration::from_secs(15);

fn settings(url: &str, prefix: &str) -> RedisSettings {
    RedisSettings::new(&Secret::new(url.to_owned()), prefix).unwrap()
}

async fn connect(url: &str) -> RedisBackend {
    RedisBackend::connect(&settings(url, "proxy_")).await.unwrap()
}

fn host(id: &str) -> Key {
    Key::new(Collection::Host, id)
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn put(id: &str, expect: Expect) -> Txn {
    Txn::new().put(host(id), fields(&[("host", id)]), expect)
}

/// Runs the suite on one server, each test under a prefix of its own.
async fn conforms(url: &str) {
    conforms_with(url, |settings| settings).await;
}

async fn conforms_with(url: &str, more: impl Fn(RedisSettings) -> RedisSettings) {
    let number = std::cell::Cell::new(0);
    suite(async || {
        number.set(number.get() + 1);
        let settings = settings(url, &format!("test{}_", number.get())).with_log_limit(60);
        let settings = more(settings);
        let connect = async || Arc::new(RedisBackend::connect(&settings).await.unwrap());
        Subject { first: connect().await, second: connect().await, log_limit: 60, hand: None }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    conforms(&Server::start(&[]).url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_while_older_programs_are_served() {
    conforms_with(&Server::start(&[]).url(), |settings| settings.with_legacy_keys(true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_over_a_unix_socket() {
    let server = Server::start(&[]);
    conforms(&format!("redis+unix://{}", server.socket().display())).await;
}

#[tokio::test]
async fn a_user_with_a_password_is_let_in_and_another_is_told() {
    let server = Server::start(&["--user", "gw", "on", ">s3cret", "~proxy_*", "&proxy_*", "+@all"]);
    let url = format!("redis://gw:s3cret@127.0.0.1:{}", server.port());
    let backend = connect(&url).await;
    let mut hints = backend.watch();
    backend.commit(put("a", Expect::Absent)).await.unwrap();
    tokio::time::timeout(PATIENCE, hints.next()).await.unwrap();

    let wrong = connect(&url.replace("s3cret", "wrong")).await;
    let error = wrong.get(&host("a")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn the_layout_is_the_one_that_others_read() {
    let server = Server::start(&[]);
    let backend = connect(&server.url()).await;
    assert_eq!(backend.revision().await.unwrap(), store::unborn());
    let revision = backend.commit(put("*.a.test", Expect::Absent)).await.unwrap();

    let operator = server.client().await;
    let members: Vec<String> = operator.smembers("proxy_Host").await.unwrap();
    assert_eq!(members, ["*.a.test"]);
    let hash: Fields = operator.hgetall("proxy_Host_*.a.test").await.unwrap();
    assert_eq!(hash, fields(&[("host", "*.a.test")]));
    let stored: Fields = operator.hgetall("proxy_gw_revision").await.unwrap();
    assert_eq!(stored, fields(&[("epoch", revision.epoch.as_str()), ("n", "1")]));
}

#[tokio::test]
async fn an_edit_by_hand_is_seen_and_makes_stale_writers_fail() {
    let server = Server::start(&[]);
    let backend = connect(&server.url()).await;
    backend.commit(put("a", Expect::Absent)).await.unwrap();
    let seen = backend.get(&host("a")).await.unwrap().unwrap();

    let operator = server.client().await;
    let () = operator.hset("proxy_Host_a", ("ip", "10.0.0.9")).await.unwrap();
    let edited = backend.get(&host("a")).await.unwrap().unwrap();
    assert_eq!(edited["ip"], "10.0.0.9");
    let stale = backend.commit(put("a", Expect::ETag(etag(&seen)))).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    backend.commit(put("a", Expect::ETag(etag(&edited)))).await.unwrap();
}

/// What is touched next, a second at most.
async fn touched(hints: &mut Hints) -> Touched {
    let next = async {
        loop {
            match hints.touched() {
                Touched::Keys(keys) if keys.is_empty() => hints.next().await,
                touched => return touched,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), next).await.expect("nothing was touched")
}

#[tokio::test]
async fn edits_by_others_are_told_at_once_and_commits_are_not_taken_for_them() {
    let server = Server::start(&[]);
    let (backend, other) = (connect(&server.url()).await, connect(&server.url()).await);
    let operator = server.client().await;
    let mut hints = backend.watch();
    for round in 0..20 {
        backend.commit(put(&format!("ours-{round}"), Expect::Absent)).await.unwrap();
        other.commit(put(&format!("others-{round}"), Expect::Absent)).await.unwrap();
        let () = operator.hset("proxy_Host_edited", ("ip", round)).await.unwrap();
        assert_eq!(touched(&mut hints).await, Touched::Keys(vec![host("edited")]), "{round}");
    }
    // A record that another program lets expire.
    let () = operator.pexpire("proxy_Host_edited", 50, None).await.unwrap();
    assert_eq!(touched(&mut hints).await, Touched::Keys(vec![host("edited")]));
    assert_eq!(touched(&mut hints).await, Touched::Keys(vec![host("edited")]));
    assert_eq!(backend.get(&host("edited")).await.unwrap(), None);
}

#[tokio::test]
async fn what_others_left_behind_breaks_no_reader() {
    let server = Server::start(&[]);
    let backend = connect(&server.url()).await;
    let operator = server.client().await;
    backend.commit(put("good", Expect::Absent)).await.unwrap();
    let () = operator.sadd("proxy_Host", vec!["dangling", "text", "bytes"]).await.unwrap();
    let () = operator.set("proxy_Host_text", "no hash", None, None, false).await.unwrap();
    let () = operator.hset("proxy_Host_bytes", ("host", &b"\xff"[..])).await.unwrap();

    let page = backend.scan(Collection::Host, None, 10).await.unwrap();
    let found: Vec<_> =
        page.records.iter().map(|(id, fields)| (id.as_str(), fields.len())).collect();
    assert_eq!(found, [("bytes", 1), ("good", 1), ("text", 0)]);
    let members: Vec<String> = operator.smembers("proxy_Host").await.unwrap();
    assert!(!members.contains(&"dangling".to_owned()), "{members:?}");

    let wrong = backend.commit(put("text", Expect::Any)).await;
    assert!(matches!(wrong, Err(Error::Corrupt { .. })), "{wrong:?}");
    let page = backend.scan(Collection::Host, None, 1).await.unwrap();
    assert_eq!((page.records.len(), page.next.is_some()), (1, true));
}

#[tokio::test]
async fn the_script_cache_may_be_flushed() {
    let server = Server::start(&[]);
    let backend = connect(&server.url()).await;
    backend.commit(put("a", Expect::Absent)).await.unwrap();
    let operator = server.client().await;
    let () = fred::interfaces::LuaInterface::script_flush(&operator, false).await.unwrap();
    backend.commit(put("b", Expect::Absent)).await.unwrap();
}

#[tokio::test]
async fn it_comes_back_after_a_restart_and_says_so() {
    let mut server = Server::start(&[]);
    let backend = connect(&server.url()).await;
    let before = backend.commit(put("a", Expect::Absent)).await.unwrap();
    let mut hints = backend.watch();

    server.kill();
    let start = Instant::now();
    let down = backend.get(&host("a")).await;
    assert!(matches!(down, Err(Error::Unavailable { .. })), "{down:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let down = backend.commit(put("b", Expect::Absent)).await;
    assert!(matches!(down, Err(Error::Unavailable { .. })), "{down:?}");

    server.restart();
    // A hint for the reconnect, after which the wiped store can be read and is known to be another.
    let reset = async {
        loop {
            hints.next().await;
            if let Ok(Changes::Reset { revision }) = backend.changes_since(&before).await {
                return revision;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, reset).await.unwrap(), store::unborn());
    let everything = async {
        while hints.touched() != Touched::Everything {
            hints.next().await;
        }
    };
    tokio::time::timeout(PATIENCE, everything).await.unwrap();

    // And commits by others are heard again.
    let other = connect(&server.url()).await;
    let after = other.commit(put("c", Expect::Absent)).await.unwrap();
    let heard = async {
        while !backend.revision().await.is_ok_and(|revision| revision.includes(&after)) {
            hints.next().await;
        }
        let mut hints = backend.watch();
        other.commit(put("d", Expect::Absent)).await.unwrap();
        hints.next().await;
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
}

#[tokio::test]
async fn it_starts_before_its_server() {
    let mut server = Server::start(&[]);
    server.kill();
    let backend = connect(&server.url()).await;
    assert!(matches!(backend.revision().await, Err(Error::Unavailable { .. })));
    let mut hints = backend.watch();
    server.restart();
    tokio::time::timeout(PATIENCE, hints.next()).await.unwrap();
    backend.commit(put("a", Expect::Absent)).await.unwrap();
}

#[tokio::test]
async fn dropping_it_closes_its_connections() {
    use fred::interfaces::ClientInterface;
    let server = Server::start(&[]);
    let operator = server.client().await;
    let count = async || {
        let list: String = operator.client_list::<_, String>(None, None).await.unwrap();
        list.lines().count()
    };
    let backend = connect(&server.url()).await;
    backend.revision().await.unwrap();
    assert!(count().await > 1);
    drop(backend);
    let start = Instant::now();
    while count().await > 1 {
        assert!(start.elapsed() < PATIENCE, "still {} connections", count().await);
    }
}
