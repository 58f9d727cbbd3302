//! What tests of certificates share: an authority that is real, with the name server that it asks.

use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use testkit::name_server::{NameServer, Software, TsigKey, ZoneFile};
use testkit::{Api, App, Builder, Pebble, PebbleOptions, Relay, System, client, until};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a certificate may take: four times the 15 s that a patient person would wait.
pub(crate) const ISSUED: Duration = Duration::from_secs(60);

/// An authority, a name server for `gw.test` and below, and ports where the authority finds whichever proxy it meets.
pub(crate) struct Authority {
    pub(crate) dns: NameServer,
    pub(crate) pebble: Pebble,
    pub(crate) http: Relay,
    pub(crate) tls: Relay,
    pub(crate) key: TsigKey,
}

impl Authority {
    pub(crate) async fn start(options: impl FnOnce(&mut PebbleOptions)) -> Self {
        let key = TsigKey::new("acme", "hmac-sha256");
        let records = "@ A 127.0.0.1\n* A 127.0.0.1\n";
        let zone = ZoneFile::new("gw.test", records);
        let dns = NameServer::start(Software::Knot, &[zone], std::slice::from_ref(&key)).await;
        let (http, tls) = (Relay::start().await, Relay::start().await);
        let mut wanted = PebbleOptions::new(dns.addr(), http.addr().port(), tls.addr().port());
        options(&mut wanted);
        let pebble = Pebble::start(&wanted).await;
        Self { dns, pebble, http, tls, key }
    }

    /// A system that gets its certificates there.
    pub(crate) async fn system(&self, proxies: usize, settings: &[(&str, &str)]) -> System {
        self.system_with(proxies, settings, |builder| builder).await
    }

    /// The same, with something else chosen too.
    pub(crate) async fn system_with(
        &self,
        proxies: usize,
        settings: &[(&str, &str)],
        choose: impl FnOnce(Builder) -> Builder,
    ) -> System {
        let (directory, root) = (self.pebble.directory(), self.pebble.api_root());
        let mut builder = System::builder()
            .proxies(proxies)
            .set_api("ACME_DIRECTORY", &directory)
            .set_api("ACME_ROOT_CA", root.to_str().unwrap())
            .set_api("DNS_RESOLVERS", &self.dns.addr().to_string());
        for (name, value) in settings {
            builder = builder.set_api(name, value);
        }
        let system = choose(builder).start().await;
        self.lead_to(&system);
        system
    }

    /// Has the authority's proofs asked of this system's proxies.
    pub(crate) fn lead_to(&self, system: &System) {
        self.http.lead_to(&system.proxies.iter().map(|it| it.http).collect::<Vec<_>>());
        self.tls.lead_to(&system.proxies.iter().map(|it| it.https).collect::<Vec<_>>());
    }

    /// Tells the system how to reach the zone.
    pub(crate) async fn provide(&self, api: &Api) {
        let provider = json!({
            "kind": "rfc2136",
            "settings": {
                "server": self.dns.addr().to_string(),
                "zones": "gw.test",
                "key_name": self.key.name,
                "key_secret": self.key.secret,
                "algorithm": self.key.algorithm,
            },
            "nameservers": [self.dns.addr().to_string()],
        });
        let made = api.post("/api/dns", &provider).await.expect(201);
        assert!(!made.to_string().contains(&self.key.secret), "credentials are never shown");
    }
}

pub(crate) async fn create(api: &Api, host: &str, app: &App) {
    let upstream = app.addr().to_string();
    let host =
        json!({"host": host, "certificate": "acme", "upstreams": [upstream], "force_https": true});
    api.create(&host).await;
}

/// A handshake in which a client trusts the authority alone.
pub(crate) async fn trusted(
    authority: &Authority,
    proxy: &testkit::client::Front,
    name: &str,
) -> Option<()> {
    let root = authority.pebble.issuing_root().await;
    let config = client::tls_config(&root, &["http/1.1"]);
    let stream = TcpStream::connect(proxy.https).await.ok()?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connected = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await;
    connected.ok().map(drop)
}

/// How long it takes until every proxy serves a trusted certificate for a name.
pub(crate) async fn served(authority: &Authority, system: &System, name: &str) -> Duration {
    let start = Instant::now();
    for proxy in &system.proxies {
        until(&format!("{name} has a certificate"), ISSUED, async || {
            trusted(authority, proxy, name).await
        })
        .await;
    }
    start.elapsed()
}

pub(crate) async fn certificate(api: &Api, name: &str) -> Value {
    api.get(&format!("/api/cert/{name}")).await.json()
}
