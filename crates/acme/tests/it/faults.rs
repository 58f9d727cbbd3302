//! Authorities that break down, refuse, or drag on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use acme::{Authority, Eab, Roots};
use certs::{Issuer, Journal, Stage, codes};
use model::Secret;
use testkit::{CaFront, Endpoint, Fault, Log};

use crate::journal::Fate;
use crate::world::{World, issue};

/// More than the library's own three tries bear in an order of a dozen requests.
#[tokio::test]
async fn refused_nonces_cost_no_order() {
    let world = World::with(|options| options.nonce_reject = 30).await;
    let (issuer, holder) = (world.issuer(), world.journal());
    for name in ["b.test", "c.test", "*.w.a.test"] {
        issue(&issuer, name, &holder).await.unwrap();
    }
    assert_eq!((world.pebble.orders(), world.pebble.certificates()), (3, 3));
}

#[tokio::test]
async fn an_authority_that_can_t_serve_is_passed_over_and_each_failure_is_told() {
    let world = World::start().await;
    let front = CaFront::start(&world.pebble);
    let issuer = world.issuer_by(vec![fronted(&front), fronted(&front), world.authority()], |_| {});
    let faults = [
        (Endpoint::Directory, Fault::Status(503), codes::UNREACHABLE, Stage::Account),
        (Endpoint::NewAccount, Fault::Status(500), codes::UNREACHABLE, Stage::Account),
        (Endpoint::NewOrder, Fault::Status(500), codes::UNREACHABLE, Stage::Order),
        (Endpoint::NewOrder, Fault::BadNonce, "badNonce", Stage::Order),
        (Endpoint::Finalize, Fault::Status(502), codes::UNREACHABLE, Stage::Finalize),
        (Endpoint::Certificate, Fault::Status(500), codes::UNREACHABLE, Stage::Download),
    ];
    for (endpoint, fault, code, stage) in faults {
        front.fail(endpoint, fault.clone(), usize::MAX);
        let holder = world.journal();
        let record = issue(&issuer, "b.test", &holder).await.unwrap();
        assert_eq!(*holder.tried.lock().unwrap(), [code, code], "{endpoint:?} {fault:?}");
        world.check(&record, &["b.test"]).await;
        holder.check_empty().await;
        // Alone it is the reason why there is none.
        let alone = world.issuer_by(vec![fronted(&front)], |_| {});
        let failure = issue(&alone, "b.test", &holder).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.stage), (code, stage), "{failure:?}");
        assert_eq!(failure.directory, Some(front.directory()));
        world.check_clear();
        // And when it is well again, the order it had begun is gone on with.
        front.heal();
        let orders = world.pebble.orders();
        let had_order = holder.kept_order().await.is_some();
        issue(&alone, "b.test", &holder).await.unwrap();
        assert_eq!(world.pebble.orders() - orders, usize::from(!had_order), "{endpoint:?}");
        holder.check_empty().await;
    }
}

/// What breaks down for a moment while an order is waited for costs nothing.
#[tokio::test]
async fn a_short_breakdown_is_waited_out() {
    let world = World::start().await;
    let front = CaFront::start(&world.pebble);
    front.fail(Endpoint::Order, Fault::Status(500), 2);
    let issuer = world.issuer_by(vec![fronted(&front)], |_| {});
    let record = issue(&issuer, "b.test", &world.journal()).await.unwrap();
    world.check(&record, &["b.test"]).await;
    assert_eq!(world.pebble.orders(), 1);
}

/// Told to come back later, nobody comes back earlier: not for this name here, and at this authority not for any.
#[tokio::test]
async fn retry_after_is_heeded() {
    let world = World::start().await;
    let front = CaFront::start(&world.pebble);
    let issuer = world.issuer_by(vec![fronted(&front)], |_| {});
    let holder = world.journal();
    front.fail(Endpoint::NewOrder, Fault::RateLimited(3600), 1);
    for _ in 0..3 {
        let failure = issue(&issuer, "b.test", &holder).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.stage), ("rateLimited", Stage::Order));
        let after = failure.retry_after.unwrap().as_secs();
        assert!((3590..=3600).contains(&after), "{after}");
        assert!(failure.problem.unwrap().contains("as the test wants it"));
    }
    assert_eq!(front.count(Endpoint::NewOrder), 1);
    // Another name is not concerned.
    issue(&issuer, "c.test", &holder).await.unwrap();
    // This one is of the authority, and for everybody.
    front.fail(Endpoint::Directory, Fault::RateLimited(3600), 1);
    let failure = issue(&issuer, "d.test", &holder).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.stage), ("rateLimited", Stage::Account));
    let asked = front.count(Endpoint::Directory);
    issue(&issuer, "e.test", &holder).await.unwrap_err();
    assert_eq!(front.count(Endpoint::Directory), asked);
}

#[tokio::test]
async fn a_proof_that_is_never_looked_at_ends_in_time_and_elsewhere() {
    let world = World::start().await;
    let front = CaFront::start(&world.pebble);
    front.fail(Endpoint::Challenge, Fault::NeverValid, usize::MAX);
    let impatient = |authorities| {
        world.issuer_by(authorities, |it| it.timeouts.validation = Duration::from_secs(2))
    };
    let holder = world.journal();
    let failure = issue(&impatient(vec![fronted(&front)]), "b.test", &holder).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.stage), (codes::TIMEOUT, Stage::Validation));
    world.check_clear();
    holder.check_empty().await;
    let both = impatient(vec![fronted(&front), world.authority()]);
    let record = issue(&both, "b.test", &holder).await.unwrap();
    world.check(&record, &["b.test"]).await;
}

/// The owner of the name wants another authority: that is no fault of the name, and the next of the list may be the one.
#[tokio::test]
async fn an_authority_that_caa_forbids_is_passed_over() {
    let world = World::start().await;
    let front = CaFront::start(&world.pebble);
    front.fail(Endpoint::Finalize, Fault::Refused("caa"), usize::MAX);
    let issuer = world.issuer_by(vec![fronted(&front), world.authority()], |_| {});
    let holder = world.journal();
    let record = issue(&issuer, "b.test", &holder).await.unwrap();
    assert_eq!(*holder.tried.lock().unwrap(), ["caa"]);
    world.check(&record, &["b.test"]).await;
    holder.check_empty().await;
}

/// A proxy that does not answer yet keeps the authority from being asked, and costs no order.
#[tokio::test]
async fn a_challenge_that_not_every_proxy_answers_is_not_validated() {
    let world = World::start().await;
    let holder = world.journal();
    let laggard = holder.doomed(1, Fate::Unserved);
    let failure = issue(&world.issuer(), "b.test", &laggard).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.stage), (codes::NOT_SERVED, Stage::Challenge));
    assert!(failure.detail.contains("slow-proxy"), "{failure}");
    world.check_clear();
    assert_eq!(world.visits(), 0);
    let record = issue(&world.issuer(), "b.test", &holder.next()).await.unwrap();
    world.check(&record, &["b.test"]).await;
    assert_eq!(world.pebble.orders(), 1);
}

/// The provider goes away before the value is removed: the certificate is good, and the value is removed the next time.
#[tokio::test]
async fn a_value_that_can_t_be_removed_is_not_forgotten() {
    let world = World::start().await;
    let (issuer, holder) = (world.issuer(), world.journal());
    world.zone.is_stuck.store(true, Ordering::SeqCst);
    issue(&issuer, "*.w.a.test", &holder).await.unwrap();
    let kept = holder.kept_order().await.unwrap();
    assert_eq!((kept.txt.len(), kept.url.as_str(), kept.key_pem.expose().as_str()), (2, "", ""));
    let failure = issuer.abandon(&holder).await.unwrap_err();
    assert_eq!(failure.code, codes::PROVIDER);
    // Another name: of one and the same, the authority may still know a proof.
    issue(&issuer, "*.v.a.test", &holder).await.unwrap();
    assert_eq!(holder.kept_order().await.unwrap().txt.len(), 4);
    world.zone.is_stuck.store(false, Ordering::SeqCst);
    issuer.abandon(&holder).await.unwrap();
    world.check_clear();
    holder.check_empty().await;
}

/// What must never be in a log: keys of accounts and certificates, and what binds an account.
#[tokio::test]
async fn logs_hold_no_secret() {
    let log = Log::start();
    let hmac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let world =
        World::with(|options| options.eab = Some(("kid-1".to_owned(), hmac.to_owned()))).await;
    let front = CaFront::start(&world.pebble);
    front.fail(Endpoint::Finalize, Fault::Status(500), 1);
    let mut authority = fronted(&front);
    let hmac = Secret::new(hmac.to_owned());
    authority.eab = Some(Eab { kid: "kid-1".to_owned(), hmac: hmac.clone() });
    let issuer = world.issuer_by(vec![authority], |_| {});
    let holder = world.journal();
    let failure = issue(&issuer, "*.w.a.test", &holder).await.unwrap_err();
    let record = issue(&issuer, "*.w.a.test", &holder).await.unwrap();
    let account = Journal::account(&holder, &front.directory()).await.unwrap().unwrap();
    let account: serde_json::Value = serde_json::from_str(account.expose()).unwrap();
    let log = log.text() + &format!("{failure:?}");
    assert!(log.contains("made an order") && log.contains("no certificate from this authority"));
    let key = record.key_pem.expose().lines().nth(1).unwrap();
    for secret in [hmac.expose().as_str(), account["key_pkcs8"].as_str().unwrap(), key] {
        assert!(secret.len() > 40);
        assert!(!log.contains(secret), "the log holds {secret}");
    }
}

#[tokio::test]
async fn a_limit_of_ours_keeps_an_order_from_being_made() {
    let world = World::start().await;
    let holder = world.journal();
    *holder.limit.lock().unwrap() = Some(Duration::from_secs(60));
    let failure = issue(&world.issuer(), "b.test", &holder).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.stage), (codes::LEDGER, Stage::Order));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(60)));
    assert!(failure.detail.contains("three orders a day"), "{failure}");
    assert_eq!(world.pebble.orders(), 0);
}

#[tokio::test]
async fn only_roots_that_were_named_are_trusted_and_only_https_is_spoken() {
    let world = World::start().await;
    let mut stranger = world.authority();
    let dir = tempfile::tempdir().unwrap();
    stranger.roots = Roots::File(testkit::stranger_ca(dir.path()));
    let failure = issue(&world.issuer_by(vec![stranger], |_| {}), "b.test", &world.journal()).await;
    let failure = failure.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.stage), (codes::UNREACHABLE, Stage::Account));
    // Two in one file: the second counts as well.
    let mut both = std::fs::read_to_string(testkit::stranger_ca(dir.path())).unwrap();
    both += &std::fs::read_to_string(world.pebble.api_root()).unwrap();
    let mut authority = world.authority();
    authority.roots = Roots::Pem(both);
    issue(&world.issuer_by(vec![authority], |_| {}), "b.test", &world.journal()).await.unwrap();

    let refused = |authority: Authority| {
        let settings = world.settings(vec![authority]);
        let dns = std::sync::Arc::new(crate::world::NoZones);
        acme::AcmeIssuer::new(settings, dns, runtime::Clock::system()).unwrap_err().to_string()
    };
    let plain = refused(Authority::new("http://localhost/dir"));
    assert!(plain.contains("no https URL"), "{plain}");
    let mut missing = Authority::new("https://localhost/dir");
    missing.roots = Roots::File(dir.path().join("none.pem"));
    let missing = refused(missing);
    assert!(missing.contains("none.pem"), "{missing}");
    let mut empty = Authority::new("https://localhost/dir");
    empty.roots = Roots::Pem("nothing".to_owned());
    assert!(refused(empty).contains("root CA"));
}

fn fronted(front: &CaFront) -> Authority {
    let mut authority = Authority::new(front.directory());
    authority.roots = Roots::File(front.root());
    authority
}
