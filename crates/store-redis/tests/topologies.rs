//! The backend on Redis as operators run it: over TLS, with replicas, under sentinels, as a cluster, with users.
#![cfg(test)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Secret;
use store::conformance::{Subject, suite};
use store::{Backend, Collection, Error, Expect, Fields, Hints, Key, Touched, Txn};
use store_redis::{RedisBackend, RedisSettings};
use testkit::{TestRedis, stranger_ca, until, within};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(20);

fn settings(url: &str, prefix: &str, ca: Option<PathBuf>) -> RedisSettings {
    let settings = RedisSettings::new(&Secret::new(url.to_owned()), prefix).unwrap();
    match ca {
        Some(file) => settings.with_root_ca(&file).unwrap(),
        None => settings,
    }
}

async fn connect(url: &str, prefix: &str) -> RedisBackend {
    RedisBackend::connect(&settings(url, prefix, None)).await.unwrap()
}

/// Runs the suite, each test under a prefix of its own.
async fn conforms(redis: &TestRedis) {
    let number = std::cell::Cell::new(0);
    suite(async || {
        number.set(number.get() + 1);
        let ca = redis.ca().map(Into::into);
        let settings = settings(&redis.url(), &format!("{{test{}}}_", number.get()), ca);
        let settings = settings.with_log_limit(60);
        let connect = async || Arc::new(RedisBackend::connect(&settings).await.unwrap());
        Subject { first: connect().await, second: connect().await, log_limit: 60, hand: None }
    })
    .await;
}

fn host(id: &str) -> Key {
    Key::new(Collection::Host, id)
}

fn put(id: &str) -> Txn {
    let fields = Fields::from([("host".to_owned(), id.to_owned())]);
    Txn::new().put(host(id), fields, Expect::Any)
}

fn why(error: &Error) -> String {
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_over_tls() {
    conforms(&TestRedis::setup().password("word").tls(&["127.0.0.1"]).start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_under_sentinels() {
    conforms(&TestRedis::setup().password("word").sentinel(1).start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_on_a_cluster() {
    conforms(&TestRedis::setup().password("word").cluster().start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_fit_is_named_as_the_reason() {
    let redis = TestRedis::setup().tls(&["localhost"]).start().await;
    let dir = tempfile::tempdir().unwrap();
    let reason = async |url: &str, ca: Option<PathBuf>| {
        let backend = RedisBackend::connect(&settings(url, "proxy_", ca)).await.unwrap();
        why(&backend.get(&host("a")).await.unwrap_err())
    };
    let ca = redis.ca().map(PathBuf::from);
    let by_address = redis.url();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let wrong_name = reason(&by_address, ca.clone()).await;
    assert!(wrong_name.contains("not for the name or address in STORE"), "{wrong_name}");
    for stranger in [None, Some(stranger_ca(dir.path()))] {
        let wrong_ca = reason(&by_name, stranger).await;
        assert!(wrong_ca.contains("unknown authority; name it by STORE_ROOT_CA"), "{wrong_ca}");
    }
    let right = RedisBackend::connect(&settings(&by_name, "proxy_", ca)).await.unwrap();
    right.commit(put("a")).await.unwrap();
}

#[test]
fn an_authority_that_cannot_be_used_is_an_error() {
    let url = |text: &str| Secret::new(text.to_owned());
    let file = tempfile::NamedTempFile::new().unwrap();
    let plain = RedisSettings::new(&url("redis://127.0.0.1"), "p_").unwrap();
    let error = plain.with_root_ca(file.path()).unwrap_err().to_string();
    assert!(error.contains("STORE does not use TLS"), "{error}");
    let secure = || RedisSettings::new(&url("rediss://127.0.0.1"), "p_").unwrap();
    let error = secure().with_root_ca(file.path()).unwrap_err().to_string();
    assert!(error.contains("holds no certificate"), "{error}");
    assert!(secure().with_root_ca("/nonexistent".as_ref()).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_named_and_forgotten_when_it_is_right() {
    let redis = TestRedis::setup().password("old").start().await;
    let backend = connect(&redis.url().replace("old", "new"), "proxy_").await;
    let refused = why(&backend.get(&host("a")).await.unwrap_err());
    assert!(refused.contains("refuses the user name or password in STORE"), "{refused}");
    let refused = why(&backend.commit(put("a")).await.unwrap_err());
    assert!(refused.contains("refuses the user name or password in STORE"), "{refused}");
    redis.command(&["CONFIG", "SET", "requirepass", "new"]).await;
    until("it is let in", PATIENCE, async || backend.commit(put("a")).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_is_named_and_listening_begins_when_it_is_given() {
    let user = "gw on >word ~proxy_* resetchannels +@all -hgetall";
    let redis = TestRedis::setup().user(user).start().await;
    let backend = connect(&redis.url_as("gw", "word"), "proxy_").await;
    let mut hints = backend.watch();
    let refused = why(&backend.get(&host("a")).await.unwrap_err());
    assert!(refused.contains("may not do this, see its ACL"), "{refused}");
    redis.command(&["ACL", "SETUSER", "gw", "&*", "+hgetall"]).await;
    backend.get(&host("a")).await.unwrap();
    // Told that anything may have happened, and from then on of each commit.
    let everything = async {
        while hints.touched() != Touched::Everything {
            hints.next().await;
        }
    };
    within("it listens", PATIENCE, everything).await;
    let mut hints = backend.watch();
    connect(&redis.url(), "proxy_").await.commit(put("a")).await.unwrap();
    within("the commit is heard", PATIENCE, hints.next()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_wait_for_a_replica_but_not_for_ever() {
    let mut redis = TestRedis::setup().replicas(1).start().await;
    let metrics = telemetry::Metrics::new();
    let settings = settings(&redis.url(), "proxy_", None).with_metrics(&metrics);
    let backend = RedisBackend::connect(&settings).await.unwrap();
    let unconfirmed = |count: u32| {
        let line = format!("gatewright_store_unconfirmed_commits_total {count}\n");
        assert!(metrics.render().contains(&line), "{}", metrics.render());
    };
    backend.commit(put("warm")).await.unwrap();
    for round in 0..50 {
        let id = format!("host-{round}");
        backend.commit(put(&id)).await.unwrap();
        // At once, with no waiting: it is there before the commit is answered.
        let key = format!("proxy_Host_{id}");
        let there = redis.nodes()[1].command(&["EXISTS", &key]).await;
        assert_eq!(there, ":1\r\n", "{round}");
    }
    unconfirmed(0);
    redis.nodes()[1].process().pause();
    let timed = async |id: &str| {
        let start = Instant::now();
        backend.commit(put(id)).await.unwrap();
        start.elapsed()
    };
    let (first, second) = (timed("slow").await, timed("slower").await);
    let read = Instant::now();
    let (_, _) = tokio::join!(timed("slowest"), async {
        backend.get(&host("slow")).await.unwrap();
        println!("a read beside a waiting commit: {:?}", read.elapsed());
    });
    println!("with a replica that stands still: {first:?}, then {second:?}");
    assert!(first < Duration::from_secs(2) && second < first, "{first:?} {second:?}");
    unconfirmed(3);
    redis.nodes()[1].process().resume();
    timed("again").await;
}

/// What is touched next.
async fn touched(hints: &mut Hints) -> Touched {
    let next = async {
        loop {
            match hints.touched() {
                Touched::Keys(keys) if keys.is_empty() => hints.next().await,
                touched => return touched,
            }
        }
    };
    within("something is touched", PATIENCE, next).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_edits_by_others_are_told_also_after_a_failover() {
    let mut redis = TestRedis::setup().cluster().start().await;
    let prefix = "{proxy}_";
    let backend = connect(&redis.url(), prefix).await;
    let other = connect(&redis.url(), prefix).await;
    let edit = async |redis: &TestRedis, master: usize, id: &str| {
        let key = format!("{prefix}Host_{id}");
        redis_command(redis, master, &["HSET", &key, "ip", "10.0.0.1"]).await;
    };
    let master = redis.master_of("{proxy}_x").await;
    let mut hints = backend.watch();
    for round in 0..20 {
        other.commit(put(&format!("ours-{round}"))).await.unwrap();
        edit(&redis, master, &format!("edited-{round}")).await;
        let told = touched(&mut hints).await;
        assert_eq!(told, Touched::Keys(vec![host(&format!("edited-{round}"))]), "{round}");
    }
    let before = other.revision().await.unwrap();

    redis.nodes()[master].kill().await;
    let start = Instant::now();
    let after = until("commits go on", PATIENCE, async || other.commit(put("late")).await.ok());
    let after = after.await;
    println!("cluster: first commit {:?} after the kill", start.elapsed());
    assert_eq!(after.epoch, before.epoch);
    assert!(after.n > before.n, "{before} {after}");
    let everything = async { while touched(&mut hints).await != Touched::Everything {} };
    within("the new master tells", PATIENCE, everything).await;
    let master = redis.master_of("{proxy}_x").await;
    edit(&redis, master, "edited-late").await;
    let told = async {
        let edited = host("edited-late");
        // Further connections that come back say that anything may have been touched: that tells of it, too.
        while matches!(touched(&mut hints).await, Touched::Keys(keys) if !keys.contains(&edited)) {}
    };
    within("the edit is told", PATIENCE, told).await;
}

async fn redis_command(redis: &TestRedis, node: usize, words: &[&str]) {
    let answer = redis.node(node).command(words).await;
    assert!(!answer.starts_with('-'), "{words:?}: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_sentinels_a_failover_loses_nothing_that_was_confirmed() {
    let mut redis = TestRedis::setup().sentinel(2).start().await;
    let backend = connect(&redis.url(), "proxy_").await;
    let mut confirmed = Vec::new();
    for round in 0..200 {
        let id = format!("host-{round}");
        backend.commit(put(&id)).await.unwrap();
        confirmed.push(id);
    }
    let before = backend.revision().await.unwrap();
    redis.nodes()[0].kill().await;
    let start = Instant::now();
    let late = until("commits go on", PATIENCE, async || backend.commit(put("late")).await.ok());
    let late = late.await;
    println!("sentinel: first commit {:?} after the kill", start.elapsed());
    assert!(late.epoch == before.epoch && late.n > before.n, "{before} {late}");
    for id in confirmed {
        assert!(backend.get(&host(&id)).await.unwrap().is_some(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_clients_come_back_one_after_the_other() {
    let mut redis = TestRedis::start().await;
    let mut backends = Vec::new();
    for _ in 0..10 {
        backends.push(connect(&redis.url(), "proxy_").await);
    }
    redis.stop().await;
    // Long enough for the pauses between attempts to have grown: every client fails at least once.
    for backend in &backends {
        assert!(backend.revision().await.is_err());
    }
    redis.start_again().await;
    let start = Instant::now();
    let mut waiting = JoinSet::new();
    for backend in backends {
        waiting.spawn(async move {
            while backend.revision().await.is_err() {}
            start.elapsed()
        });
    }
    let mut times = within("every client comes back", PATIENCE, waiting.join_all()).await;
    times.sort_unstable();
    println!("ten clients are back after {times:.0?}");
}
