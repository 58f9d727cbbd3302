//! What is shared with programs of the older layout at keys of theirs.
#![cfg(test)]

use std::collections::BTreeMap;
use std::time::Duration;

use fred::interfaces::{HashesInterface, KeysInterface, SetsInterface};
use model::Secret;
use store::{Backend, Collection, Error, Expect, Fields, Key, Touched, Txn, etag};
use store_redis::{RedisBackend, RedisSettings};

mod server;

use server::Server;

async fn connect(server: &Server, certificates: bool) -> RedisBackend {
    let url = Secret::new(server.url());
    let settings = RedisSettings::new(&url, "proxy_").unwrap().with_legacy_keys(certificates);
    RedisBackend::connect(&settings).await.unwrap()
}

fn cert(id: &str) -> Key {
    Key::new(Collection::Cert, id)
}

fn certificate(name: &str, key: &str, not_after: u64) -> Fields {
    let fields = [
        ("name", name),
        ("fullchain_pem", "CHAIN"),
        ("privkey_pem", key),
        ("source", "local"),
        ("not_before", "1"),
        ("not_after", &not_after.to_string()),
    ];
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A certificate as others write it.
fn theirs(key: &str, expiry: u64) -> String {
    format!(r#"{{"fullchain_pem":"THEIRS","privkey_pem":"{key}","expiry":{expiry}}}"#)
}

async fn scan(backend: &RedisBackend, limit: usize) -> BTreeMap<String, Fields> {
    let (mut found, mut cursor) = (BTreeMap::new(), None::<String>);
    loop {
        let page = backend.scan(Collection::Cert, cursor.as_deref(), limit).await.unwrap();
        assert!(page.records.len() <= limit);
        found.extend(page.records);
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn a_certificate_and_its_copy_come_and_go_together() {
    let server = Server::start(&[]);
    let (backend, operator) = (connect(&server, true).await, server.client().await);
    let copy = async || operator.get::<Option<String>, _>("*.a.test:latest").await.unwrap();
    let put =
        |key, expect| Txn::new().put(cert("*.a.test"), certificate("*.a.test", key, 9000), expect);
    backend.commit(put("KEY", Expect::Absent)).await.unwrap();
    let text = copy().await.unwrap();
    assert!(
        text.contains(r#""privkey_pem":"KEY""#) && text.contains(r#""real_expiry":9"#),
        "{text}"
    );

    // One that does not go through leaves it.
    let refused = backend.commit(put("OTHER", Expect::Absent)).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_eq!(copy().await.unwrap(), text);
    let seen = backend.get(&cert("*.a.test")).await.unwrap().unwrap();
    assert_eq!(seen, certificate("*.a.test", "KEY", 9000));
    backend.commit(put("NEXT", Expect::ETag(etag(&seen)))).await.unwrap();
    assert!(copy().await.unwrap().contains("NEXT"));
    backend.commit(Txn::new().delete(cert("*.a.test"), Expect::Exists)).await.unwrap();
    assert_eq!(copy().await, None);

    // A sealed key is not written beside itself, and what others have there stays.
    let () = operator.set("*.a.test:latest", "others", None, None, false).await.unwrap();
    backend.commit(put("gw1:id:text", Expect::Any)).await.unwrap();
    assert_eq!(copy().await.unwrap(), "others");
    let without = connect(&server, false).await;
    without.commit(put("KEY", Expect::Any)).await.unwrap();
    without.commit(Txn::new().delete(cert("*.a.test"), Expect::Any)).await.unwrap();
    assert_eq!(copy().await.unwrap(), "others");
    assert_eq!(without.get(&cert("*.a.test")).await.unwrap(), None);
}

#[tokio::test]
async fn a_challenge_and_its_copy_end_together() {
    let server = Server::start(&[]);
    let (backend, operator) = (connect(&server, false).await, server.client().await);
    let fields: Fields = [("key_authorisation".to_owned(), "t.x".to_owned())].into();
    let key = Key::new(Collection::Challenge, "a.test:t");
    let ttl = Duration::from_secs(60);
    let put = Txn::new().put_expiring(key.clone(), fields, ttl, Expect::Absent);
    backend.commit(put).await.unwrap();
    let copy = async || operator.get::<Option<String>, _>("a.test:challenge:t").await.unwrap();
    assert_eq!(copy().await.as_deref(), Some("t.x"));
    let left: [i64; 2] = [
        operator.pttl("a.test:challenge:t").await.unwrap(),
        operator.pttl("proxy_Challenge_a.test:t").await.unwrap(),
    ];
    assert!(left[0] > 0 && left[0].abs_diff(left[1]) < 1000, "{left:?}");
    backend.commit(Txn::new().delete(key, Expect::Any)).await.unwrap();
    assert_eq!(copy().await, None);
}

#[tokio::test]
async fn certificates_of_others_are_records_until_ours_last_longer() {
    let server = Server::start(&[]);
    let (backend, operator) = (connect(&server, true).await, server.client().await);
    let set = async |name: &str, text: &str| {
        let key = format!("{name}:latest");
        let () = operator.set(key, text, None, None, false).await.unwrap();
    };
    let host = async |name: &str, parent: &str| {
        let () = operator.sadd("proxy_Host", name).await.unwrap();
        let fields = vec![("host", name), ("wildcard_parent", parent)];
        let () = operator.hset(format!("proxy_Host_{name}"), fields).await.unwrap();
    };
    host("a.test", "").await;
    host("kid.b.test", "*.b.test").await;
    host("none.test", "").await;
    let () = operator.sadd("proxy_Host", "dangling.test").await.unwrap();
    set("a.test", &theirs("A", 100)).await;
    set("*.b.test", &theirs("B", 100)).await;
    set("stranger.test", &theirs("S", 100)).await;
    let () = operator.sadd("none.test:latest", "no text").await.unwrap();
    let own = certificate("own.test", "OWN", 9000);
    backend.commit(Txn::new().put(cert("own.test"), own, Expect::Absent)).await.unwrap();
    for limit in [1, 2, 500] {
        let found = scan(&backend, limit).await;
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["*.b.test", "a.test", "own.test"], "{limit}");
        let (b, not_after) = (&found["*.b.test"], "100000");
        assert_eq!((b["privkey_pem"].as_str(), b["not_after"].as_str()), ("B", not_after));
        assert_eq!((b["source"].as_str(), b["name"].as_str()), ("custom", "*.b.test"));
    }

    // It can be replaced by who has seen it, and deleted.
    let seen = backend.get(&cert("a.test")).await.unwrap().unwrap();
    let put =
        |end, expect| Txn::new().put(cert("a.test"), certificate("a.test", "US", end), expect);
    backend.commit(put(200_000, Expect::ETag(etag(&seen)))).await.unwrap();
    assert_eq!(scan(&backend, 500).await["a.test"]["privkey_pem"], "US");
    let stale = backend.commit(put(300_000, Expect::ETag(etag(&seen)))).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    // They have a later one.
    set("a.test", &theirs("LATER", 201)).await;
    assert_eq!(scan(&backend, 500).await["a.test"]["privkey_pem"], "LATER");
    let seen = backend.get(&cert("a.test")).await.unwrap().unwrap();
    assert_eq!(seen["privkey_pem"], "LATER");
    backend.commit(Txn::new().delete(cert("a.test"), Expect::ETag(etag(&seen)))).await.unwrap();
    assert_eq!(backend.get(&cert("a.test")).await.unwrap(), None);
}

#[tokio::test]
async fn who_writes_a_host_may_have_written_its_certificate() {
    let server = Server::start(&[]);
    let (backend, operator) = (connect(&server, true).await, server.client().await);
    let mut hints = backend.watch();
    let () = operator.hset("proxy_Host_a.test", ("ip", "10.0.0.1")).await.unwrap();
    let mut found = Vec::new();
    let both = async {
        while found.len() < 2 {
            hints.next().await;
            if let Touched::Keys(keys) = hints.touched() {
                found.extend(keys);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(4), both).await.unwrap();
    found.sort();
    assert_eq!(found, [cert("a.test"), Key::new(Collection::Host, "a.test")]);
}

#[tokio::test]
async fn a_user_who_may_not_read_them_reads_the_rest() {
    let acl = ["--user", "gw", "on", ">s3cret", "~proxy_*", "&proxy_*", "+@all"];
    let server = Server::start(&acl);
    let url = Secret::new(format!("redis://gw:s3cret@127.0.0.1:{}", server.port()));
    let settings = RedisSettings::new(&url, "proxy_").unwrap();
    let writer = RedisBackend::connect(&settings).await.unwrap();
    let ours = certificate("a.test", "KEY", 9000);
    let put = Txn::new().put(cert("a.test"), ours.clone(), Expect::Absent);
    writer.commit(put).await.unwrap();
    let reader = RedisBackend::connect(&settings.with_legacy_keys(true)).await.unwrap();
    assert_eq!(reader.get(&cert("a.test")).await.unwrap(), Some(ours));
    assert_eq!(scan(&reader, 10).await.len(), 1);
}
