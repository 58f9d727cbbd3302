use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::schema;

/// One write. Secrets are never in it; that they changed is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// Its number.
    pub number: u64,
    /// The revision of the store that has it: `epoch:number`.
    pub revision: String,
    /// When it was made (RFC 3339).
    #[schema(format = DateTime)]
    pub at: String,
    /// Who made it; absent when the program itself did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub by: Option<String>,
    /// What it did: `create`, `update` or `delete`.
    pub verb: String,
    /// The kind of record: `Host`, `User`, …
    pub collection: String,
    /// Which record.
    pub id: String,
    /// What it was part of: `rollback of 12`, `import`; absent for a write of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub why: Option<String>,
    /// The record before, without secrets; null when there was none.
    #[schema(required = true, value_type = Option<Object>)]
    pub before: Option<Value>,
    /// The record after, without secrets; null when it is gone.
    #[schema(required = true, value_type = Option<Object>)]
    pub after: Option<Value>,
    /// The secrets that changed, by the name of their stored field.
    pub secrets: Vec<String>,
}

/// One write with the fields that it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryDetail {
    /// The write.
    #[serde(flatten)]
    pub entry: HistoryEntry,
    /// The fields that it changed.
    pub changes: Vec<FieldChange>,
    /// The tag of this entry, which never changes.
    pub etag: String,
}

/// A field before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Where: a JSON pointer (RFC 6901) into the record.
    pub pointer: String,
    /// What was there; absent when there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::anything)]
    pub before: Option<Value>,
    /// What is there; absent when there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::anything)]
    pub after: Option<Value>,
}

/// Some writes, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryList {
    /// The writes.
    pub results: Vec<HistoryEntry>,
    /// What to give as `after` for the next page; null at the end.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// A record that was brought back to what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolledBack {
    /// The kind of record.
    pub collection: String,
    /// Which record.
    pub id: String,
    /// What was done to it now: `create`, `update` or `delete`.
    pub verb: String,
    /// The record as it is now; null when it is gone.
    #[schema(required = true, value_type = Option<Object>)]
    pub record: Option<Value>,
    /// Its entity tag; absent when it is gone, and after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub etag: Option<String>,
    /// The revision of the store that has it; after a dry run the one it was tried on.
    pub revision: String,
}

impl From<control::Event> for HistoryEntry {
    fn from(event: control::Event) -> Self {
        Self {
            number: event.number,
            revision: event.revision.to_string(),
            at: event.at.to_string(),
            by: event.by,
            verb: word(event.verb),
            collection: event.collection.to_string(),
            id: event.id,
            why: event.why,
            before: event.before,
            after: event.after,
            secrets: event.secrets,
        }
    }
}

impl From<control::Event> for HistoryDetail {
    fn from(event: control::Event) -> Self {
        let change = |control::FieldChange { pointer, before, after }: control::FieldChange| {
            FieldChange { pointer, before, after }
        };
        Self {
            changes: event.changes().into_iter().map(change).collect(),
            etag: event.etag.as_str().to_owned(),
            entry: event.into(),
        }
    }
}

impl From<control::RolledBack> for RolledBack {
    fn from(back: control::RolledBack) -> Self {
        Self {
            collection: back.collection.to_string(),
            id: back.id,
            verb: word(back.verb),
            record: back.record,
            etag: back.etag.map(|tag| tag.as_str().to_owned()),
            revision: back.revision.to_string(),
        }
    }
}

pub(super) fn word(verb: control::Verb) -> String {
    match verb {
        control::Verb::Create => "create",
        control::Verb::Update => "update",
        control::Verb::Delete => "delete",
    }
    .to_owned()
}
