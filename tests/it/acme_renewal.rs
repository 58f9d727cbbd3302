//! Certificates that live for a minute and a half, under load, through three renewals: nobody notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use testkit::{App, client, shared, soak};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::authority::{Authority, create, served};

const NAMES: [&str; 2] = ["short.gw.test", "brief.gw.test"];
const RENEWALS: usize = 3;
/// Between two handshakes with one name.
const PACE: Duration = Duration::from_millis(100);

/// The handshakes of one name: how many there were, which failed, and how many certificates were seen.
#[derive(Default)]
struct Account {
    handshakes: usize,
    failed: Vec<String>,
    seen: Vec<Vec<u8>>,
}

/// Every client is strict: a certificate past its end, or from somewhere else, fails the handshake.
#[tokio::test(flavor = "multi_thread")]
async fn short_lived_certificates_are_renewed_under_load() {
    let _turn = shared().await;
    let life = Duration::from_secs(if soak() { 300 } else { 90 });
    let authority = Authority::start(|it| it.validity = life).await;
    let system = authority.system(2, &[]).await;
    let app = App::start("app");
    for name in NAMES {
        create(&system.api, name, &app).await;
    }
    for name in NAMES {
        served(&authority, &system, name).await;
    }
    let root = authority.pebble.issuing_root().await;
    let config = Arc::new(client::tls_config(&root, &["http/1.1"]));
    let mut clients = JoinSet::new();
    // Renewed when a third is left, up to a thirtieth earlier: four times two thirds, and the third renewal is behind us,
    // and the fourth not yet due.
    let end = Instant::now() + life * 2 / 3 * 7 / 2;
    for name in NAMES {
        for proxy in &system.proxies {
            clients.spawn(visit(proxy.https, name, config.clone(), end));
        }
    }
    for account in clients.join_all().await {
        let certificates = account.seen.len();
        println!("{} handshakes, {certificates} certificates", account.handshakes);
        assert_eq!(account.failed, Vec::<String>::new());
        assert_eq!(certificates, 1 + RENEWALS);
    }
    // One order per name and period, and none besides.
    assert_eq!(authority.pebble.orders(), NAMES.len() * (1 + RENEWALS));
}

async fn visit(
    addr: std::net::SocketAddr,
    name: &'static str,
    config: Arc<ClientConfig>,
    end: Instant,
) -> Account {
    let mut account = Account::default();
    let mut pace = tokio::time::interval(PACE);
    while Instant::now() < end {
        pace.tick().await;
        account.handshakes += 1;
        match shake_hands(addr, name, config.clone()).await {
            Ok(certificate) if account.seen.contains(&certificate) => {}
            Ok(certificate) => account.seen.push(certificate),
            Err(error) => account.failed.push(format!("{name}: {error}")),
        }
    }
    account
}

/// A full handshake; gives the certificate that was shown.
async fn shake_hands(
    addr: std::net::SocketAddr,
    name: &'static str,
    config: Arc<ClientConfig>,
) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(addr).await?;
    // A configuration of its own: no session is resumed, so that the certificate is shown each time.
    let mut config = ClientConfig::clone(&config);
    config.resumption = rustls::client::Resumption::disabled();
    let name = ServerName::try_from(name).expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default())
}
