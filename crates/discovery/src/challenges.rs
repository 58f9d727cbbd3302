use std::time::Duration;

use futures_util::{StreamExt, stream};
use model::Challenge;
use proxy::Tables;
use runtime::with_causes;
use store::Store;
use tokio::time::timeout;

/// How many are read at once.
const AT_ONCE: usize = 16;
/// How long one may take; no request waits longer.
const LIMIT: Duration = Duration::from_millis(100);

/// Reads challenges that requests came for and the tables don't have: those of older programs, which no log tells of, and
/// ours that are on their way. Never ends.
pub(crate) async fn serve(store: &Store, tables: &Tables) {
    let asked = tables.asked_challenges();
    asked.begin();
    let ids = stream::unfold((), |()| async { Some((asked.next().await, ())) });
    ids.for_each_concurrent(AT_ONCE, |id| async move {
        let found = match timeout(LIMIT, store.get::<Challenge>(&id)).await {
            Ok(Ok(found)) => found.map(|found| found.value),
            Ok(Err(error)) => {
                tracing::debug!(error = with_causes(&error), id, "a challenge can't be read");
                None
            }
            Err(_) => None,
        };
        asked.answer(&id, found);
    })
    .await;
}
