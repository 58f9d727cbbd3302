use certs::LocalCa;
use store::{Expect, LocalCaRecord};

use crate::{Control, Error};

impl Control {
    /// The root certificate of the local authority, PEM, for clients to trust. The authority is made when there is
    /// none yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Internal`] when its key can't be sealed or opened.
    pub async fn ca_root_pem(&self) -> Result<String, Error> {
        Ok(self.local_authority().await?.root_pem().to_owned())
    }

    /// The local authority: one for all replicas, made by whoever needs it first.
    pub(crate) async fn local_authority(&self) -> Result<LocalCa, Error> {
        if let Some(found) = self.stored_authority().await? {
            return Ok(found);
        }
        let made = LocalCa::generate(self.now()).map_err(|error| Error::Internal(error.into()))?;
        let record = LocalCaRecord {
            cert_pem: made.root_pem().to_owned(),
            key_pem: made.key_pem(),
            created_at: self.now(),
        };
        match self.store().put(&record, Expect::Absent).await {
            Err(store::Error::Conflict { .. }) => {
                let theirs = self.stored_authority().await?;
                theirs.ok_or_else(|| Error::Internal("the local authority was removed".into()))
            }
            outcome => outcome.map(|_| made).map_err(Error::from),
        }
    }

    async fn stored_authority(&self) -> Result<Option<LocalCa>, Error> {
        let found = self.store().get::<LocalCaRecord>(LocalCaRecord::ID).await?;
        found
            .map(|found| LocalCa::from_pem(&found.value.cert_pem, &found.value.key_pem))
            .transpose()
            .map_err(|error| Error::Internal(error.into()))
    }
}
