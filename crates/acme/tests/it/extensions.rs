//! What an authority may offer or ask for beyond RFC 8555's core.

use std::time::Duration;

use acme::{Authority, Eab, Roots};
use certs::{Issuer, Request, Stage, codes};
use model::{Secret, Timestamp};
use testkit::{CaFront, Endpoint};

use crate::world::{World, issue, request};

/// The authority makes accounts only for customers that it knows.
#[tokio::test]
async fn an_account_is_bound_to_an_external_one() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let world =
        World::with(|options| options.eab = Some(("kid-1".to_owned(), key.to_owned()))).await;
    let failure = issue(&world.issuer(), "b.test", &world.journal()).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Account);
    assert_eq!(failure.code, "externalAccountRequired");
    let bound = |kid: &str, key: String| {
        let mut authority = world.authority();
        authority.eab = Some(Eab { kid: kid.to_owned(), hmac: Secret::new(key) });
        authority
    };
    let issuer = world.issuer_by(vec![bound("kid-1", format!("{key}=="))], |_| {});
    let shown = format!("{issuer:?}");
    assert!(!shown.contains(key), "{shown}");
    let record = issue(&issuer, "b.test", &world.journal()).await.unwrap();
    world.check(&record, &["b.test"]).await;

    let settings = world.settings(vec![bound("kid-1", "not base64 at all!".to_owned())]);
    let error = acme::AcmeIssuer::new(
        settings,
        std::sync::Arc::new(crate::world::NoZones),
        runtime::Clock::system(),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("external account key") && !error.contains("not base64 at"), "{error}");
}

#[tokio::test]
async fn an_order_asks_for_the_profile_and_only_for_one_that_is_offered() {
    let world = World::start().await;
    let front = CaFront::start(&world.pebble);
    let with = |profile: &str| {
        let mut authority = Authority::new(front.directory());
        authority.roots = Roots::File(front.root());
        authority.profile = Some(profile.to_owned());
        world.issuer_by(vec![authority], |_| {})
    };
    let holder = world.journal();
    front.offer_profiles(&["classic", "shortlived"]);
    issue(&with("shortlived"), "b.test", &holder).await.unwrap();
    let orders = front.payloads(Endpoint::NewOrder);
    assert_eq!(orders.last().unwrap()["profile"], "shortlived");
    let failure = issue(&with("tlsserver"), "b.test", &holder).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.stage), (codes::CONFIGURATION, Stage::Order));
    assert!(failure.detail.contains("classic, shortlived"), "{failure}");
    assert_eq!(world.pebble.orders(), 1);
}

/// RFC 9773: when to renew, and telling the authority which certificate the new one replaces.
#[tokio::test]
async fn the_authority_says_when_to_renew_and_hears_what_is_replaced() {
    let world = World::start().await;
    let front = CaFront::start(&world.pebble);
    let mut authority = Authority::new(front.directory());
    authority.roots = Roots::File(front.root());
    // One that knows nothing of it is asked first, and passed over.
    let issuer = world.issuer_by(vec![authority.clone(), world.authority()], |_| {});
    let holder = world.journal();
    let first = issue(&issuer, "b.test", &holder).await.unwrap();
    assert_eq!(issuer.renewal_window(&first.chain_pem).await.unwrap(), None);

    front.renew_between("2027-01-02T03:04:05Z", "2027-01-03T03:04:05Z", 3600);
    let issuer = world.issuer_by(vec![world.authority(), authority], |_| {});
    let window = issuer.renewal_window(&first.chain_pem).await.unwrap().unwrap();
    assert_eq!(window.start, Timestamp::from_millis(1_798_859_045_000));
    assert_eq!(window.end, Timestamp::from_millis(1_798_945_445_000));
    assert_eq!(window.ask_again, Duration::from_secs(3600));
    // A day at most, whatever it says; and a window that ends before it begins is none.
    front.renew_between("2027-01-02T03:04:05Z", "2027-01-03T03:04:05Z", 3_600_000);
    let window = issuer.renewal_window(&first.chain_pem).await.unwrap().unwrap();
    assert_eq!(window.ask_again, Duration::from_secs(24 * 60 * 60));
    front.renew_between("2027-01-03T03:04:05Z", "2027-01-02T03:04:05Z", 3600);
    assert_eq!(issuer.renewal_window(&first.chain_pem).await.unwrap(), None);
    assert_eq!(issuer.renewal_window("no chain").await.unwrap(), None);

    let mut authority = Authority::new(front.directory());
    authority.roots = Roots::File(front.root());
    let issuer = world.issuer_by(vec![authority], |_| {});
    let renewal = Request { replaces: Some(first.chain_pem.clone()), ..request("b.test") };
    let second = Issuer::issue(&issuer, &renewal, &holder).await.unwrap();
    assert_ne!(second.chain_pem, first.chain_pem);
    let orders = front.payloads(Endpoint::NewOrder);
    let replaces = orders.last().unwrap()["replaces"].as_str().unwrap().to_owned();
    assert!(replaces.contains('.') && !replaces.contains('='), "{replaces}");
    let asked = front.count(Endpoint::RenewalInfo);
    println!("replaces {replaces}, {asked} questions");
}
