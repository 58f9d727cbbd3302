use model::{Epoch, Revision, Timestamp, Username};

use super::{Reader, Record, Writer};
use crate::{BadRecord, Collection, Error, Fields, Sealer};

/// An operator's word that the store is to be believed as it is, for proxies whose guard is up.
///
/// Kept under the epoch, one for each life of the store: a word about another store is none about this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAccept {
    /// Which life of the store, and how far it had come.
    pub revision: Revision,
    /// Who gave it.
    pub accepted_by: Username,
    /// When, later than any before it: a proxy obeys each word once.
    pub accepted_at: Timestamp,
}

impl Record for StoreAccept {
    const COLLECTION: Collection = Collection::StoreAccept;
    const FIELDS: &'static [&'static str] = &["epoch", "n", "accepted_by", "accepted_at"];

    fn id(&self) -> String {
        self.revision.epoch.as_str().to_owned()
    }

    fn to_fields(&self, _: &Sealer) -> Result<Fields, Error> {
        Ok(Writer::default()
            .set("epoch", &self.revision.epoch)
            .set("n", self.revision.n)
            .set("accepted_by", &self.accepted_by)
            .set_millis("accepted_at", self.accepted_at)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, _: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        reader.same_as_id("epoch", reader.required("epoch")?)?;
        let epoch = Epoch::new(id).map_err(|cause| reader.wrong("epoch", cause))?;
        Ok(Self {
            revision: Revision { epoch, n: reader.parse("n")? },
            accepted_by: reader.parse("accepted_by")?,
            accepted_at: reader.millis("accepted_at")?,
        })
    }
}
