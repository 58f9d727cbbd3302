use std::net::IpAddr;
use std::time::Duration;

use control::Error;
use model::SessionToken;

use crate::world::{World, secret, user};

const HOUR: Duration = Duration::from_secs(3600);
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn a_session_lasts_twelve_hours_and_is_stored_as_a_hash_only() {
    let world = World::new();
    world.admin().await;
    let login = world.control.login("admin", secret("correct horse"), HERE).await.unwrap();
    let token = login.token.expose();

    let stored = world.store.list::<SessionToken>(None, 10).await.unwrap();
    assert!(stored.bad.is_empty());
    assert!(stored.records.iter().any(|found| found.value.hash == login.token.hash()));
    assert!(stored.records.iter().all(|found| !found.value.hash.contains(token)));

    world.hand.advance(HOUR * 12 - Duration::from_secs(1));
    assert_eq!(world.control.authenticate(token).await.unwrap().username(), &user("admin"));
    world.hand.advance(Duration::from_secs(1));
    assert!(matches!(world.control.authenticate(token).await, Err(Error::Unauthorised)));
}

#[tokio::test]
async fn every_way_to_be_nobody_looks_the_same() {
    let world = World::new();
    world.admin().await;
    for (name, password) in [
        ("admin", "wrong horse"),
        ("nobody", "correct horse"),
        ("no such name!", "correct horse"),
        ("", ""),
        ("admin", "correct horse\0"),
        ("admin", &"x".repeat(5000)),
    ] {
        let outcome = world.control.login(name, secret(password), HERE).await;
        assert!(matches!(outcome, Err(Error::Unauthorised)), "{name:?}");
    }
    for token in ["", "gw_", "gw_0000000000000000000000000000000000000000000", "x y"] {
        let outcome = world.control.authenticate(token).await;
        assert!(matches!(outcome, Err(Error::Unauthorised)), "{token:?}");
    }
}

#[tokio::test]
async fn logging_out_ends_this_session_and_no_other() {
    let world = World::new();
    world.admin().await;
    let login = || world.control.login("admin", secret("correct horse"), HERE);
    let (one, two) = (login().await.unwrap(), login().await.unwrap());
    let actor = world.control.authenticate(one.token.expose()).await.unwrap();
    world.control.logout(&actor).await.unwrap();
    assert!(world.control.authenticate(one.token.expose()).await.is_err());
    assert!(world.control.authenticate(two.token.expose()).await.is_ok());
}

#[tokio::test]
async fn an_account_takes_five_attempts_a_minute_over_all_replicas() {
    let world = World::new();
    world.control.bootstrap(&user("admin"), Some(secret("correct horse"))).await.unwrap();
    let replicas = [world.control.clone(), world.replica()];
    let attempt = async |n: usize| {
        let from = IpAddr::from([10, 0, 0, u8::try_from(n).unwrap()]);
        replicas[n % 2].login("admin", secret("wrong horse"), from).await.map(drop)
    };
    for n in 0..5 {
        assert!(matches!(attempt(n).await, Err(Error::Unauthorised)), "{n}");
    }
    for n in 5..8 {
        let Err(Error::RateLimited { retry_after }) = attempt(n).await else { panic!("{n}") };
        assert_eq!(retry_after, Duration::from_secs(60));
    }
    // Not even with the right password, but from another account.
    let right = world.control.login("admin", secret("correct horse"), HERE).await;
    assert!(matches!(right, Err(Error::RateLimited { .. })));
    let other = world.control.login("other", secret("correct horse"), HERE).await;
    assert!(matches!(other, Err(Error::Unauthorised)));

    world.hand.advance(Duration::from_secs(60));
    assert!(world.control.login("admin", secret("correct horse"), HERE).await.is_ok());
}

#[tokio::test]
async fn an_address_takes_twenty_attempts_a_minute_and_a_v6_network_is_one_address() {
    let world = World::new();
    for (first, second) in [("10.1.2.3", "::ffff:10.1.2.3"), ("2001:db8::1", "2001:db8::2:0:0:9")] {
        let addresses: [IpAddr; 2] = [first.parse().unwrap(), second.parse().unwrap()];
        for n in 0..20 {
            let name = format!("user{n}");
            let outcome = world.control.login(&name, secret("x"), addresses[n % 2]).await;
            assert!(matches!(outcome, Err(Error::Unauthorised)), "{n}");
        }
        let outcome = world.control.login("more", secret("x"), addresses[0]).await;
        assert!(matches!(outcome, Err(Error::RateLimited { .. })));
    }
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let world = World::new();
    let before = world.admin().await;
    let login = world.control.login("admin", secret("correct horse"), HERE).await.unwrap();
    let mine = world.control.authenticate(login.token.expose()).await.unwrap();
    let change = |current: &str, new: &str| {
        let (current, new) = (secret(current), secret(new));
        let (control, mine) = (world.control.clone(), mine.clone());
        async move {
            control.change_password(&mine, current, new, &control::Conditions::default()).await
        }
    };

    assert_eq!(pointer(change("wrong horse", "battery staple").await), "/current_password");
    assert_eq!(pointer(change("correct horse", "short").await), "/password");
    change("correct horse", "battery staple").await.unwrap();

    let token = login.token.expose();
    assert!(world.control.authenticate(token).await.is_ok(), "the session that did it goes on");
    let sessions = world.store.list::<SessionToken>(None, 10).await.unwrap().records;
    assert_eq!(sessions.len(), 1, "that of {before:?} is gone");
    world.hand.advance(Duration::from_secs(60));
    assert!(world.control.login("admin", secret("correct horse"), HERE).await.is_err());
    assert!(world.control.login("admin", secret("battery staple"), HERE).await.is_ok());
}

#[tokio::test]
async fn the_attempts_on_the_present_password_are_limited_too() {
    let world = World::new();
    let actor = world.admin().await; // one attempt
    let any = control::Conditions::default();
    for _ in 0..4 {
        let outcome =
            world.control.change_password(&actor, secret("?"), secret("battery staple"), &any);
        assert_eq!(pointer(outcome.await), "/current_password");
    }
    let outcome =
        world.control.change_password(&actor, secret("?"), secret("battery staple"), &any);
    assert!(matches!(outcome.await, Err(Error::RateLimited { .. })));
}

fn pointer<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    let Err(Error::Invalid { errors }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(errors.len(), 1);
    errors[0].pointer.clone()
}
