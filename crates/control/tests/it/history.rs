use std::time::Duration;

use control::{Conditions, Error, EventFilter, HostPatch, UserPatch, Verb};
use model::Role;
use serde_json::json;
use store::{Collection, Expect, Key, Txn};

use crate::world::{World, pattern, secret, to, user};

const ANY: Conditions = Conditions { if_match: None, dry_run: false };

async fn events(world: &World, actor: &control::Actor) -> Vec<control::Event> {
    world.control.history(actor, &EventFilter::default(), None, 500).await.unwrap().events
}

#[tokio::test]
async fn every_write_is_told_with_its_own_commit() {
    let world = World::new();
    let admin = world.admin().await;
    let hosts = world.control.hosts();
    let name = pattern("a.test");
    let made = hosts.create(&admin, name.clone(), to(&["127.0.0.1:1"]), false).await.unwrap();
    world.hand.advance(Duration::from_secs(1));
    hosts.replace(&admin, &name, to(&["127.0.0.1:2"]), &ANY).await.unwrap();
    hosts.delete(&admin, &name, &ANY).await.unwrap();
    let dry = Conditions { if_match: None, dry_run: true };
    hosts.create(&admin, pattern("b.test"), to(&[]), true).await.unwrap();
    hosts.replace(&admin, &name, to(&[]), &dry).await.unwrap_err();

    let seen = events(&world, &admin).await;
    let told: Vec<_> =
        seen.iter().map(|it| (it.number, it.verb, it.id.as_str(), it.by.as_deref())).collect();
    assert_eq!(
        told,
        [
            (4, Verb::Delete, "a.test", Some("admin")),
            (3, Verb::Update, "a.test", Some("admin")),
            (2, Verb::Create, "a.test", Some("admin")),
            (1, Verb::Create, "admin", None),
        ]
    );
    assert_eq!(seen[2].revision, made.revision);
    let changes = seen[1].changes();
    let pointers: Vec<_> = changes.iter().map(|change| change.pointer.as_str()).collect();
    assert_eq!(pointers, ["/updated_at", "/upstreams"]);
    assert_eq!(changes[1].before, Some(json!(["127.0.0.1:1"])));
    assert_eq!(changes[1].after, Some(json!(["127.0.0.1:2"])));
    assert_eq!((&seen[0].after, &seen[2].before), (&None, &None));
}

#[tokio::test]
async fn no_secret_is_in_it_but_that_it_changed() {
    let world = World::new();
    let admin = world.admin().await;
    world.account(&admin, "ann", Role::Viewer).await;
    let patch = UserPatch { role: None, password: Some(secret("another password")) };
    world.control.users().patch(&admin, &user("ann"), patch, &ANY).await.unwrap();
    let entries = world.store.backend().history(None, 100).await.unwrap();
    for entry in &entries {
        assert!(!entry.text.contains("$2b$"), "a hash is in {}", entry.text);
    }
    let seen = events(&world, &admin).await;
    assert_eq!(seen[0].secrets, ["password"]);
    assert_eq!(seen[0].after.as_ref().unwrap()["role"], "viewer");
    // It can't be brought back.
    let refused = world.control.roll_back(&admin, seen[0].number, &ANY, false).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn who_may_not_see_accounts_does_not_see_their_history() {
    let world = World::new();
    let admin = world.admin().await;
    let viewer = world.account(&admin, "ann", Role::Viewer).await;
    world.control.hosts().create(&admin, pattern("a.test"), to(&[]), false).await.unwrap();
    let seen = events(&world, &viewer).await;
    assert_eq!(seen.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["a.test"]);
    assert!(matches!(world.control.event(&viewer, 1).await, Err(Error::Forbidden)));
    let host = seen[0].number;
    assert!(world.control.event(&viewer, host).await.is_ok());
    let refused = world.control.roll_back(&viewer, host, &ANY, false).await;
    assert!(matches!(refused, Err(Error::Forbidden)), "{refused:?}");
    let manager = world.account(&admin, "max", Role::Manager).await;
    world.control.roll_back(&manager, host, &ANY, false).await.unwrap();
    let refused = world.control.roll_back(&manager, 1, &ANY, false).await;
    assert!(matches!(refused, Err(Error::Forbidden)), "{refused:?}");
}

#[tokio::test]
async fn a_filter_and_pages_find_all_of_one_record() {
    let world = World::new();
    let admin = world.admin().await;
    for number in 0..30 {
        let name = pattern(&format!("h{}.test", number % 3));
        let hosts = world.control.hosts();
        let patch = HostPatch { enabled: Some(number % 2 == 0), ..HostPatch::default() };
        match number {
            0..3 => drop(hosts.create(&admin, name, to(&[]), false).await.unwrap()),
            _ => drop(hosts.patch(&admin, &name, patch, &ANY).await.unwrap()),
        }
    }
    let filter = EventFilter::host(Some("h1.test".to_owned()));
    let (mut before, mut found) = (None, Vec::new());
    loop {
        let page = world.control.history(&admin, &filter, before, 4).await.unwrap();
        assert!(page.events.iter().all(|event| event.id == "h1.test"));
        found.extend(page.events.into_iter().map(|event| event.number));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, [30, 27, 24, 21, 18, 15, 12, 9, 6, 3]);
    assert!(EventFilter::named("AuthToken", None).is_none());
}

#[tokio::test]
async fn an_update_a_deletion_and_a_creation_are_taken_back() {
    let world = World::new();
    let admin = world.admin().await;
    let (control, name) = (&world.control, pattern("a.test"));
    control.hosts().create(&admin, name.clone(), to(&["127.0.0.1:1"]), false).await.unwrap();
    let key = Key::new(Collection::Host, "a.test");
    let mut fields = world.store.backend().get(&key).await.unwrap().unwrap();
    fields.insert("of_others".to_owned(), "stays".to_owned());
    world
        .store
        .backend()
        .commit(Txn::new().put(key.clone(), fields, Expect::Exists))
        .await
        .unwrap();
    control.hosts().replace(&admin, &name, to(&["127.0.0.1:2"]), &ANY).await.unwrap();

    // The update.
    let dry = Conditions { if_match: None, dry_run: true };
    let tried = control.roll_back(&admin, 3, &dry, false).await.unwrap();
    assert_eq!(tried.record.unwrap()["upstreams"], json!(["127.0.0.1:1"]));
    let now = control.hosts().get(&admin, &name).await.unwrap();
    assert_eq!(now.host.upstreams[0].port(), 2);
    let back = control.roll_back(&admin, 3, &ANY, false).await.unwrap();
    assert_eq!((back.verb, back.id.as_str()), (Verb::Update, "a.test"));
    let now = control.hosts().get(&admin, &name).await.unwrap();
    assert_eq!((now.host.upstreams[0].port(), now.etag), (1, back.etag));
    let fields = world.store.backend().get(&key).await.unwrap().unwrap();
    assert_eq!(fields["of_others"], "stays");
    assert_eq!(events(&world, &admin).await[0].why.as_deref(), Some("rollback of 3"));

    // The deletion, and that of the rollback.
    control.hosts().delete(&admin, &name, &ANY).await.unwrap();
    let back = control.roll_back(&admin, 5, &ANY, false).await.unwrap();
    assert_eq!(back.verb, Verb::Create);
    let now = control.hosts().get(&admin, &name).await.unwrap();
    assert_eq!(now.host.created_by, Some(user("admin")));
    assert_eq!(control.roll_back(&admin, 6, &ANY, false).await.unwrap().verb, Verb::Delete);
    assert!(matches!(control.hosts().get(&admin, &name).await, Err(Error::NotFound(_))));
    let nothing = control.roll_back(&admin, 2, &ANY, true).await;
    assert!(matches!(nothing, Err(Error::Refused(_))), "{nothing:?}");
    assert!(matches!(control.roll_back(&admin, 99, &ANY, false).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn what_changed_since_is_not_lost_unasked() {
    let world = World::new();
    let admin = world.admin().await;
    let (control, name) = (&world.control, pattern("a.test"));
    control.hosts().create(&admin, name.clone(), to(&["127.0.0.1:1"]), false).await.unwrap();
    control.hosts().replace(&admin, &name, to(&["127.0.0.1:2"]), &ANY).await.unwrap();
    let now = control.hosts().replace(&admin, &name, to(&["127.0.0.1:3"]), &ANY).await.unwrap();

    let refused = control.roll_back(&admin, 3, &ANY, false).await.unwrap_err();
    assert!(matches!(refused, Error::Superseded { number: 3, .. }), "{refused:?}");
    assert!(refused.to_string().contains("a.test"), "{refused}");
    let wrong = Conditions { if_match: Some("\"x\"".to_owned()), dry_run: false };
    let stale = control.roll_back(&admin, 3, &wrong, true).await;
    assert!(matches!(stale, Err(Error::Stale(_))), "{stale:?}");
    let right = now.etag.unwrap().quoted();
    let right = Conditions { if_match: Some(right), dry_run: false };
    control.roll_back(&admin, 3, &right, false).await.unwrap();
    assert_eq!(control.hosts().get(&admin, &name).await.unwrap().host.upstreams[0].port(), 1);
    control.roll_back(&admin, 4, &ANY, true).await.unwrap();
    assert_eq!(control.hosts().get(&admin, &name).await.unwrap().host.upstreams[0].port(), 2);
}

#[tokio::test]
async fn a_rollback_of_an_account_keeps_its_password_and_an_administrator() {
    let world = World::new();
    let admin = world.admin().await;
    let (control, ann) = (&world.control, user("ann"));
    world.account(&admin, "ann", Role::Admin).await;
    let lower = UserPatch { role: Some(Role::Viewer), password: None };
    control.users().patch(&admin, &ann, lower, &ANY).await.unwrap();
    control.roll_back(&admin, 3, &ANY, false).await.unwrap();
    assert_eq!(control.users().get(&admin, &ann).await.unwrap().user.role, Role::Admin);
    world.login("ann").await;

    control.users().delete(&admin, &ann, &ANY).await.unwrap();
    let refused = control.roll_back(&admin, 5, &ANY, false).await.unwrap_err();
    assert!(refused.to_string().contains("secret"), "{refused}");
    // The first administrator was made by the program, and is the last one now.
    let refused = control.roll_back(&admin, 1, &ANY, false).await.unwrap_err();
    assert!(refused.to_string().contains("last administrator"), "{refused}");
}

#[tokio::test]
async fn nothing_is_told_when_none_are_kept() {
    let world = World::new();
    let store = world.store.clone().keeping_history(0);
    let control =
        control::Control::new(store, world.clock.clone(), control::Cost::new(4).unwrap()).unwrap();
    let admin = world.admin().await;
    control.hosts().create(&admin, pattern("a.test"), to(&[]), false).await.unwrap();
    assert_eq!(events(&world, &admin).await.len(), 1, "only what the other one told");
}
