use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::{Client, WithOptions};
use fred::error::{Error as RedisError, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use telemetry::SharedCounter;

/// How long a commit waits for a replica to have it.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same while replicas are known to be slow, so that they don't make every commit slow.
const IMPATIENCE: Duration = Duration::from_millis(50);

/// Lets commits wait for one replica. One that waits in vain is accepted all the same: the master has it.
pub(crate) struct Replicas {
    /// Whether the last wait was in vain.
    behind: AtomicBool,
    /// Counts those that were.
    unconfirmed: SharedCounter,
}

impl Replicas {
    pub(crate) fn new(unconfirmed: SharedCounter) -> Self {
        Self { behind: AtomicBool::new(false), unconfirmed }
    }

    /// How many replicas follow the master of this slot; none when it does not say.
    pub(crate) async fn count(client: &WithOptions<Client>, slot: u16) -> usize {
        let command = CustomCommand::new_static("ROLE", ClusterHash::Custom(slot), false);
        let role = client.custom::<Vec<Value>, String>(command, Vec::new()).await;
        // A master says: its role, the offset, a list of replicas that are in step.
        let replicas = role.ok().and_then(|role| role.into_iter().nth(2));
        replicas.map_or(0, |replicas| replicas.into_array().len())
    }

    /// Waits for a replica to have what this connection wrote last.
    ///
    /// # Errors
    /// When the connection is lost meanwhile: perhaps the master died with the commit.
    pub(crate) async fn confirm(
        &self,
        client: &WithOptions<Client>,
        slot: u16,
    ) -> Result<(), RedisError> {
        let behind = self.behind.load(Ordering::Relaxed);
        let patience = if behind { IMPATIENCE } else { PATIENCE };
        let command = CustomCommand::new_static("WAIT", ClusterHash::Custom(slot), false);
        let words = vec!["1".to_owned(), patience.as_millis().to_string()];
        let confirmed = match client.custom::<i64, _>(command, words).await {
            Ok(replicas) => replicas > 0,
            Err(error) if *error.kind() == ErrorKind::Unknown => {
                // The server's own refusal: an ACL without WAIT.
                if !behind {
                    tracing::warn!(%error, "Redis does not let commits wait for a replica");
                }
                self.behind.store(true, Ordering::Relaxed);
                self.unconfirmed.inc();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !confirmed {
            self.unconfirmed.inc();
        }
        match (confirmed, self.behind.swap(!confirmed, Ordering::Relaxed)) {
            (false, false) => tracing::warn!(
                waited = ?patience,
                "no replica of Redis confirmed a commit in time: a failover now may lose commits"
            ),
            (true, true) => tracing::info!("replicas of Redis confirm commits again"),
            _ => {}
        }
        Ok(())
    }
}
