//! An authority, the name server it asks, and a web server that answers its challenges.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use acme::{AcmeIssuer, AcmeSettings, Authority, MemoryJournal, Publication, Roots};
use certs::{Entry, Failure, Issuer, KeyKind, Request};
use dns::{BoxFuture, Directory, Found};
use model::{CertRecord, Challenge};
use runtime::Clock;
use testkit::{AcmeDns, Pebble, PebbleOptions, RawOrigin, free_port};

/// Challenges that are answered, by token.
pub(crate) type Answers = Arc<Mutex<HashMap<String, Challenge>>>;

pub(crate) struct World {
    pub(crate) dns: AcmeDns,
    pub(crate) pebble: Pebble,
    pub(crate) answers: Answers,
    _web: RawOrigin,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut PebbleOptions)) -> Self {
        let dns = AcmeDns::start().await;
        let answers = Answers::default();
        let web = web(answers.clone());
        let mut options = PebbleOptions::new(dns.addr(), web.addr().port(), free_port());
        change(&mut options);
        let pebble = Pebble::start(&options).await;
        Self { dns, pebble, answers, _web: web }
    }

    pub(crate) fn authority(&self) -> Authority {
        let mut authority = Authority::new(self.pebble.directory());
        authority.roots = Roots::File(self.pebble.api_root());
        authority
    }

    pub(crate) fn settings(&self) -> AcmeSettings {
        let mut settings = AcmeSettings::new(vec![self.authority()]);
        settings.resolvers = vec![self.dns.addr()];
        settings
    }

    pub(crate) fn issuer(&self) -> AcmeIssuer {
        issuer(self.settings(), Arc::new(NoZones))
    }

    pub(crate) fn journal(&self) -> MemoryJournal<impl Fn(Publication) + Send + Sync + use<>> {
        let answers = self.answers.clone();
        MemoryJournal::new(move |publication| {
            let mut answers = answers.lock().unwrap();
            match publication {
                Publication::Answer(it) => drop(answers.insert(it.token.clone(), it)),
                Publication::Forget { token, .. } => drop(answers.remove(&token)),
            }
        })
    }

    /// That a certificate is for these names, and vouched for by the authority.
    pub(crate) async fn check(&self, record: &CertRecord, names: &[&str]) {
        let entry = Entry::new(record).unwrap();
        assert_eq!(entry.names(), names);
        let root = self.pebble.issuing_root().await;
        assert!(root.contains("BEGIN CERTIFICATE"));
        assert!(self.answers.lock().unwrap().is_empty(), "nothing is answered any longer");
    }
}

pub(crate) fn issuer(settings: AcmeSettings, dns: Arc<dyn Directory>) -> AcmeIssuer {
    AcmeIssuer::new(settings, dns, Clock::system()).unwrap()
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
