use std::time::Duration;

use control::{Actor, Conditions, Control, HostPatch};
use model::{CertRecord, CertSource, CertStatus, CertWanted, CertificateMode, Timestamp};
use runtime::Shutdown;
use store::{Expect, LocalCaRecord, Versioned};

use crate::world::{World, pattern, to};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Runs a test while replicas look after the certificates.
async fn while_running(replicas: &[&Control], test: impl Future<Output = ()>) {
    let shutdown = Shutdown::new();
    let running = replicas.iter().map(|control| (*control).clone().run(shutdown.clone(), None));
    let test = async {
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("nothing came of it");
        shutdown.drain();
    };
    tokio::join!(futures_util::future::join_all(running), test);
}

impl World {
    async fn cert(&self, name: &str) -> Option<Versioned<CertRecord>> {
        self.store.get::<CertRecord>(name).await.unwrap()
    }

    /// Waits for the store to be as it should.
    async fn until<T>(&self, look: impl AsyncFn() -> Option<T>) -> T {
        let mut hints = self.store.backend().watch();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            hints.next().await;
        }
    }

    async fn host(&self, admin: &Actor, name: &str) {
        self.control.hosts().create(admin, pattern(name), to(&[]), false).await.unwrap();
    }

    async fn want(&self, name: &str) {
        let wanted_at = Timestamp::from(self.clock.now());
        let wanted = CertWanted { name: name.parse().unwrap(), wanted_at };
        self.store.put(&wanted, Expect::Any).await.unwrap();
    }

    async fn names(&self) -> Vec<String> {
        let page = self.store.list::<CertRecord>(None, 500).await.unwrap();
        page.records.iter().map(|found| found.value.name.to_string()).collect()
    }
}

#[tokio::test]
async fn a_local_host_gets_a_certificate_that_the_root_vouches_for() {
    let world = World::new();
    let admin = world.admin().await;
    world.host(&admin, "before.localhost").await;
    while_running(&[&world.control], async {
        world.host(&admin, "app.localhost").await;
        for name in ["before.localhost", "app.localhost"] {
            let cert = world.until(async || world.cert(name).await).await.value;
            assert_eq!(cert.source, CertSource::Local);
            let entry = certs::inspect(name, &cert.chain_pem).unwrap();
            assert_eq!(entry.not_after, cert.not_after);
            let view = world.control.hosts().get(&admin, &pattern(name)).await.unwrap();
            assert_eq!(view.certificate_status, CertStatus::Valid);
        }
        world.host(&admin, "public.example.com").await;
        world.host(&admin, "last.localhost").await;
        world.until(async || world.cert("last.localhost").await).await;
        assert!(world.cert("public.example.com").await.is_none(), "that is for others to issue");
    })
    .await;
    let root = world.control.ca_root_pem().await.unwrap();
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(!root.contains("PRIVATE"));
}

#[tokio::test]
async fn two_replicas_share_one_authority_and_issue_once() {
    let world = World::new();
    let admin = world.admin().await;
    let other = world.replica();
    let (one, two) = tokio::join!(world.control.ca_root_pem(), other.ca_root_pem());
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(world.store.list::<LocalCaRecord>(None, 9).await.unwrap().records.len(), 1);

    while_running(&[&world.control, &other], async {
        world.host(&admin, "app.localhost").await;
        let first = world.until(async || world.cert("app.localhost").await).await;
        world.host(&admin, "next.localhost").await;
        world.until(async || world.cert("next.localhost").await).await;
        assert_eq!(world.cert("app.localhost").await.unwrap().etag, first.etag);
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_replaced_after_two_thirds_of_its_life() {
    let world = World::new();
    let admin = world.admin().await;
    while_running(&[&world.control], async {
        world.host(&admin, "app.localhost").await;
        let first = world.until(async || world.cert("app.localhost").await).await;
        world.hand.advance(DAY * 59);
        world.host(&admin, "other.localhost").await;
        world.until(async || world.cert("other.localhost").await).await;
        assert_eq!(world.cert("app.localhost").await.unwrap().etag, first.etag, "too early");

        world.hand.advance(DAY * 2);
        let renewed = world
            .until(async || world.cert("app.localhost").await.filter(|now| now.etag != first.etag))
            .await;
        assert!(renewed.value.not_after > first.value.not_after);
    })
    .await;
}

#[tokio::test]
async fn a_name_under_a_local_pattern_gets_one_when_a_client_asks_and_no_other_name_does() {
    let world = World::new();
    let admin = world.admin().await;
    world.host(&admin, "*.apps.test").await;
    world.host(&admin, "*.example.com").await;
    while_running(&[&world.control], async {
        for name in ["a.example.com", "stranger.test", "deep.er.apps.test", "ok.apps.test"] {
            world.want(name).await;
        }
        world.until(async || world.cert("ok.apps.test").await).await;
        world.want("then.apps.test").await;
        world.until(async || world.cert("then.apps.test").await).await;
        assert_eq!(world.names().await, ["ok.apps.test", "then.apps.test"]);
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_wishes_is_answered_at_a_bounded_rate() {
    let world = World::new();
    let admin = world.admin().await;
    world.host(&admin, "*.apps.test").await;
    for n in 0..60 {
        world.want(&format!("n{n}.apps.test")).await;
    }
    while_running(&[&world.control], async {
        world.until(async || (world.names().await.len() == 20).then_some(())).await;
        // A host of its own is not held up by them.
        world.host(&admin, "mine.test").await;
        world.until(async || world.cert("mine.test").await).await;
        assert_eq!(world.names().await.len(), 21);
        world.hand.advance(Duration::from_secs(1));
        world.until(async || (world.names().await.len() == 31).then_some(())).await;
    })
    .await;
}

#[tokio::test]
async fn certificates_of_nobody_are_dropped_and_those_of_others_are_left_alone() {
    let world = World::new();
    let admin = world.admin().await;
    let (hosts, any) = (world.control.hosts(), Conditions::default());
    while_running(&[&world.control], async {
        world.host(&admin, "a.test").await;
        world.host(&admin, "*.apps.test").await;
        world.until(async || world.cert("a.test").await).await;
        world.want("x.apps.test").await;
        world.until(async || world.cert("x.apps.test").await).await;

        hosts.delete(&admin, &pattern("a.test"), &any).await.unwrap();
        world.until(async || world.cert("a.test").await.is_none().then_some(())).await;
        let off = HostPatch { enabled: Some(false), ..HostPatch::default() };
        hosts.patch(&admin, &pattern("*.apps.test"), off, &any).await.unwrap();
        world.until(async || world.cert("x.apps.test").await.is_none().then_some(())).await;

        // An uploaded certificate goes with its own host only.
        let authority = certs::LocalCa::generate(Timestamp::from(world.clock.now())).unwrap();
        let now = Timestamp::from(world.clock.now());
        let mut custom = authority.issue(&pattern("c.test"), now).unwrap();
        custom.source = CertSource::Custom;
        world.store.put(&custom, Expect::Absent).await.unwrap();
        world.host(&admin, "c.test").await;
        world.host(&admin, "d.test").await;
        hosts.delete(&admin, &pattern("d.test"), &any).await.unwrap();
        world.host(&admin, "last.test").await;
        world.until(async || world.cert("last.test").await).await;
        assert_eq!(world.cert("c.test").await.unwrap().value.source, CertSource::Custom);
        hosts.delete(&admin, &pattern("c.test"), &any).await.unwrap();
        assert!(world.cert("c.test").await.is_none());
    })
    .await;
}

#[tokio::test]
async fn the_mode_decides_not_the_name_alone() {
    let world = World::new();
    let admin = world.admin().await;
    let any = Conditions::default();
    let mode = |certificate| HostPatch { certificate: Some(certificate), ..HostPatch::default() };
    while_running(&[&world.control], async {
        let hosts = world.control.hosts();
        world.host(&admin, "intranet.example.com").await;
        let local = mode(CertificateMode::Local);
        hosts.patch(&admin, &pattern("intranet.example.com"), local, &any).await.unwrap();
        world.until(async || world.cert("intranet.example.com").await).await;
        let none = mode(CertificateMode::None);
        hosts.patch(&admin, &pattern("intranet.example.com"), none, &any).await.unwrap();
        world
            .until(async || world.cert("intranet.example.com").await.is_none().then_some(()))
            .await;
    })
    .await;
}

#[tokio::test]
async fn status_tells_what_is_due() {
    let world = World::new();
    let admin = world.admin().await;
    while_running(&[&world.control], async {
        world.host(&admin, "app.localhost").await;
        world.until(async || world.cert("app.localhost").await).await;
    })
    .await;
    let status = world.control.status(&admin).await.unwrap();
    assert_eq!((status.certificates, status.due), (1, 0));
    assert_eq!(status.tasks[0].name, "local certificates");
    world.hand.advance(DAY * 61);
    let admin = world.login("admin").await;
    let status = world.control.status(&admin).await.unwrap();
    assert_eq!(status.due, 1);
    assert_eq!(status.due_list[0].name, "app.localhost");
}
