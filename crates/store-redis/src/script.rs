use fred::types::Value;
use fred::types::scripts::Script;
use store::{Action, Expect, Fields, Key, Op};

use crate::layout::Layout;
use crate::legacy::Copy;

/// The scripts that run in Redis; each says in its head what it takes and answers.
pub(crate) struct Scripts {
    pub(crate) changes: Script,
    pub(crate) commit: Script,
    pub(crate) copies: Script,
    pub(crate) copies_of_hosts: Script,
    pub(crate) due: Script,
    pub(crate) history: Script,
    pub(crate) lease: Script,
    pub(crate) lock: Script,
    pub(crate) read: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            changes: Script::from_lua(include_str!("lua/changes.lua")),
            commit: Script::from_lua(include_str!("lua/commit.lua")),
            copies: Script::from_lua(include_str!("lua/copies.lua")),
            copies_of_hosts: Script::from_lua(include_str!("lua/copies_of_hosts.lua")),
            due: Script::from_lua(include_str!("lua/due.lua")),
            history: Script::from_lua(include_str!("lua/history.lua")),
            lease: Script::from_lua(include_str!("lua/lease.lua")),
            lock: Script::from_lua(include_str!("lua/lock.lua")),
            read: Script::from_lua(include_str!("lua/read.lua")),
        }
    }
}

/// One change as the commit script takes it.
pub(crate) struct Change {
    verb: &'static str,
    key: Key,
    index: String,
    record: String,
    expect: &'static str,
    content: Fields,
    /// Milliseconds; -1 for a record that stays.
    ttl: i64,
    fields: Fields,
    /// What goes with it for older programs.
    copy: Option<Copy>,
}

impl Change {
    /// A change of a transaction, with the content that its expected ETag stands for.
    pub(crate) fn from_op(layout: &Layout, op: &Op, content: Option<Fields>) -> Self {
        let expect = match op.expect {
            Expect::Any => "any",
            Expect::Absent => "absent",
            Expect::Exists => "exists",
            Expect::ETag(_) if content.is_some() => "content",
            Expect::ETag(_) => "absent",
        };
        let change = Self {
            expect,
            content: content.unwrap_or_default(),
            copy: layout.legacy().copy(op),
            ..Self::new(layout, "delete", &op.key)
        };
        match &op.action {
            Action::Delete => change,
            Action::Put { fields, ttl } => {
                let ttl = ttl.map_or(-1, |ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
                Self { verb: "put", fields: fields.clone(), ttl, ..change }
            }
        }
    }

    /// That a record's time is over.
    pub(crate) fn expire(layout: &Layout, key: &Key) -> Self {
        Self::new(layout, "expire", key)
    }

    /// That an index names a record that is not there.
    pub(crate) fn forget(layout: &Layout, key: &Key) -> Self {
        Self::new(layout, "forget", key)
    }

    /// Appends it to the script's keys and arguments.
    pub(crate) fn write(&self, keys: &mut Vec<String>, arguments: &mut Vec<Value>) {
        let (copy, copy_key, text) = match &self.copy {
            // A change has as many keys as any other, so one comes twice.
            None => ("none", &self.record, ""),
            Some(Copy { key, value: None }) => ("delete", key, ""),
            Some(Copy { key, value: Some(text) }) => ("set", key, text.as_str()),
        };
        keys.extend([self.index.clone(), self.record.clone(), copy_key.clone()]);
        arguments.extend([
            Value::from(self.verb),
            Value::from(self.key.to_string()),
            Value::from(self.key.id.as_str()),
            Value::from(self.expect),
        ]);
        write_fields(&self.content, arguments);
        arguments.push(Value::from(self.ttl.to_string()));
        write_fields(&self.fields, arguments);
        arguments.extend([Value::from(copy), Value::from(text)]);
    }

    fn new(layout: &Layout, verb: &'static str, key: &Key) -> Self {
        Self {
            verb,
            key: key.clone(),
            index: layout.index(key.collection),
            record: layout.record(key),
            expect: "any",
            content: Fields::new(),
            ttl: -1,
            fields: Fields::new(),
            copy: None,
        }
    }
}

fn write_fields(fields: &Fields, arguments: &mut Vec<Value>) {
    arguments.push(Value::from(fields.len().to_string()));
    for part in fields.iter().flat_map(|(name, value)| [name, value]) {
        arguments.push(Value::from(part.as_str()));
    }
}
