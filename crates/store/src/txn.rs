use std::time::Duration;

use model::ETag;

use crate::{Fields, Key, etag};

/// Changes to commit as one: all of them or none.
///
/// Expectations are judged against the store as it was before the transaction. When a key is named twice the later
/// change wins.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    ops: Vec<Op>,
    history: NewEntries,
}

/// What a transaction appends to the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEntries {
    /// The entries, oldest first.
    pub texts: Vec<String>,
    /// How many entries of all are kept.
    pub keep: usize,
}

/// One change of a [`Txn`].
#[derive(Clone, Debug)]
pub struct Op {
    /// Which record.
    pub key: Key,
    /// What to do with it.
    pub action: Action,
    /// What it must be beforehand.
    pub expect: Expect,
}

/// What a change does to its record.
#[derive(Clone, Debug)]
pub enum Action {
    /// The record is gone.
    Delete,
    /// The record has exactly these fields.
    Put {
        /// All its fields.
        fields: Fields,
        /// After how long it vanishes by itself, which counts as a change; `None`: never.
        ttl: Option<Duration>,
    },
}

/// What a record must be for a commit to go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It must not exist.
    Absent,
    /// It may be anything.
    Any,
    /// It must exist with this content.
    ETag(ETag),
    /// It must exist.
    Exists,
}

impl Expect {
    /// Whether a record that is `current` is what was expected.
    pub fn holds(&self, current: Option<&Fields>) -> bool {
        match (self, current) {
            (Self::Any, _) | (Self::Absent, None) | (Self::Exists, Some(_)) => true,
            (Self::ETag(tag), Some(fields)) => *tag == etag(fields),
            _ => false,
        }
    }
}

impl Txn {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces a record's content, or makes it.
    #[must_use]
    pub fn put(self, key: Key, fields: Fields, expect: Expect) -> Self {
        self.with(key, Action::Put { fields, ttl: None }, expect)
    }

    /// As [`Txn::put`], for a record that vanishes by itself after `ttl`.
    #[must_use]
    pub fn put_expiring(self, key: Key, fields: Fields, ttl: Duration, expect: Expect) -> Self {
        self.with(key, Action::Put { fields, ttl: Some(ttl) }, expect)
    }

    /// Removes a record; one that is not there stays so.
    #[must_use]
    pub fn delete(self, key: Key, expect: Expect) -> Self {
        self.with(key, Action::Delete, expect)
    }

    /// Appends an entry to the history when the transaction is committed with at least one change. Of all entries the
    /// last `keep` stay; with 0 none is written.
    #[must_use]
    pub fn entry(mut self, text: String, keep: usize) -> Self {
        if keep > 0 {
            self.history.texts.push(text);
            self.history.keep = keep;
        }
        self
    }

    /// Takes out what is to be appended to the history.
    pub fn take_history(&mut self) -> NewEntries {
        std::mem::take(&mut self.history)
    }

    /// The changes in the order they were added.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The changes in the order they were added.
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }

    fn with(mut self, key: Key, action: Action, expect: Expect) -> Self {
        self.ops.push(Op { key, action, expect });
        self
    }
}
