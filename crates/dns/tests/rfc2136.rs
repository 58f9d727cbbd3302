//! The contract on real name servers, BIND and Knot: with every algorithm, by UDP and by TCP.
#![cfg(test)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use dns::{DnsProvider, Error, Options, Zone};
use model::Secret;
use testkit::Log;
use testkit::name_server::{NameServer, Software, TsigKey, ZoneFile};

const NAME: &str = "_acme-challenge.example.test";

fn keys() -> [TsigKey; 3] {
    ["hmac-sha256", "hmac-sha384", "hmac-sha512"].map(|it| TsigKey::new(&format!("key-{it}"), it))
}

fn zones() -> [ZoneFile; 2] {
    ["example.test", "other.test"].map(|name| ZoneFile::new(name, ""))
}

fn zone() -> Zone {
    Zone { id: "example.test".into(), name: "example.test".into() }
}

fn provider(server: &NameServer, key: &TsigKey, more: &[(&str, &str)]) -> Arc<dyn DnsProvider> {
    // As long as a busy machine may take.
    patient(server, key, more, Duration::from_secs(6))
}

fn patient(
    server: &NameServer,
    key: &TsigKey,
    more: &[(&str, &str)],
    timeout: Duration,
) -> Arc<dyn DnsProvider> {
    let server = server.addr().to_string();
    let settings = [
        ("server", server.as_str()),
        ("zones", "example.test, other.test"),
        ("key_name", &key.name),
        ("key_secret", &key.secret),
        ("algorithm", &key.algorithm),
    ];
    let settings = settings.iter().chain(more);
    let settings = settings.map(|(name, value)| ((*name).into(), Secret::new((*value).into())));
    let pause = Duration::from_millis(10);
    let options = Options { pause, timeout, ..Options::default() };
    dns::build("rfc2136", &settings.collect(), options).unwrap()
}

#[tokio::test]
async fn bind_conforms() {
    conforms(Software::Bind).await;
}

#[tokio::test]
async fn knot_conforms() {
    conforms(Software::Knot).await;
}

async fn conforms(software: Software) {
    let server = NameServer::start(software, &zones(), &keys()).await;
    for key in &keys() {
        for transport in ["udp", "tcp"] {
            values_come_and_go(&server, &*provider(&server, key, &[("transport", transport)]))
                .await;
        }
    }
    wrong_keys_are_told(&server).await;
    what_is_not_its_own_is_refused(&server).await;
}

async fn values_come_and_go(server: &NameServer, provider: &dyn DnsProvider) {
    let names: Vec<_> = provider.zones().await.unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["example.test", "other.test"]);
    let append = async |value| provider.append_txt(&zone(), NAME, value).await.unwrap();
    let remove = async |value| provider.remove_txt(&zone(), NAME, value).await.unwrap();
    remove("never there").await;
    append("for-x").await;
    append("for-wildcard").await;
    append("for-x").await;
    assert_eq!(server.txt(NAME), ["for-wildcard", "for-x"]);
    remove("for-x").await;
    assert_eq!(server.txt(NAME), ["for-wildcard"]);
    remove("for-x").await;
    remove("for-wildcard").await;
    assert_eq!(server.txt(NAME), [""; 0]);
    // Longer than one string of a record.
    let long = "x".repeat(300);
    append(&long).await;
    remove(&long).await;
    assert_eq!(server.txt(NAME), [""; 0]);
}

async fn wrong_keys_are_told(server: &NameServer) {
    let good = &keys()[0];
    let secret = "d3JvbmctY2FuYXJ5LXNlY3JldA==";
    for (key, words) in [
        (TsigKey { secret: secret.into(), ..good.clone() }, "BadSig"),
        (TsigKey { name: "nobody".into(), ..good.clone() }, "BadKey"),
    ] {
        let error = provider(server, &key, &[]).zones().await.unwrap_err();
        println!("{error}");
        let Error::Credentials { message, .. } = &error else { panic!("{error:?}") };
        assert!(message.contains(words), "{message}");
        let told = format!("{error:?}");
        assert!(!told.contains(secret) && !told.contains(&good.secret), "{told}");
    }
}

async fn what_is_not_its_own_is_refused(server: &NameServer) {
    let provider = provider(server, &keys()[0], &[]);
    let absent = Zone { id: "absent.test".into(), name: "absent.test".into() };
    let error = provider.append_txt(&absent, "x.absent.test", "v").await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, Error::Refused { .. } | Error::Credentials { .. }), "{error:?}");
    let error = provider.append_txt(&zone(), "x.elsewhere.test", "v").await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn the_secret_is_in_no_log() {
    let log = Log::start();
    let server = NameServer::start(Software::Knot, &zones(), &keys()).await;
    provider(&server, &keys()[0], &[]).append_txt(&zone(), NAME, "v").await.unwrap();
    let log = log.text();
    let key = &keys()[0];
    // In base64, as text and as a list of bytes.
    for secret in [key.secret.as_str(), "canary-tsig", "99, 97, 110, 97, 114, 121"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn a_server_without_keys_is_told() {
    // It knows no key at all.
    let server = NameServer::start(Software::Knot, &zones(), &[]).await;
    let error = provider(&server, &keys()[0], &[]).zones().await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up() {
    let mut server = NameServer::start(Software::Knot, &zones(), &keys()).await;
    server.process().pause();
    let start = Instant::now();
    let hasty = patient(&server, &keys()[0], &[], Duration::from_millis(200));
    let given_up = tokio::time::timeout(Duration::from_secs(60), hasty.zones()).await;
    let error = given_up.expect("it ends").unwrap_err();
    println!("given up after {:?}: {error}", start.elapsed());
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    server.process().resume();
}
