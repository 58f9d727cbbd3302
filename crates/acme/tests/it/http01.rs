use certs::Stage;

use crate::world::{World, issue};

#[tokio::test]
async fn a_name_is_proved_by_http() {
    let world = World::start().await;
    let (issuer, journal) = (world.issuer(), world.journal());
    let begun = std::time::Instant::now();
    let record = issue(&issuer, "www.a.test", &journal).await.unwrap();
    println!("HTTP-01: {:?}", begun.elapsed());
    world.check(&record, &["www.a.test"]).await;
    assert_eq!(journal.stage(), Some(Stage::Download));
    let again = issue(&issuer, "www.a.test", &journal).await.unwrap();
    assert_ne!(again.chain_pem, record.chain_pem);
    assert_eq!((world.pebble.orders(), world.pebble.certificates()), (2, 2));
}
