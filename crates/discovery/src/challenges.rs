use model::Challenge;
use proxy::Tables;
use runtime::with_causes;
use store::Store;

/// Reads challenges that requests came for and the tables don't have: those of older programs, which no log tells of, and
/// ours that are on their way. Never ends.
pub(crate) async fn serve(store: &Store, tables: &Tables) {
    let read = async |id: String| {
        let found = store.get::<Challenge>(&id).await.inspect_err(|error| {
            tracing::debug!(error = with_causes(error), id, "a challenge can't be read");
        });
        found.ok().flatten().map(|found| found.value)
    };
    tables.asked_challenges().serve(read).await;
}
