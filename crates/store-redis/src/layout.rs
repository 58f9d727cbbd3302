use fred::util::redis_keyslot;
use store::{Collection, Key};

use crate::legacy::Legacy;

/// The names of keys in Redis.
///
/// A collection `C` is a set `<prefix>C` of ids, a record is a hash `<prefix>C_<id>`. What is ours alone is called
/// `<prefix>gw_…`, which no collection can be. What older programs read elsewhere is [`Legacy`]'s.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    prefix: String,
    legacy: Legacy,
}

impl Layout {
    pub(crate) fn new(prefix: &str, legacy: Legacy) -> Self {
        Self { prefix: prefix.to_owned(), legacy }
    }

    /// What is shared with older programs.
    pub(crate) fn legacy(&self) -> &Legacy {
        &self.legacy
    }

    /// The set of a collection's ids.
    pub(crate) fn index(&self, collection: Collection) -> String {
        self.name(collection.name())
    }

    /// The hash of a record.
    pub(crate) fn record(&self, key: &Key) -> String {
        self.name(&key.to_string())
    }

    /// The record that has this name.
    pub(crate) fn parse(&self, name: &str) -> Option<Key> {
        Key::parse(name.strip_prefix(&self.prefix)?)
    }

    /// A hash of `epoch`, `n` and `log_from`, the last revision that the log does not have.
    pub(crate) fn revision(&self) -> String {
        self.name("gw_revision")
    }

    /// A sorted set of changed keys, each with the number of the last revision that changed it.
    pub(crate) fn changes(&self) -> String {
        self.name("gw_changes")
    }

    /// A sorted set of keys that expire, each with its time in milliseconds.
    pub(crate) fn expiries(&self) -> String {
        self.name("gw_expiries")
    }

    /// A hash of the history's entries by number, with `first` and `last`.
    pub(crate) fn history(&self) -> String {
        self.name("gw_history")
    }

    /// The channel that commits announce their keys on.
    pub(crate) fn hints(&self) -> String {
        self.name("gw_hint")
    }

    /// A lock.
    pub(crate) fn lock(&self, name: &str) -> String {
        self.name(&format!("gw_lock_{name}"))
    }

    /// The counter of fencing tokens.
    pub(crate) fn fence(&self) -> String {
        self.name("gw_fence")
    }

    /// The slot of a cluster that all keys of this prefix are in, when it has a hash tag.
    pub(crate) fn slot(&self) -> u16 {
        redis_keyslot(self.revision().as_bytes())
    }

    fn name(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }
}
