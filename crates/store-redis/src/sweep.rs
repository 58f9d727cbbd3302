use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use fred::types::Value;
use store::{Error, Key, NewEntries};
use tokio::time::MissedTickBehavior;

use crate::answer::{corrupt, is_not_allowed};
use crate::backend::Link;
use crate::script::Change;

/// How soon an expiry becomes a change.
const PERIOD: Duration = Duration::from_secs(1);
/// When a user that may not write tries again: it may have been given leave.
const NOT_ALLOWED: Duration = Duration::from_secs(600);
/// How many expired records are noted in one transaction.
const BATCH: usize = 256;

/// Turns records that Redis has let expire into changes, as a commit would: index, log, revision, hint.
///
/// Every backend does so, whoever is first. A user that may not write leaves it to them.
pub(crate) async fn sweep(link: Arc<Link>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match once(&link).await {
            Ok(()) => {}
            Err(error) if error.source().is_some_and(is_not_allowed) => {
                tokio::time::sleep(NOT_ALLOWED).await;
            }
            Err(error) => tracing::debug!(%error, "expired records are not noted yet"),
        }
    }
}

async fn once(link: &Link) -> Result<(), Error> {
    loop {
        let arguments = vec![Value::from(BATCH.to_string())];
        let due = link.connection.read(&link.scripts.due, vec![link.layout.expiries()], arguments);
        let due: Vec<String> = due.await.map_err(|error| link.failed("reading expiries", error))?;
        let keys = due.iter().filter_map(|name| Key::parse(name));
        let changes: Vec<_> = keys.map(|key| Change::expire(&link.layout, &key)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        let answer = link.run_changes(&changes, &NewEntries::default()).await?;
        if answer.first().is_none_or(|word| word != "ok") {
            return Err(corrupt(&answer.join(" ")));
        }
        if due.len() < BATCH {
            return Ok(());
        }
    }
}
