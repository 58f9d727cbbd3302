use std::time::Duration;

use auth::Permission;
use model::{Revision, Timestamp, Username};
use store::{Expect, StoreAccept};

use crate::{Actor, Control, Error};

/// How often the word is given anew because the store became another meanwhile.
const ATTEMPTS: usize = 3;

/// That proxies are told to believe the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The store as it is believed, with this word in it.
    pub revision: Revision,
    /// Who said so.
    pub accepted_by: Username,
    /// When.
    pub accepted_at: Timestamp,
}

impl Control {
    /// Has every proxy whose guard is up believe the store as it is now, whatever it has become. Proxies that believe it
    /// already don't mind.
    ///
    /// # Errors
    /// [`Error::Forbidden`] to all but administrators; [`Error::Busy`] when the store is replaced at this moment;
    /// [`Error::Unavailable`].
    pub async fn accept_store(&self, actor: &Actor) -> Result<Acceptance, Error> {
        actor.may(Permission::AcceptStore)?;
        for _ in 0..ATTEMPTS {
            let found = self.store().backend().revision().await?;
            // Whoever got in by a login has made a commit, and with it an epoch.
            if found.epoch == store::unborn().epoch {
                continue;
            }
            let before = self.store().get::<StoreAccept>(found.epoch.as_str()).await;
            let before = before.ok().flatten().map(|found| found.value.accepted_at);
            // Each word is later than the one before, whatever the clocks of replicas say.
            let next = before.map(|at| at.plus(Duration::from_millis(1)));
            let accepted_at = next.into_iter().fold(self.now(), Timestamp::max);
            let accepted_by = actor.username().clone();
            let word = StoreAccept {
                revision: found.clone(),
                accepted_by: accepted_by.clone(),
                accepted_at,
            };
            let revision = self.store().put(&word, Expect::Any).await?.revision;
            if revision.epoch == found.epoch {
                tracing::warn!(%revision, by = %accepted_by, "the store is accepted as it is");
                return Ok(Acceptance { revision, accepted_by, accepted_at });
            }
        }
        Err(Error::Busy { retry_after: Duration::from_secs(1) })
    }
}
