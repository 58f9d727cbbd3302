use std::time::Duration;

use model::{CertWanted, Hostname};
use proxy::Tables;
use runtime::Clock;
use store::{Expect, Store};

use runtime::with_causes;

/// How many names may be asked for in a row, and then in each second: names come from strangers.
const BUDGET: u32 = 20;

/// Hands the names that handshakes wait for on to the store, one record each. Never ends.
///
/// One that the store does not take is dropped: the next handshake asks again.
pub(crate) async fn forward(store: &Store, tables: &Tables, clock: &Clock) {
    loop {
        let window = clock.sleep(Duration::from_secs(1));
        for _ in 0..BUDGET {
            let name = tables.wanted().next().await;
            // Asked for twice, or just arrived. A store that is not believed is asked for nothing.
            if tables.state().guard.is_none() && tables.certs().find(name.as_str()).is_none() {
                ask(store, name, clock).await;
            }
        }
        window.await;
    }
}

async fn ask(store: &Store, name: Hostname, clock: &Clock) {
    let wanted = CertWanted { name, wanted_at: clock.now().into() };
    match store.put(&wanted, Expect::Absent).await {
        // Somebody asked already.
        Ok(_) | Err(store::Error::Conflict { .. }) => {}
        Err(error) => {
            let name = wanted.name.as_str();
            tracing::debug!(
                name,
                error = with_causes(&error),
                "a certificate could not be asked for"
            );
        }
    }
}
