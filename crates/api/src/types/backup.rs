use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an import did, or with `dry_run` would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportAnswer {
    /// How many records were written, by collection.
    pub counts: BTreeMap<String, ImportCounts>,
    /// The first 1,000 changes.
    pub changes: Vec<ImportChange>,
    /// How many there are beyond those.
    pub more: u64,
    /// The revision of the store that has everything; after a dry run the one it was tried on.
    pub revision: String,
}

/// How many records of a collection were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportCounts {
    /// Made anew.
    pub created: u64,
    /// Replaced.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
    /// Already as in the file.
    pub unchanged: u64,
}

/// One record that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportChange {
    /// What was done: `create`, `update` or `delete`.
    pub verb: String,
    /// The kind of record.
    pub collection: String,
    /// Which one.
    pub id: String,
}

impl From<control::Imported> for ImportAnswer {
    fn from(control::Imported { counts, changes, more, revision }: control::Imported) -> Self {
        let count = |control::Counts { created, updated, deleted, unchanged }| ImportCounts {
            created,
            updated,
            deleted,
            unchanged,
        };
        let change = |control::Listed { collection, id, verb }| ImportChange {
            verb: super::history::word(verb),
            collection: collection.to_string(),
            id,
        };
        Self {
            counts: counts.into_iter().map(|(name, it)| (name.to_string(), count(it))).collect(),
            changes: changes.into_iter().map(change).collect(),
            more,
            revision: revision.to_string(),
        }
    }
}
