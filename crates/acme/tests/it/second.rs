//! Another authority than Pebble.

use acme::{Authority, Roots};
use testkit::CaddyCa;

use crate::world::{World, issue};

#[tokio::test]
async fn caddys_authority_is_understood_too_and_takes_over() {
    if !testkit::stands("caddy") {
        println!("skipped: caddy is not on the PATH");
        return;
    }
    let mut world = World::start().await;
    let caddy = CaddyCa::start(world.dns.addr()).await;
    let mut second = Authority::new(caddy.directory());
    second.roots = Roots::File(caddy.root());
    let alone = world.issuer_by(vec![second.clone()], |_| {});
    let holder = world.journal();
    let record = issue(&alone, "*.w.a.test", &holder).await.unwrap();
    let entry = certs::Entry::new(&record).unwrap();
    let covered: Vec<_> = entry.names().iter().map(|name| &**name).collect();
    assert_eq!(covered, ["*.w.a.test", "w.a.test"]);
    world.check_clear();
    holder.check_empty().await;

    // The first of the list is down.
    let both = world.issuer_by(vec![world.authority(), second], |_| {});
    world.pebble.process().kill();
    let fallen = issue(&both, "*.v.a.test", &holder).await.unwrap();
    assert!(certs::Entry::new(&fallen).unwrap().covers("x.v.a.test"));
    world.check_clear();
    assert_eq!(world.pebble.certificates(), 0);
}
