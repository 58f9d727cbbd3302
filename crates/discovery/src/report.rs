use std::time::Duration;

use runtime::Clock;
use store::{Collection, Key, ProxyReport, Store};
use tokio::sync::watch;

use runtime::with_causes;

/// How long a report stands without being renewed: a proxy that is silent for longer is taken for gone.
const TTL: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(5);
/// How soon it is tried again when the store did not take it.
const RETRY: Duration = Duration::from_secs(1);
/// How long the start and the end wait for the store.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes the report whenever it changes, and often enough to keep it. Never ends. On its own, so that a long scan
/// does not let it lapse.
pub(crate) async fn keep(
    store: &Store,
    mut report: watch::Receiver<Option<ProxyReport>>,
    clock: &Clock,
) {
    report.mark_changed();
    loop {
        let current = report.borrow_and_update().clone();
        let mut pause = RENEWAL;
        if let Some(current) = current
            && let Err(error) = store.put_lease(&current, TTL).await
        {
            tracing::debug!(error = with_causes(&error), "the report was not taken");
            pause = RETRY;
        }
        tokio::select! {
            changed = report.changed() => {
                if changed.is_err() {
                    // The sender is gone: nothing will change any more.
                    return std::future::pending().await;
                }
            }
            () = clock.sleep(pause) => {}
        }
    }
}

/// Writes the report once, for at most [`PATIENCE`]; that it could not be is no reason not to serve.
pub(crate) async fn put(store: &Store, report: &ProxyReport, clock: &Clock) {
    tokio::select! {
        taken = store.put_lease(report, TTL) => {
            if let Err(error) = taken {
                tracing::debug!(error = with_causes(&error), "the first report was not taken");
            }
        }
        () = clock.sleep(PATIENCE) => {}
    }
}

/// Removes the report, so that nobody waits for this proxy.
pub(crate) async fn withdraw(store: &Store, instance: &str, clock: &Clock) {
    let key = Key::new(Collection::Proxy, instance);
    tokio::select! {
        gone = store.backend().delete_lease(&key) => {
            if let Err(error) = gone {
                tracing::debug!(error = with_causes(&error), "the report will lapse by itself");
            }
        }
        () = clock.sleep(PATIENCE) => {}
    }
}
