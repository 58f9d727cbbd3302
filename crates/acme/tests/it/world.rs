//! An authority, the name server it asks, and a web server that answers its challenges.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acme::{AcmeIssuer, AcmeSettings, Authority, Publication, Roots};
use certs::{Entry, Failure, Issuer, KeyKind, Request};
use dns::{BoxFuture, Directory, DnsProvider, Found, Zone};
use model::{CertRecord, Challenge, Timestamp};
use runtime::Clock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use testkit::{AcmeDns, Pebble, PebbleOptions, RawOrigin};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;

use crate::journal::Holder;

/// Challenges that are answered, by token.
pub(crate) type Answers = Arc<Mutex<HashMap<String, Challenge>>>;

/// An authority whose names all lead to us.
pub(crate) struct World {
    pub(crate) dns: Arc<AcmeDns>,
    pub(crate) pebble: Pebble,
    pub(crate) answers: Answers,
    pub(crate) zone: Arc<TestZone>,
    web: RawOrigin,
    _tls: JoinSet<()>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut PebbleOptions)) -> Self {
        let dns = Arc::new(AcmeDns::start().await);
        let answers = Answers::default();
        let web = web(answers.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls_port = listener.local_addr().unwrap().port();
        let mut tls = JoinSet::new();
        tls.spawn(shake_hands(listener, answers.clone()));
        let mut options = PebbleOptions::new(dns.addr(), web.addr().port(), tls_port);
        change(&mut options);
        let pebble = Pebble::start(&options).await;
        let zone = Arc::new(TestZone::new(dns.clone()));
        Self { dns, pebble, answers, zone, web, _tls: tls }
    }

    pub(crate) fn authority(&self) -> Authority {
        let mut authority = Authority::new(self.pebble.directory());
        authority.roots = Roots::File(self.pebble.api_root());
        authority
    }

    pub(crate) fn settings(&self, authorities: Vec<Authority>) -> AcmeSettings {
        let mut settings = AcmeSettings::new(authorities);
        settings.resolvers = vec![self.dns.addr()];
        settings.timeouts.validation = Duration::from_secs(20);
        settings.timeouts.propagation = Duration::from_secs(20);
        settings
    }

    /// Knows this one authority, and the zone `a.test`.
    pub(crate) fn issuer(&self) -> AcmeIssuer {
        self.issuer_by(vec![self.authority()], |_| {})
    }

    pub(crate) fn issuer_by(
        &self,
        authorities: Vec<Authority>,
        change: impl FnOnce(&mut AcmeSettings),
    ) -> AcmeIssuer {
        let mut settings = self.settings(authorities);
        change(&mut settings);
        let nameservers = vec![self.dns.addr()];
        let directory = OneProvider { provider: self.zone.clone(), nameservers };
        AcmeIssuer::new(settings, Arc::new(directory), Clock::system()).unwrap()
    }

    pub(crate) fn journal(&self) -> Holder {
        let answers = self.answers.clone();
        Holder::new(move |publication| {
            let mut answers = answers.lock().unwrap();
            match publication {
                Publication::Answer(it) => drop(answers.insert(it.token.clone(), it)),
                Publication::Forget { token, .. } => drop(answers.remove(&token)),
            }
        })
    }

    /// That a certificate is for these names and vouched for by the authority, and that nothing else is left of it.
    pub(crate) async fn check(&self, record: &CertRecord, names: &[&str]) {
        let entry = Entry::new(record).unwrap();
        let mut covered: Vec<_> = entry.names().iter().map(|name| &**name).collect();
        covered.sort_unstable();
        assert_eq!(covered, names);
        let mut roots = rustls::RootCertStore::empty();
        let root = self.pebble.issuing_root().await;
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(record.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            roots.into(),
            certs::provider(),
        )
        .build()
        .unwrap();
        let name = ServerName::try_from(names[names.len() - 1].to_owned()).unwrap();
        let now = Timestamp::from(Clock::system().now()).as_millis() / 1000;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let (leaf, intermediates) = chain.split_first().unwrap();
        rustls::client::danger::ServerCertVerifier::verify_server_cert(
            &*verifier,
            leaf,
            intermediates,
            &name,
            &[],
            now,
        )
        .unwrap();
        self.check_clear();
    }

    /// That nothing of any order is in the world.
    pub(crate) fn check_clear(&self) {
        assert!(self.answers.lock().unwrap().is_empty(), "nothing is answered any longer");
        let values = self.zone.values.lock().unwrap();
        assert!(values.is_empty(), "stray TXT values: {values:?}");
    }

    /// How often the web server was asked for a challenge, or anything else.
    pub(crate) fn visits(&self) -> usize {
        self.web.received().len()
    }
}

pub(crate) fn request(name: &str) -> Request {
    Request { name: name.parse().unwrap(), key_kind: KeyKind::default(), replaces: None }
}

pub(crate) async fn issue(
    issuer: &AcmeIssuer,
    name: &str,
    journal: &dyn certs::Journal,
) -> Result<CertRecord, Failure> {
    Issuer::issue(issuer, &request(name), journal).await
}

/// The zone `a.test` on the test's name server, which can only clear all values of a name at once.
pub(crate) struct TestZone {
    dns: Arc<AcmeDns>,
    pub(crate) values: Mutex<Vec<(String, String)>>,
    /// Whether nothing can be removed.
    pub(crate) is_stuck: AtomicBool,
}

impl TestZone {
    fn new(dns: Arc<AcmeDns>) -> Self {
        Self { dns, values: Mutex::default(), is_stuck: AtomicBool::new(false) }
    }
}

impl DnsProvider for TestZone {
    fn kind(&self) -> &'static str {
        "test"
    }

    fn zones(&self) -> BoxFuture<'_, Result<Vec<Zone>, dns::Error>> {
        Box::pin(async { Ok(vec![zone()]) })
    }

    fn append_txt<'a>(
        &'a self,
        _: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), dns::Error>> {
        Box::pin(async move {
            let entry = (name.to_owned(), value.to_owned());
            let is_new = !self.values.lock().unwrap().contains(&entry);
            if is_new {
                self.values.lock().unwrap().push(entry);
                self.dns.add_txt(name, value).await;
            }
            Ok(())
        })
    }

    fn remove_txt<'a>(
        &'a self,
        _: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), dns::Error>> {
        Box::pin(async move {
            if self.is_stuck.load(Ordering::SeqCst) {
                let message = "try again later".to_owned();
                return Err(dns::Error::Refused { provider: "test", message });
            }
            let entry = (name.to_owned(), value.to_owned());
            self.values.lock().unwrap().retain(|one| *one != entry);
            let left: Vec<_> = self.values.lock().unwrap().clone();
            self.dns.clear_txt(name).await;
            for (_, value) in left.iter().filter(|(of, _)| of == name) {
                self.dns.add_txt(name, value).await;
            }
            Ok(())
        })
    }
}

/// One provider, which has the zone `a.test`.
pub(crate) struct OneProvider {
    pub(crate) provider: Arc<dyn DnsProvider>,
    pub(crate) nameservers: Vec<SocketAddr>,
}

impl OneProvider {
    fn found(&self) -> Found {
        let (provider, nameservers) = (self.provider.clone(), self.nameservers.clone());
        Found { id: "provider".to_owned(), provider, zone: zone(), nameservers }
    }
}

impl Directory for OneProvider {
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Found>, dns::Error>> {
        let found = name.ends_with(".a.test").then(|| self.found());
        Box::pin(async { Ok(found) })
    }

    fn by_id<'a>(
        &'a self,
        provider: &'a str,
        zone: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, dns::Error>> {
        assert_eq!((provider, zone), ("provider", "a.test"));
        let found = self.found();
        Box::pin(async { Ok(Some(found)) })
    }
}

fn zone() -> Zone {
    Zone { id: "a.test".to_owned(), name: "a.test".to_owned() }
}

/// What stands behind port 80: the answer to a challenge, else 404.
fn web(answers: Answers) -> RawOrigin {
    RawOrigin::start(move |mut conversation| {
        let answers = answers.clone();
        async move {
            while let Some(head) = conversation.read_head().await {
                let path = head.split(' ').nth(1).unwrap_or_default();
                let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
                let answer = answers.lock().unwrap().get(token).cloned();
                let (status, body) = match answer {
                    Some(challenge) => ("200 OK", challenge.key_authorisation),
                    None => ("404 Not Found", String::new()),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
                conversation.write((head + &body).as_bytes()).await;
            }
        }
    })
}

/// What stands behind port 443: the proofs of TLS-ALPN-01 and nothing else.
async fn shake_hands(listener: TcpListener, answers: Answers) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let answers = answers.clone();
        connections.spawn(async move {
            let Ok(hello) = LazyConfigAcceptor::new(Default::default(), stream).await else {
                return;
            };
            let name = hello.client_hello().server_name().unwrap_or_default().to_owned();
            let pending =
                answers.lock().unwrap().values().find(|it| it.domain.as_str() == name).cloned();
            let Some(pending) = pending else { return };
            let now = Clock::system().now().into();
            let tls = certs::acme_tls_config(&pending.domain, &pending.key_authorisation, now);
            if let Ok(mut stream) = hello.into_stream(tls.unwrap()).await {
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
            }
        });
    }
}

/// No DNS provider is configured.
pub(crate) struct NoZones;

impl Directory for NoZones {
    fn find<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Found>, dns::Error>> {
        Box::pin(async { Ok(None) })
    }

    fn by_id<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, dns::Error>> {
        Box::pin(async { Ok(None) })
    }
}
