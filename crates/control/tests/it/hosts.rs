use control::{Conditions, Error, HostPatch, HostSpec};
use model::{CertStatus, CertificateMode, Host, Role};
use store::Expect;

use crate::world::{World, pattern, to};

fn if_match(tag: &model::ETag) -> Conditions {
    Conditions { if_match: Some(tag.quoted()), dry_run: false }
}

const DRY: Conditions = Conditions { if_match: None, dry_run: true };

#[tokio::test]
async fn a_host_lives_and_dies() {
    let world = World::new();
    let admin = world.admin().await;
    let hosts = world.control.hosts();
    let name = pattern("App.Test.");
    let made = hosts.create(&admin, name.clone(), to(&["127.0.0.1:9000"]), false).await.unwrap();
    assert_eq!(made.host.pattern.as_str(), "app.test");
    assert_eq!(made.host.created_by.as_ref().unwrap().as_str(), "admin");
    assert_eq!(made.certificate_status, CertStatus::Pending);

    let twice = hosts.create(&admin, name.clone(), to(&[]), false).await;
    assert!(matches!(twice, Err(Error::Exists(_))));

    let seen = hosts.get(&admin, &name).await.unwrap();
    assert_eq!((&seen.host, &seen.etag), (&made.host, &made.etag));
    assert!(seen.revision.includes(&made.revision));

    let any = Conditions::default();
    let changed = hosts.replace(&admin, &name, to(&["[::1]:80"]), &any).await.unwrap();
    assert_eq!(changed.host.upstreams[0].to_string(), "[::1]:80");
    assert_eq!(changed.host.created_at, made.host.created_at);
    assert_ne!(changed.etag, made.etag);

    let patch = HostPatch { certificate: Some(CertificateMode::None), ..HostPatch::default() };
    let patched = hosts.patch(&admin, &name, patch, &any).await.unwrap();
    assert_eq!(patched.host.upstreams, changed.host.upstreams);
    assert_eq!(patched.certificate_status, CertStatus::None);

    let gone = hosts.delete(&admin, &name, &any).await.unwrap();
    assert!(gone.includes(&patched.revision));
    for outcome in [
        hosts.get(&admin, &name).await.map(drop),
        hosts.delete(&admin, &name, &any).await.map(drop),
        hosts.replace(&admin, &name, to(&[]), &any).await.map(drop),
        hosts.patch(&admin, &name, HostPatch::default(), &any).await.map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::NotFound(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_stale_tag_writes_nothing() {
    let world = World::new();
    let admin = world.admin().await;
    let (hosts, name) = (world.control.hosts(), pattern("app.test"));
    let made = hosts.create(&admin, name.clone(), to(&[]), false).await.unwrap();
    let old = if_match(&made.etag.unwrap());
    let now = hosts.replace(&admin, &name, to(&["a:1"]), &old).await.unwrap();
    for outcome in [
        hosts.replace(&admin, &name, to(&["a:2"]), &old).await.map(drop),
        hosts.patch(&admin, &name, HostPatch::default(), &old).await.map(drop),
        hosts.delete(&admin, &name, &old).await.map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::Stale(_))), "{outcome:?}");
    }
    assert_eq!(hosts.get(&admin, &name).await.unwrap().etag, now.etag);
    hosts.delete(&admin, &name, &if_match(&now.etag.unwrap())).await.unwrap();
}

#[tokio::test]
async fn a_dry_run_checks_all_and_writes_nothing() {
    let world = World::new();
    let admin = world.admin().await;
    let (hosts, name) = (world.control.hosts(), pattern("app.test"));
    let tried = hosts.create(&admin, name.clone(), to(&["a:1"]), true).await.unwrap();
    assert_eq!(tried.etag, None);
    assert!(matches!(hosts.get(&admin, &name).await, Err(Error::NotFound(_))));

    hosts.create(&admin, name.clone(), to(&["a:1"]), false).await.unwrap();
    let before = world.store.backend().revision().await.unwrap();
    assert!(matches!(
        hosts.create(&admin, name.clone(), to(&[]), true).await,
        Err(Error::Exists(_))
    ));
    let tried = hosts.replace(&admin, &name, to(&["a:2"]), &DRY).await.unwrap();
    assert_eq!(tried.host.upstreams[0].to_string(), "a:2");
    hosts.delete(&admin, &name, &DRY).await.unwrap();
    let wrong = hosts.replace(&admin, &name, to(&["a:2", "a:2"]), &DRY).await;
    assert!(matches!(wrong, Err(Error::Invalid { .. })));
    assert_eq!(world.store.backend().revision().await.unwrap(), before);
}

#[tokio::test]
async fn all_that_is_wrong_is_named() {
    let world = World::new();
    let admin = world.admin().await;
    let mut spec = to(&["a:1", "b:1", "a:1", "b:1"]);
    let hosts = world.control.hosts();
    let Err(Error::Invalid { errors }) =
        hosts.create(&admin, pattern("a.test"), spec.clone(), false).await
    else {
        panic!("accepted")
    };
    let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["/upstreams/2", "/upstreams/3"]);

    spec.upstreams = (1..=65).map(|port| format!("a:{port}").parse().unwrap()).collect();
    let outcome = hosts.create(&admin, pattern("a.test"), spec, false).await;
    assert!(matches!(outcome, Err(Error::Invalid { errors }) if errors[0].pointer == "/upstreams"));
}

#[tokio::test]
async fn roles_hold() {
    let world = World::new();
    let admin = world.admin().await;
    let viewer = world.account(&admin, "viewer", Role::Viewer).await;
    let manager = world.account(&admin, "manager", Role::Manager).await;
    let (hosts, any) = (world.control.hosts(), Conditions::default());
    hosts.create(&manager, pattern("a.test"), to(&[]), false).await.unwrap();
    let name = pattern("a.test");
    for outcome in [
        hosts.create(&viewer, pattern("b.test"), to(&[]), false).await.map(drop),
        hosts.create(&viewer, pattern("b.test"), to(&[]), true).await.map(drop),
        hosts.replace(&viewer, &name, to(&[]), &any).await.map(drop),
        hosts.patch(&viewer, &name, HostPatch::default(), &any).await.map(drop),
        hosts.delete(&viewer, &name, &any).await.map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::Forbidden)), "{outcome:?}");
    }
    assert_eq!(hosts.list(&viewer, None, 9).await.unwrap().hosts.len(), 1);
    hosts.get(&viewer, &name).await.unwrap();
    world.control.lookup(&viewer, "a.test".parse().unwrap()).await.unwrap();
    world.control.status(&viewer).await.unwrap();
}

#[tokio::test]
async fn pages_are_in_order_and_complete() {
    let world = World::new();
    let admin = world.admin().await;
    let hosts = world.control.hosts();
    let mut all: Vec<_> = (0..25).map(|n| format!("h{n}.test")).collect();
    for name in &all {
        hosts.create(&admin, pattern(name), to(&[]), false).await.unwrap();
    }
    all.sort();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = hosts.list(&admin, after.as_deref(), 10).await.unwrap();
        assert!(page.hosts.len() <= 10);
        seen.extend(page.hosts.iter().map(|view| view.host.pattern.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn lookup_sees_every_commit_and_only_what_is_enabled() {
    let world = World::new();
    let admin = world.admin().await;
    let hosts = world.control.hosts();
    let lookup =
        async |name: &str| world.control.lookup(&admin, name.parse().unwrap()).await.unwrap();
    assert_eq!(lookup("a.x.test").await.matched, None);
    hosts.create(&admin, pattern("*.x.test"), to(&[]), false).await.unwrap();
    hosts.create(&admin, pattern("**"), to(&[]), false).await.unwrap();
    let found = lookup("A.x.test.").await;
    assert_eq!(found.matched.as_deref(), Some("*.x.test"));
    let patterns: Vec<_> = found.candidates.iter().map(|one| one.pattern.as_str()).collect();
    assert_eq!(patterns, ["*.x.test", "**"]);
    assert!(found.candidates[1].why.contains("label 1"), "{}", found.candidates[1].why);

    // By another replica, and past every use case.
    let other = world.replica();
    other.hosts().create(&admin, pattern("a.x.test"), to(&[]), false).await.unwrap();
    assert_eq!(lookup("a.x.test").await.matched.as_deref(), Some("a.x.test"));
    world.store.delete::<Host>("*.x.test", Expect::Any).await.unwrap();
    assert_eq!(lookup("b.x.test").await.matched.as_deref(), Some("**"));

    let off = HostPatch { enabled: Some(false), ..HostPatch::default() };
    hosts.patch(&admin, &pattern("a.x.test"), off, &Conditions::default()).await.unwrap();
    assert_eq!(lookup("a.x.test").await.matched.as_deref(), Some("**"));
}

#[tokio::test]
async fn one_bad_record_keeps_nothing_else_from_working() {
    let world = World::new();
    let admin = world.admin().await;
    let hosts = world.control.hosts();
    hosts.create(&admin, pattern("a.test"), to(&[]), false).await.unwrap();
    let key = store::Key::new(store::Collection::Host, "bad.test");
    let fields = [("targetPort".to_owned(), "many".to_owned()), ("ip".to_owned(), "x".to_owned())];
    let txn = store::Txn::new().put(key, fields.into(), Expect::Any);
    world.store.backend().commit(txn).await.unwrap();
    for control in [world.control.clone(), world.replica()] {
        assert_eq!(control.hosts().list(&admin, None, 9).await.unwrap().hosts.len(), 1);
        let found = control.lookup(&admin, "a.test".parse().unwrap()).await.unwrap();
        assert_eq!(found.matched.as_deref(), Some("a.test"));
    }
    let bad = pattern("bad.test");
    assert!(matches!(hosts.get(&admin, &bad).await, Err(Error::Unreadable(..))));
    let outcome = hosts.replace(&admin, &bad, to(&[]), &Conditions::default()).await;
    assert!(matches!(outcome, Err(Error::Unreadable(..))));
    // It can be got rid of, and replaced by a good one.
    hosts.delete(&admin, &bad, &Conditions::default()).await.unwrap();
    hosts.create(&admin, bad, HostSpec::default(), false).await.unwrap();
}

#[tokio::test]
async fn changes_of_different_fields_at_once_all_count() {
    let world = World::new();
    let admin = world.admin().await;
    let (hosts, name, any) = (world.control.hosts(), pattern("a.test"), Conditions::default());
    hosts.create(&admin, name.clone(), to(&[]), false).await.unwrap();
    let patch = |patch| hosts.patch(&admin, &name, patch, &any);
    let (one, two, three) = tokio::join!(
        patch(HostPatch { enabled: Some(false), ..HostPatch::default() }),
        patch(HostPatch { force_https: Some(false), ..HostPatch::default() }),
        patch(HostPatch { preserve_host: Some(false), ..HostPatch::default() }),
    );
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    let host = hosts.get(&admin, &name).await.unwrap().host;
    assert!(!host.enabled && !host.force_https && !host.preserve_host);
}

#[tokio::test]
async fn a_looked_up_record_names_the_certificate_of_its_pattern() {
    let world = World::new();
    let admin = world.admin().await;
    let wildcard = pattern("*.a.test");
    let spec = to(&["127.0.0.1:9000"]);
    world.control.hosts().create(&admin, wildcard.clone(), spec, false).await.unwrap();
    let look_up = async |name: &str| {
        let name = name.parse().unwrap();
        world.control.lookup_record(&name).await.unwrap()
    };
    let record = look_up("x.a.test").await.unwrap();
    assert!(record.contains(r#""targetPort":9000"#), "{record}");
    assert!(!record.contains("wildcard_parent"), "{record}");
    assert_eq!(look_up("b.test").await, None);

    let now = model::Timestamp::from(world.clock.now());
    let made = certs::LocalCa::generate(now).unwrap().issue(&wildcard, now).unwrap();
    world.store.put(&made, Expect::Absent).await.unwrap();
    let record = look_up("x.a.test").await.unwrap();
    assert!(record.contains(r#""wildcard_parent":"*.a.test""#), "{record}");
}

/// What is null has its default. Within a list it was refused, at the place of the whole list.
#[tokio::test]
async fn null_is_as_absent_within_lists_too() {
    let world = World::new();
    let admin = world.admin().await;
    let routes = serde_json::json!([{ "path": "/a", "upstreams": ["127.0.0.1:2"], "static": null, "strip_prefix": null }]);
    let rules = serde_json::Map::from_iter([("routes".to_owned(), routes)]);
    let patch = HostPatch { rules, ..HostPatch::default() };
    let spec = to(&["127.0.0.1:1"]).with(patch).unwrap();
    let name = pattern("a.test");
    let made = world.control.hosts().create(&admin, name, spec, false).await.unwrap();
    let route = &made.host.rules().routes[0];
    assert!(route.directory.is_none() && !route.strip_prefix && route.upstreams.len() == 1);
}
