use control::{Bootstrap, Conditions, Error, UserPatch};
use model::{Role, User};

use crate::world::{World, secret, user};

#[tokio::test]
async fn the_first_administrator_is_made_once_by_one_of_two_replicas() {
    let world = World::new();
    let other = world.replica();
    let admin = user("admin");
    let (one, two) =
        tokio::join!(world.control.bootstrap(&admin, None), other.bootstrap(&admin, None));
    let made: Vec<_> = [one.unwrap(), two.unwrap()]
        .into_iter()
        .filter_map(|outcome| match outcome {
            Bootstrap::CreatedWith(name, password) => Some((name, password)),
            Bootstrap::NotNeeded => None,
            Bootstrap::Created(_) => panic!("no password was given"),
        })
        .collect();
    let [(name, password)] = &made[..] else { panic!("made {} times", made.len()) };
    assert!(password.expose().len() >= 20);
    let here = "127.0.0.1".parse().unwrap();
    assert!(other.login(name.as_str(), password.clone(), here).await.is_ok());
    let again = world.control.bootstrap(&user("root"), Some(secret("another one"))).await.unwrap();
    assert!(matches!(again, Bootstrap::NotNeeded));
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_still_an_account() {
    let world = World::new();
    let key = store::Key::new(store::Collection::User, "someone");
    let fields = [("username".to_owned(), "someone".to_owned())].into();
    let txn = store::Txn::new().put(key, fields, store::Expect::Absent);
    world.store.backend().commit(txn).await.unwrap();
    let outcome = world.control.bootstrap(&user("admin"), None).await.unwrap();
    assert!(matches!(outcome, Bootstrap::NotNeeded));
    // But nobody can be it, and it does not show.
    let here = "127.0.0.1".parse().unwrap();
    let outcome = world.control.login("someone", secret("correct horse"), here).await;
    assert!(matches!(outcome, Err(Error::Unauthorised)));
}

#[tokio::test]
async fn accounts_are_an_administrators_business() {
    let world = World::new();
    let admin = world.admin().await;
    let users = world.control.users();
    for role in [Role::Viewer, Role::Manager] {
        let actor = world.account(&admin, &format!("{role:?}"), role).await;
        let name = user("admin");
        assert!(matches!(users.list(&actor, None, 9).await, Err(Error::Forbidden)));
        assert!(matches!(users.get(&actor, &name).await, Err(Error::Forbidden)));
        let new = users.create(&actor, user("x"), role, secret("correct horse"), false).await;
        assert!(matches!(new, Err(Error::Forbidden)));
        let gone = users.delete(&actor, &name, &Conditions::default()).await;
        assert!(matches!(gone, Err(Error::Forbidden)));
        assert_eq!(world.control.me(&actor).await.unwrap().user.role, role);
    }
}

#[tokio::test]
async fn a_changed_role_holds_at_once_and_a_deleted_account_is_nobody() {
    let world = World::new();
    let admin = world.admin().await;
    let users = world.control.users();
    users.create(&admin, user("ann"), Role::Viewer, secret("correct horse"), false).await.unwrap();
    let here = "127.0.0.1".parse().unwrap();
    let login = world.control.login("ann", secret("correct horse"), here).await.unwrap();
    let anns = || world.control.authenticate(login.token.expose());
    let patch = UserPatch { role: Some(Role::Manager), password: None };
    users.patch(&admin, &user("ann"), patch, &Conditions::default()).await.unwrap();
    assert_eq!(anns().await.unwrap().role(), Role::Manager);

    users.delete(&admin, &user("ann"), &Conditions::default()).await.unwrap();
    assert!(matches!(anns().await, Err(Error::Unauthorised)));
    // The next of that name does not inherit the session.
    users.create(&admin, user("ann"), Role::Admin, secret("correct horse"), false).await.unwrap();
    assert!(matches!(anns().await, Err(Error::Unauthorised)));
}

#[tokio::test]
async fn an_administrators_new_password_for_somebody_ends_their_sessions() {
    let world = World::new();
    let admin = world.admin().await;
    world.account(&admin, "ann", Role::Viewer).await;
    let here = "127.0.0.1".parse().unwrap();
    let login = world.control.login("ann", secret("correct horse"), here).await.unwrap();
    let patch = UserPatch { role: None, password: Some(secret("battery staple")) };
    world.control.users().patch(&admin, &user("ann"), patch, &Conditions::default()).await.unwrap();
    assert!(world.control.authenticate(login.token.expose()).await.is_err());
    assert!(world.control.login("ann", secret("battery staple"), here).await.is_ok());
}

#[tokio::test]
async fn an_administrator_is_always_left() {
    let world = World::new();
    let admin = world.admin().await;
    let (users, any) = (world.control.users(), Conditions::default());
    let demote = || UserPatch { role: Some(Role::Viewer), password: None };
    assert!(matches!(
        users.patch(&admin, &user("admin"), demote(), &any).await,
        Err(Error::Refused(_))
    ));
    assert!(matches!(users.delete(&admin, &user("admin"), &any).await, Err(Error::Refused(_))));

    // Two administrators who remove each other at the same moment: one of them stays.
    users.create(&admin, user("bob"), Role::Admin, secret("correct horse"), false).await.unwrap();
    let other = world.replica();
    let (bob, root) = (user("bob"), user("admin"));
    let others = other.users();
    let (one, two) =
        tokio::join!(users.delete(&admin, &bob, &any), others.delete(&admin, &root, &any));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let left = world.store.list::<User>(None, 9).await.unwrap().records;
    assert_eq!(left.len(), 1);
}

#[tokio::test]
async fn accounts_come_in_pages_and_names_of_routes_are_reserved() {
    let world = World::new();
    let admin = world.admin().await;
    let users = world.control.users();
    for name in ["eve", "bob", "cat"] {
        let password = secret("correct horse");
        users.create(&admin, user(name), Role::Viewer, password, false).await.unwrap();
    }
    let page = users.list(&admin, None, 3).await.unwrap();
    let names: Vec<_> = page.users.iter().map(|view| view.user.username.to_string()).collect();
    assert_eq!(names, ["admin", "bob", "cat"]);
    let rest = users.list(&admin, page.next.as_deref(), 3).await.unwrap();
    assert_eq!(rest.users.len(), 1);
    assert_eq!(rest.next, None);

    for reserved in ["me", "password"] {
        let outcome =
            users.create(&admin, user(reserved), Role::Viewer, secret("correct horse"), false);
        assert!(matches!(outcome.await, Err(Error::Invalid { .. })), "{reserved}");
    }
    let twice = users.create(&admin, user("bob"), Role::Viewer, secret("correct horse"), false);
    assert!(matches!(twice.await, Err(Error::Exists(_))));
}
