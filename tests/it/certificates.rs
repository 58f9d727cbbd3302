//! Certificates of the local authority: at once, on demand, resumed, and with keys that nobody else can read.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, NamedGroup};
use testkit::client::{self, Connection};
use testkit::{App, Curl, System, shared, within};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Names under a pattern get a certificate each at their first handshake, which waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_under_a_pattern_gets_its_certificate_on_demand() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route("**.dyn.localhost", app.addr()).await;

    let mut visits = JoinSet::new();
    for number in 0..10 {
        let curl = Curl::new(&system.proxies[0]);
        let url = format!("https://n{number}.deep.dyn.localhost/");
        visits.spawn(async move { curl.get(&url).await.status });
    }
    while let Some(status) = visits.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
}

/// A name is asked for in any case.
#[tokio::test(flavor = "multi_thread")]
async fn names_are_compared_without_case() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route("app.localhost", app.addr()).await;
    let answer = Curl::new(&system.proxies[0]).get("https://APP.localhost/").await;
    assert_eq!(answer.status, 200);
}

/// TLS 1.2 and 1.3 are spoken; a client that can gets a key exchange that withstands a quantum computer; a returning
/// client resumes.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_modern_and_resume() {
    let _turn = shared().await;
    let system = System::builder().set("WORKERS", "2").start().await;
    let app = App::start("app");
    system.api.route("app.localhost", app.addr()).await;
    let proxy = &system.proxies[0];
    for version in ["1.2", "1.3"] {
        let (least, most) = (format!("--tlsv{version}"), version.to_owned());
        let curl = Curl::new(proxy).with(&[&least, "--tls-max", &most]);
        assert_eq!(curl.get("https://app.localhost/").await.status, 200, "TLS {version}");
    }

    let connector = TlsConnector::from(Arc::new(client::tls_config(&proxy.ca_pem, &["http/1.1"])));
    let mut kinds = Vec::new();
    for _ in 0..5 {
        let stream = TcpStream::connect(proxy.https).await.unwrap();
        let name = ServerName::try_from("app.localhost").unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let tls = stream.get_ref().1;
        let group = tls.negotiated_key_exchange_group().map(|group| group.name());
        assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
        kinds.push(tls.handshake_kind().unwrap());
        // The ticket comes with the first answer.
        let mut connection = Connection::h1(stream).await.unwrap();
        let request = Request::get("https://app.localhost/").body(client::empty()).unwrap();
        assert_eq!(connection.fetch(request).await.unwrap().status(), 200);
    }
    assert_eq!(kinds[0], HandshakeKind::Full);
    assert!(kinds[1..].iter().all(|it| *it == HandshakeKind::Resumed), "{kinds:?}");
}

/// A handshake for a name that is routed nowhere does not wait for a certificate that never comes.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_not_parked() {
    let _turn = shared().await;
    let system = System::start().await;
    let curl = Curl::new(&system.proxies[0]).with(&["--insecure"]);
    let fetched = curl.get("https://nobody.localhost/");
    assert_eq!(within("an answer", Duration::from_secs(4), fetched).await.status, 404);
}

/// What lies in Redis is worth nothing without the keys of the programs: no private key, password or token is readable.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_lies_readable_in_redis() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route("app.localhost", app.addr()).await;
    assert_eq!(Curl::new(&system.proxies[0]).get("https://app.localhost/").await.status, 200);

    let keys = system.redis.command(&["KEYS", "*"]).await;
    let keys: Vec<_> = keys.lines().filter(|line| !line.starts_with(['*', '$'])).collect();
    assert!(keys.iter().any(|key| key.contains("app.localhost")), "{keys:?}");
    let mut checked = 0;
    for key in keys {
        let kind = system.redis.command(&["TYPE", key]).await;
        let words: &[&str] = match kind.trim() {
            "+hash" => &["HGETALL", key],
            "+string" => &["GET", key],
            "+set" => &["SMEMBERS", key],
            "+zset" => &["ZRANGE", key, "0", "-1"],
            "+list" => &["LRANGE", key, "0", "-1"],
            other => panic!("{key} is a {other}"),
        };
        let value = system.redis.command(words).await;
        for secret in ["PRIVATE KEY", "correct horse", system.api.token()] {
            assert!(!value.contains(secret), "{secret} in {key}: {value}");
        }
        checked += 1;
    }
    assert!(checked > 3, "only {checked} keys");
}
