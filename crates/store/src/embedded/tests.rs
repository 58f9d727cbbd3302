use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::conformance::{Subject, suite};

#[tokio::test]
async fn it_conforms() {
    let home = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    suite(async || {
        number.set(number.get() + 1);
        let dir = home.path().join(number.get().to_string());
        let (clock, hand) = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        let backend = Arc::new(EmbeddedBackend::open_with(&dir, clock, 60).unwrap());
        Subject { first: backend.clone(), second: backend, log_limit: 60, hand: Some(hand) }
    })
    .await;
}
