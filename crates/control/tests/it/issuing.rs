//! Certificates of authorities elsewhere: who gets one, when, how often it is tried, and by whom. The authority is the
//! local one in disguise, and does what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certs::{
    BoxFuture, Failure, Issuer, Journal, JournalError, LocalCa, OrderState, RenewalWindow, Request,
    Stage, codes,
};
use control::{Actor, Conditions, Control, Error, Lifecycle, OrderLimits};
use futures_util::future::join_all;
use model::{CertRecord, CertSource, CertStatus, CertWanted, Secret, Timestamp};
use runtime::{Clock, Shutdown};
use store::{Domain, Expect, Issuance};
use tokio::sync::Semaphore;

use crate::world::{World, pattern, to};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const DIRECTORY: &str = "https://ca.example/directory";

/// An authority that does what it is told.
struct Authority {
    ca: LocalCa,
    clock: Clock,
    /// Every attempt, in order.
    asked: Mutex<Vec<String>>,
    /// What happens to the next attempts for a name; when nothing is said, a certificate is made.
    scripts: Mutex<BTreeMap<String, VecDeque<Script>>>,
    window: Mutex<Option<RenewalWindow>>,
    /// What a held-up attempt waits for.
    gate: Semaphore,
    /// Orders that were found in the journal at the beginning.
    found: Mutex<Vec<String>>,
    abandoned: Mutex<u32>,
}

enum Script {
    Fail(&'static str, Option<Duration>),
    /// Keeps an order in the journal, and waits at the gate.
    HoldUp,
}

impl Authority {
    fn new(clock: &Clock) -> Arc<Self> {
        let now = clock.now().into();
        Arc::new(Self {
            ca: LocalCa::generate(now).unwrap(),
            clock: clock.clone(),
            asked: Mutex::default(),
            scripts: Mutex::default(),
            window: Mutex::default(),
            gate: Semaphore::new(0),
            found: Mutex::default(),
            abandoned: Mutex::default(),
        })
    }

    fn script(&self, name: &str, script: Script) {
        self.scripts.lock().unwrap().entry(name.to_owned()).or_default().push_back(script);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn times(&self, name: &str) -> usize {
        self.asked().iter().filter(|asked| *asked == name).count()
    }

    async fn make(&self, request: &Request, journal: &dyn Journal) -> Result<CertRecord, Failure> {
        let name = request.name.as_str();
        self.asked.lock().unwrap().push(name.to_owned());
        if let Some(order) = journal.order().await.map_err(failed)? {
            self.found.lock().unwrap().push(order.url);
        }
        let script = self.scripts.lock().unwrap().get_mut(name).and_then(VecDeque::pop_front);
        match script {
            Some(Script::Fail(code, retry_after)) => {
                return Err(Failure { retry_after, ..failure(code) });
            }
            Some(Script::HoldUp) => {
                let order = OrderState {
                    directory: DIRECTORY.to_owned(),
                    url: format!("order of {name}"),
                    key_pem: Secret::new("a key".to_owned()),
                    txt: vec![],
                    challenges: vec![(name.to_owned(), "token".to_owned())],
                };
                journal.keep_order(&order).await.map_err(failed)?;
                self.gate.acquire().await.unwrap().forget();
                journal.keep_order(&order).await.map_err(failed)?;
            }
            None => {}
        }
        journal.admit_order(DIRECTORY).await.map_err(failed)?;
        let made = self.ca.issue(&request.name, self.clock.now().into()).unwrap();
        Ok(CertRecord { source: CertSource::Acme, ..made })
    }
}

fn failure(code: &str) -> Failure {
    Failure {
        stage: Stage::Validation,
        code: code.to_owned(),
        detail: format!("it is said that {code}"),
        problem: Some("{}".to_owned()),
        directory: Some(DIRECTORY.to_owned()),
        retry_after: None,
        source: None,
    }
}

fn failed(error: JournalError) -> Failure {
    match error {
        JournalError::Lost => failure(codes::LOST),
        JournalError::Limited { retry_after, .. } => {
            Failure { retry_after: Some(retry_after), ..failure(codes::LEDGER) }
        }
        other => panic!("{other:?}"),
    }
}

impl Issuer for Authority {
    fn issue<'a>(
        &'a self,
        request: &'a Request,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<CertRecord, Failure>> {
        Box::pin(self.make(request, journal))
    }

    fn renewal_window<'a>(
        &'a self,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<RenewalWindow>, Failure>> {
        Box::pin(async { Ok(*self.window.lock().unwrap()) })
    }

    fn abandon<'a>(&'a self, journal: &'a dyn Journal) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            *self.abandoned.lock().unwrap() += 1;
            journal.forget_order().await.map_err(failed)
        })
    }
}

fn lifecycle(authority: &Arc<Authority>, limits: OrderLimits) -> Lifecycle {
    Lifecycle {
        issuer: authority.clone(),
        key_kind: certs::KeyKind::default(),
        limits: vec![(DIRECTORY.to_owned(), limits)],
    }
}

/// Runs a test while replicas look after the certificates.
async fn while_running(
    replicas: &[&Control],
    authority: &Arc<Authority>,
    test: impl Future<Output = ()>,
) {
    let shutdown = Shutdown::new();
    let running = replicas.iter().map(|control| {
        let lifecycle = Some(lifecycle(authority, OrderLimits::NONE));
        (*control).clone().run(shutdown.clone(), lifecycle)
    });
    let test = async {
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("nothing came of it");
        shutdown.drain();
    };
    tokio::join!(join_all(running), test);
}

impl World {
    async fn by_authority(&self, name: &str) -> Option<CertRecord> {
        let found = self.store.get::<CertRecord>(name).await.unwrap().map(|found| found.value);
        found.filter(|cert| cert.source == CertSource::Acme)
    }

    async fn tried(&self, name: &str) -> Option<Issuance> {
        self.store.get::<Issuance>(name).await.unwrap().map(|found| found.value)
    }

    /// Waits for the store to be as it should; time passes in small steps meanwhile.
    async fn soon<T>(&self, look: impl AsyncFn() -> Option<T>) -> T {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            self.hand.advance(Duration::from_millis(250));
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Lets everything run that can, while so much time passes in steps of a second.
    async fn pass(&self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.hand.advance(Duration::from_secs(1));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn public_host(&self, admin: &Actor, name: &str) {
        self.control.hosts().create(admin, pattern(name), to(&[]), false).await.unwrap();
    }

    async fn wish(&self, name: &str) {
        let wanted_at = Timestamp::from(self.clock.now());
        let wanted = CertWanted { name: name.parse().unwrap(), wanted_at };
        self.store.put(&wanted, Expect::Any).await.unwrap();
    }

    async fn zone(&self, name: &str) {
        let domain = Domain {
            name: name.to_owned(),
            provider: "main".to_owned(),
            zone_id: "1".to_owned(),
            seen_at: Timestamp::from_millis(0),
        };
        self.store.put(&domain, Expect::Any).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_gets_its_certificate_at_its_creation_and_loses_it_with_its_deletion() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    while_running(&[&world.control], &authority, async {
        for name in ["a.example.com", "b.example.com"] {
            world.public_host(&admin, name).await;
            world.soon(async || world.by_authority(name).await).await;
            let view = world.control.hosts().get(&admin, &pattern(name)).await.unwrap();
            assert_eq!(view.certificate_status, CertStatus::Valid);
        }
        let tried = world.tried("a.example.com").await.unwrap();
        assert_eq!((tried.attempts.len(), tried.failures, tried.order), (1, 0, None));
        let gone = pattern("a.example.com");
        world.control.hosts().delete(&admin, &gone, &Conditions::default()).await.unwrap();
        world
            .soon(async || world.by_authority("a.example.com").await.is_none().then_some(()))
            .await;
        world.soon(async || world.tried("a.example.com").await.is_none().then_some(())).await;
        assert!(world.by_authority("b.example.com").await.is_some());
    })
    .await;
    assert_eq!(authority.asked(), ["a.example.com", "b.example.com"]);
}

#[tokio::test]
async fn among_replicas_there_is_one_order_for_a_name() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    let others = [world.replica(), world.replica()];
    while_running(&[&world.control, &others[0], &others[1]], &authority, async {
        let names: Vec<_> = (0..50).map(|number| format!("n{number}.example.com")).collect();
        join_all(names.iter().map(|name| world.public_host(&admin, name))).await;
        for name in &names {
            world.soon(async || world.by_authority(name).await).await;
        }
        world.pass(Duration::from_secs(30)).await;
    })
    .await;
    assert_eq!(authority.asked().len(), 50, "{:?}", authority.asked());
}

#[tokio::test]
async fn a_failure_delays_its_own_name_only_and_is_not_repeated_early() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    authority.script("bad.example.com", Script::Fail("dns", None));
    authority.script("bad.example.com", Script::Fail("rateLimited", Some(MINUTE * 30)));
    while_running(&[&world.control], &authority, async {
        let failures = async |wanted: u32| {
            world
                .soon(async || {
                    let tried = world.tried("bad.example.com").await?;
                    (tried.failures == wanted).then_some(tried)
                })
                .await
        };
        world.public_host(&admin, "bad.example.com").await;
        let tried = failures(1).await;
        let told = tried.last_failure().unwrap();
        assert_eq!((told.code.as_str(), told.stage.as_str()), ("dns", "validation"));
        assert_eq!(told.problem.as_deref(), Some("{}"));
        world.public_host(&admin, "good.example.com").await;
        world.soon(async || world.by_authority("good.example.com").await).await;
        let view = world.control.hosts().get(&admin, &pattern("bad.example.com")).await.unwrap();
        assert_eq!(view.certificate_status, CertStatus::Failed);
        let status = world.control.status(&admin).await.unwrap();
        assert_eq!((status.failing, status.failing_list[0].code.as_str()), (1, "dns"));

        world.pass(MINUTE + Duration::from_secs(50)).await;
        assert_eq!(authority.times("bad.example.com"), 1);
        failures(2).await;
        // The authority said when: neither the own rule nor an impatient person goes below.
        let early = world.control.certs().renew(&admin, &pattern("bad.example.com")).await;
        assert!(matches!(early, Err(Error::RateLimited { .. })), "{early:?}");
        world.pass(MINUTE * 29).await;
        assert_eq!(authority.times("bad.example.com"), 2);
        world.soon(async || world.by_authority("bad.example.com").await).await;
        assert_eq!(world.tried("bad.example.com").await.unwrap().failures, 0);
    })
    .await;
}

#[tokio::test]
async fn someone_who_asks_for_a_renewal_gets_it_at_once() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    authority.script("a.example.com", Script::Fail("connection", None));
    while_running(&[&world.control], &authority, async {
        world.public_host(&admin, "a.example.com").await;
        world.soon(async || world.tried("a.example.com").await.filter(|it| it.failures == 1)).await;
        let renew = async |name: &str| world.control.certs().renew(&admin, &pattern(name)).await;
        renew("a.example.com").await.unwrap();
        let first = world.soon(async || world.by_authority("a.example.com").await).await;
        renew("a.example.com").await.unwrap();
        world
            .soon(async || {
                let next = world.by_authority("a.example.com").await?;
                (next.chain_pem != first.chain_pem).then_some(())
            })
            .await;

        assert!(matches!(renew("none.example.com").await, Err(Error::NotFound(_))));
        world.public_host(&admin, "**.example.com").await;
        assert!(matches!(renew("**.example.com").await, Err(Error::Refused(_))));
        world.public_host(&admin, "app.localhost").await;
        let local = async || world.store.get::<CertRecord>("app.localhost").await.unwrap();
        let first = world.soon(async || local().await).await.value.chain_pem;
        renew("app.localhost").await.unwrap();
        assert_ne!(local().await.unwrap().value.chain_pem, first);
    })
    .await;
    assert_eq!(authority.times("a.example.com"), 3);
}

#[tokio::test]
async fn it_is_renewed_when_a_third_of_its_life_is_left_or_when_its_authority_wants() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    while_running(&[&world.control], &authority, async {
        world.public_host(&admin, "a.example.com").await;
        let first = world.soon(async || world.by_authority("a.example.com").await).await;
        let life = first.not_after.since(first.not_before);
        let view = world.control.certs().get(&admin, &pattern("a.example.com")).await.unwrap();
        let renew_at = view.cert.unwrap().renew_at.unwrap();
        let left = first.not_after.since(renew_at);
        assert!(left >= life / 3 && left <= life / 3 + life / 30, "{left:?} of {life:?}");
        world.hand.advance(DAY * 50);
        world.pass(Duration::from_secs(5)).await;
        assert_eq!(authority.times("a.example.com"), 1);

        // Asked again after a day, it says: the day after the next.
        let now = Timestamp::from(world.clock.now());
        let window = RenewalWindow {
            start: now.plus(DAY * 2),
            end: now.plus(DAY * 3),
            ask_again: Duration::from_secs(6 * 3600),
        };
        *authority.window.lock().unwrap() = Some(window);
        world.hand.advance(DAY + MINUTE);
        world.soon(async || world.tried("a.example.com").await?.window?.start).await;
        world.hand.advance(DAY * 2);
        world.soon(async || (authority.times("a.example.com") == 2).then_some(())).await;
        let second = world.soon(async || {
            world.by_authority("a.example.com").await.filter(|it| it.not_after > first.not_after)
        });
        assert!(second.await.not_before < window.end);
        assert_eq!(world.tried("a.example.com").await.unwrap().window, None);
    })
    .await;
}

#[tokio::test]
async fn a_wildcard_waits_for_a_zone_and_then_serves_the_names_beside_it() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    while_running(&[&world.control], &authority, async {
        world.public_host(&admin, "*.example.com").await;
        world.pass(Duration::from_secs(3)).await;
        assert_eq!(authority.asked(), Vec::<String>::new());
        world.zone("example.com").await;
        world.soon(async || world.by_authority("*.example.com").await).await;
        for name in ["www.example.com", "example.com", "a.b.example.com"] {
            world.public_host(&admin, name).await;
        }
        world.soon(async || world.by_authority("a.b.example.com").await).await;
        let view = world.control.hosts().get(&admin, &pattern("www.example.com")).await.unwrap();
        assert_eq!(view.certificate_status, CertStatus::Valid);
        // Without its wildcard each needs its own.
        let wildcard = pattern("*.example.com");
        world.control.hosts().delete(&admin, &wildcard, &Conditions::default()).await.unwrap();
        world.soon(async || world.by_authority("www.example.com").await).await;
        world.soon(async || world.by_authority("example.com").await).await;
        assert!(world.by_authority("*.example.com").await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_name_under_a_pattern_gets_one_on_demand_and_not_too_many_do() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    while_running(&[&world.control], &authority, async {
        world.public_host(&admin, "**.example.com").await;
        world.wish("a.b.example.com").await;
        world.soon(async || world.by_authority("a.b.example.com").await).await;
        world.wish("a.example.org").await;
        world.pass(Duration::from_secs(3)).await;
        assert_eq!(authority.asked(), ["a.b.example.com"], "it is routed nowhere");
        for number in 0..40 {
            world.wish(&format!("n{number}.example.com")).await;
        }
        world.pass(Duration::from_secs(10)).await;
        assert_eq!(authority.asked().len(), 20, "of one domain in an hour");
        world.hand.advance(MINUTE * 61);
        world.wish("late.example.com").await;
        world.soon(async || world.by_authority("late.example.com").await).await;
        // It goes with the pattern that answered for it.
        let pattern = pattern("**.example.com");
        world.control.hosts().delete(&admin, &pattern, &Conditions::default()).await.unwrap();
        world
            .soon(async || world.by_authority("late.example.com").await.is_none().then_some(()))
            .await;
    })
    .await;
}

#[tokio::test]
async fn who_lost_the_lease_commits_nothing() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    authority.script("a.example.com", Script::HoldUp);
    let name = pattern("a.example.com");
    world.public_host(&admin, "a.example.com").await;
    while_running(&[&world.control], &authority, async {
        world.soon(async || world.tried("a.example.com").await?.order).await;
        // Somebody else takes over, as if this one had stood still.
        let mut record = world.tried("a.example.com").await.unwrap();
        record.fence += 1_000;
        world.store.put(&record, Expect::Any).await.unwrap();
        authority.gate.add_permits(1);
        world.pass(Duration::from_secs(3)).await;
        assert!(world.by_authority("a.example.com").await.is_none());
        assert_eq!(world.tried(name.as_str()).await.unwrap().attempts, [], "not its to tell");
    })
    .await;
}

#[tokio::test]
async fn who_stops_gives_its_work_back_and_the_next_goes_on_with_the_order() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    authority.script("a.example.com", Script::HoldUp);
    world.public_host(&admin, "a.example.com").await;
    while_running(&[&world.control], &authority, async {
        world.soon(async || world.tried("a.example.com").await?.order).await;
    })
    .await;
    let sealed = world.tried("a.example.com").await.unwrap();
    assert_eq!(sealed.order_key, Some(Secret::new("a key".to_owned())));
    let before = world.clock.now();
    let other = world.replica();
    while_running(&[&other], &authority, async {
        world.soon(async || world.by_authority("a.example.com").await).await;
    })
    .await;
    let waited = world.clock.now().duration_since(before).unwrap();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    assert_eq!(*authority.found.lock().unwrap(), ["order of a.example.com"]);
    assert_eq!(world.tried("a.example.com").await.unwrap().order, None);
}

#[tokio::test]
async fn an_order_of_a_host_that_is_gone_is_cleared_away() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    authority.script("a.example.com", Script::HoldUp);
    world.public_host(&admin, "a.example.com").await;
    while_running(&[&world.control], &authority, async {
        world.soon(async || world.tried("a.example.com").await?.order).await;
    })
    .await;
    let gone = pattern("a.example.com");
    world.control.hosts().delete(&admin, &gone, &Conditions::default()).await.unwrap();
    while_running(&[&world.control], &authority, async {
        world.soon(async || world.tried("a.example.com").await.is_none().then_some(())).await;
    })
    .await;
    assert_eq!(*authority.abandoned.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_published_limit_is_never_reached() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    let limits = OrderLimits { per_domain: Some((3, DAY)), ..OrderLimits::NONE };
    let shutdown = Shutdown::new();
    let lifecycle = Some(lifecycle(&authority, limits));
    let running = world.control.clone().run(shutdown.clone(), lifecycle);
    let test = async {
        for number in 0..5 {
            world.public_host(&admin, &format!("n{number}.example.com")).await;
        }
        world.public_host(&admin, "other.example.org").await;
        world.soon(async || world.by_authority("other.example.org").await).await;
        world.pass(Duration::from_secs(5)).await;
        let status = world.control.status(&admin).await.unwrap();
        assert_eq!((status.certificates, status.failing), (4, 2));
        let failing = &status.failing_list[0];
        assert_eq!(failing.code, codes::LEDGER);
        let wait = failing.retry_at.unwrap().since(world.clock.now().into());
        assert!(wait > DAY - MINUTE, "{wait:?}");
        shutdown.drain();
    };
    tokio::join!(running, test);
}

#[tokio::test]
async fn an_uploaded_certificate_is_kept_and_goes_with_its_host() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    let name = pattern("a.example.com");
    let made = authority.ca.issue(&name, world.clock.now().into()).unwrap();
    let certs = world.control.certs();
    let any = Conditions::default();
    certs.upload(&admin, &name, &made.chain_pem, &made.key_pem, &any).await.unwrap();
    while_running(&[&world.control], &authority, async {
        world.public_host(&admin, "a.example.com").await;
        world.public_host(&admin, "b.example.com").await;
        world.soon(async || world.by_authority("b.example.com").await).await;
        let view = certs.get(&admin, &name).await.unwrap().cert.unwrap();
        assert_eq!((view.source, view.renew_at), (CertSource::Custom, None));
        let other = pattern("b.example.com");
        let wrong = certs.upload(&admin, &other, &made.chain_pem, &made.key_pem, &any).await;
        assert!(matches!(wrong, Err(Error::Invalid { .. })));
        let exported = certs.export(&admin, &name).await.unwrap();
        assert_eq!(exported.key_pem, made.key_pem);
        world.control.hosts().delete(&admin, &name, &Conditions::default()).await.unwrap();
        assert!(world.store.get::<CertRecord>("a.example.com").await.unwrap().is_none());
        assert!(world.by_authority("b.example.com").await.is_some());
        let page = certs.list(&admin, None, 10).await.unwrap();
        assert_eq!(page.certs.len(), 1);
    })
    .await;
    assert_eq!(authority.asked(), ["b.example.com"]);
}

/// A wildcard's own certificate covers the name above it, too; an uploaded one may not. It was taken for granted, and a
/// host of that name went without.
#[tokio::test]
async fn an_uploaded_wildcard_serves_only_the_names_that_it_covers() {
    let world = World::new();
    let admin = world.admin().await;
    let authority = Authority::new(&world.clock);
    let wildcard = pattern("*.example.com");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![wildcard.to_string()]).unwrap();
    params.not_before = world.clock.now().into();
    params.not_after = (world.clock.now() + 90 * DAY).into();
    let chain = params.self_signed(&key).unwrap().pem();
    let secret = Secret::new(key.serialize_pem());
    let any = Conditions::default();
    world.control.certs().upload(&admin, &wildcard, &chain, &secret, &any).await.unwrap();
    while_running(&[&world.control], &authority, async {
        for name in ["*.example.com", "www.example.com", "example.com"] {
            world.public_host(&admin, name).await;
        }
        world.soon(async || world.by_authority("example.com").await).await;
        for name in ["www.example.com", "example.com"] {
            let view = world.control.hosts().get(&admin, &pattern(name)).await.unwrap();
            assert_eq!(view.certificate_status, CertStatus::Valid, "{name}");
        }
    })
    .await;
    assert_eq!(authority.asked(), ["example.com"]);
}
