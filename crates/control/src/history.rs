//! What was written, by whom and when: told in the commit itself, read back, and taken back.

use auth::Permission;
use model::{ETag, Revision, Role, Timestamp, Username};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::{Collection, Expect, Fields, HistoryEntry, Key, Record, Txn, etag};

use crate::error::Subject;
use crate::records::{Change, Kind, differ, subject};
use crate::users::ADMINS_LOCK;
use crate::{Actor, Conditions, Control, Error};

/// How many entries are read at once.
const PAGE: usize = 500;
/// How many entries one question looks at, at most; the next page goes on from there.
const LOOKED_AT: usize = 20_000;

/// What a write did to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// There was none.
    Create,
    /// It was replaced.
    Update,
    /// It is gone.
    Delete,
}

/// One write. Secrets are never in it; that they changed is.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number in the history.
    pub number: u64,
    /// The revision that has it.
    pub revision: Revision,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it; `None` for the program itself.
    pub by: Option<String>,
    /// What it did.
    pub verb: Verb,
    /// The kind of record.
    pub collection: Collection,
    /// Which record.
    pub id: String,
    /// What else it was part of: `rollback of 12`, `import`.
    pub why: Option<String>,
    /// The record before, as the API shows it.
    pub before: Option<Value>,
    /// The record after.
    pub after: Option<Value>,
    /// The secrets that changed, by field.
    pub secrets: Vec<String>,
    /// A tag of the entry itself, which never changes.
    pub etag: ETag,
}

/// One field that a write changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Where: a JSON pointer (RFC 6901) into the record.
    pub pointer: String,
    /// What was there; `None`: nothing.
    pub before: Option<Value>,
    /// What is there; `None`: nothing.
    pub after: Option<Value>,
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this kind of record.
    pub collection: Option<Collection>,
    /// Of records with this id.
    pub id: Option<String>,
}

/// Some events, newest first.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// What to ask for the next page with; `None` at the end.
    pub next: Option<u64>,
}

/// A record that was brought back to what it was.
#[derive(Clone, Debug)]
pub struct RolledBack {
    /// The kind of record.
    pub collection: Collection,
    /// Which record.
    pub id: String,
    /// What was done to it now.
    pub verb: Verb,
    /// The record as it is now, as the API shows it; `None` when it is gone.
    pub record: Option<Value>,
    /// Its tag; `None` when it is gone or this was only tried out.
    pub etag: Option<ETag>,
    /// The revision that has it; after a dry run the one it was tried on.
    pub revision: Revision,
}

/// An entry as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    verb: Verb,
    collection: String,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Fields>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Fields>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    /// The tag of the record afterwards, secrets included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<ETag>,
}

impl Event {
    /// The fields that differ between before and after, the whole record when one of the two is none.
    pub fn changes(&self) -> Vec<FieldChange> {
        diff(self.before.as_ref(), self.after.as_ref())
    }

    fn read(entry: &HistoryEntry) -> Option<(Self, Told)> {
        let told: Told = serde_json::from_str(&entry.text).ok()?;
        let collection = Collection::from_name(&told.collection)?;
        let kind = Kind::of(collection)?;
        let view = |fields: &Option<Fields>| fields.as_ref().map(|it| kind.view(&told.id, it));
        let content = Fields::from([(entry.number.to_string(), entry.text.clone())]);
        let event = Self {
            number: entry.number,
            revision: entry.revision.clone(),
            at: Timestamp::from_millis(told.at),
            by: told.by.clone(),
            verb: told.verb,
            collection,
            id: told.id.clone(),
            why: told.why.clone(),
            before: view(&told.before),
            after: view(&told.after),
            secrets: told.secrets.clone(),
            etag: etag(&content),
        };
        Some((event, told))
    }
}

impl EventFilter {
    /// Of the host with this pattern.
    pub fn host(id: Option<String>) -> Self {
        Self { collection: Some(Collection::Host), id }
    }

    /// Of a kind of record by its name, or one of them; `None` when such have no history.
    pub fn named(collection: &str, id: Option<String>) -> Option<Self> {
        let collection = Collection::from_name(collection).filter(|it| Kind::of(*it).is_some())?;
        Some(Self { collection: Some(collection), id })
    }

    fn takes(&self, event: &Event) -> bool {
        self.collection.is_none_or(|collection| collection == event.collection)
            && self.id.as_ref().is_none_or(|id| *id == event.id)
    }
}

impl Control {
    /// At most `limit` events that the actor may see, older than `before`, newest first.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn history(
        &self,
        actor: &Actor,
        filter: &EventFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<EventPage, Error> {
        actor.may(Permission::Read)?;
        let (mut events, mut at, mut looked_at) = (Vec::new(), before, 0);
        loop {
            let entries = self.store().backend().history(at, PAGE).await?;
            looked_at += entries.len();
            for entry in &entries {
                at = Some(entry.number);
                let Some((event, _)) = Event::read(entry) else {
                    tracing::debug!(number = entry.number, "an entry of the history can't be read");
                    continue;
                };
                let may = Kind::of(event.collection).is_some_and(|it| actor.may(it.read).is_ok());
                if !may || !filter.takes(&event) {
                    continue;
                }
                if events.len() == limit {
                    let next = events.last().map(|event: &Event| event.number);
                    return Ok(EventPage { events, next });
                }
                events.push(event);
            }
            if entries.len() < PAGE {
                return Ok(EventPage { events, next: None });
            }
            if looked_at >= LOOKED_AT {
                return Ok(EventPage { events, next: at });
            }
        }
    }

    /// One event.
    ///
    /// # Errors
    /// [`Error::NotFound`] for one that never was or is no longer kept; [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn event(&self, actor: &Actor, number: u64) -> Result<Event, Error> {
        actor.may(Permission::Read)?;
        let (event, _) = self.entry(number).await?;
        let kind = Kind::of(event.collection).ok_or_else(|| no_event(number))?;
        actor.may(kind.read)?;
        Ok(event)
    }

    /// Writes the record of an event as it was before it.
    ///
    /// Without a condition the record must be as the event left it; `force` or a tag in `conditions` that fits says
    /// that a later change may go. A secret is not in the history: it stays as it is now.
    ///
    /// # Errors
    /// [`Error::Superseded`] when the record has changed since and nothing was said about that; [`Error::Stale`];
    /// [`Error::Refused`] when there is nothing to bring back, or a secret would be needed; [`Error::Invalid`] when
    /// what was is against today's rules; [`Error::NotFound`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn roll_back(
        &self,
        actor: &Actor,
        number: u64,
        conditions: &Conditions,
        force: bool,
    ) -> Result<RolledBack, Error> {
        let (event, told) = self.entry(number).await?;
        let kind = Kind::of(event.collection).ok_or_else(|| no_event(number))?;
        actor.may(kind.write)?;
        let work = self.bring_back(actor, kind, number, &told, conditions, force);
        if event.collection == Collection::User {
            return self.with_lock(ADMINS_LOCK, work).await;
        }
        work.await
    }

    async fn bring_back(
        &self,
        actor: &Actor,
        kind: &Kind,
        number: u64,
        told: &Told,
        conditions: &Conditions,
        force: bool,
    ) -> Result<RolledBack, Error> {
        let key = Key::new(kind.collection, told.id.as_str());
        let now = self.store().backend().get(&key).await?;
        let tag = now.as_ref().map(etag);
        let as_expected = match &conditions.if_match {
            Some(_) => tag.as_ref().is_some_and(|tag| conditions.hold(tag)),
            None => true,
        };
        if !as_expected {
            return Err(Error::Stale(subject(&key)));
        }
        if conditions.if_match.is_none() && !force && tag != told.etag {
            return Err(Error::Superseded { subject: subject(&key), number });
        }
        let change = self.way_back(kind, key.clone(), now, told)?;
        if kind.collection == Collection::User {
            self.keeps_an_admin(&change).await?;
        }
        let verb = verb(&change);
        let record = change.after.as_ref().map(|after| kind.view(&key.id, &kind.shown(after)));
        let etag = change.after.as_ref().map(etag).filter(|_| !conditions.dry_run);
        let revision = match conditions.dry_run {
            true => self.refresh().await?,
            false => {
                let why = format!("rollback of {number}");
                let txn = self.told_txn(vec![change], Some(actor.username()), Some(&why));
                let written = self.store().backend().commit(txn).await;
                let written = written.map_err(|error| lost_race(error, &key))?;
                self.after_write(&key, verb).await?;
                tracing::info!(%key, by = %actor.username(), number, "a record was rolled back");
                written
            }
        };
        let Key { collection, id } = key;
        Ok(RolledBack { collection, id, verb, record, etag, revision })
    }

    /// From what a record is now to what it was before an event.
    fn way_back(
        &self,
        kind: &Kind,
        key: Key,
        now: Option<Fields>,
        told: &Told,
    ) -> Result<Change, Error> {
        let Some(before) = &told.before else {
            return match now {
                Some(_) => Ok(Change { key, before: now, after: None }),
                None => Err(Error::Refused("the record is already as it was: there is none")),
            };
        };
        let had_one = kind.secrets.len() > kind.optional.len() || !told.secrets.is_empty();
        if now.is_none() && had_one {
            return Err(Error::Refused(
                "the record had a secret, which is not in the history: make it anew",
            ));
        }
        let mut after = kind.with_shown(now.as_ref(), before);
        if now.as_ref().is_some_and(|now| !differ(now, &after)) {
            return Err(Error::Refused(match told.secrets.is_empty() {
                true => "the record is already as it was",
                false => "only a secret was changed, and secrets are not in the history",
            }));
        }
        kind.touch(&mut after, self.now());
        let wrong = kind.check(&key.id, &after, self.store().sealer(), self.reach());
        if !wrong.is_empty() {
            let errors = wrong.into_iter().map(|detail| crate::FieldError::new("", detail));
            return Err(Error::Invalid { errors: errors.collect() });
        }
        Ok(Change { key, before: now, after: Some(after) })
    }

    async fn keeps_an_admin(&self, change: &Change) -> Result<(), Error> {
        let role = |fields: &Fields| {
            let sealer = self.store().sealer();
            model::User::from_fields(&change.key.id, fields, sealer).ok().map(|user| user.role)
        };
        if change.after.as_ref().and_then(role) == Some(Role::Admin) {
            return Ok(());
        }
        match change.key.id.parse::<Username>() {
            Ok(name) => self.users().keeps_an_admin_without(&name).await,
            Err(_) => Ok(()),
        }
    }

    async fn after_write(&self, key: &Key, verb: Verb) -> Result<(), Error> {
        match (key.collection, verb) {
            (Collection::User, Verb::Delete) => {
                if let Ok(name) = key.id.parse::<Username>() {
                    self.end_sessions(&name, None).await?;
                }
            }
            (Collection::Host | Collection::Cert, _) => self.certificates_changed(),
            _ => {}
        }
        Ok(())
    }

    async fn entry(&self, number: u64) -> Result<(Event, Told), Error> {
        let before = number.checked_add(1);
        let found = self.store().backend().history(before, 1).await?;
        let found = found.first().filter(|entry| entry.number == number).and_then(Event::read);
        found.ok_or_else(|| no_event(number))
    }

    /// These changes with an entry for each, expecting each record to be as it was.
    pub(crate) fn told_txn(
        &self,
        changes: Vec<Change>,
        by: Option<&Username>,
        why: Option<&str>,
    ) -> Txn {
        let mut txn = Txn::new();
        for change in changes {
            let told =
                self.tell(&change.key, change.before.as_ref(), change.after.as_ref(), by, why);
            if let Some(text) = told {
                txn = txn.entry(text, self.store().history_kept());
            }
            txn = change.add_to(txn);
        }
        txn
    }

    /// Writes a record and tells of it.
    pub(crate) async fn put_told<R: Record>(
        &self,
        record: &R,
        expect: Expect,
        by: Option<&Username>,
    ) -> Result<store::Written, store::Error> {
        let key = record.key();
        let tell = |before: Option<&Fields>, after: &Fields| {
            self.tell(&key, before, Some(after), by, None)
        };
        self.store().put_told(record, expect, tell).await
    }

    /// Deletes a record that has these fields and tells of it.
    pub(crate) async fn delete_told(
        &self,
        key: Key,
        fields: Fields,
        by: &Username,
    ) -> Result<Revision, store::Error> {
        let change = Change { key, before: Some(fields), after: None };
        self.store().backend().commit(self.told_txn(vec![change], Some(by), None)).await
    }

    /// The entry for a write; `None` when none are kept.
    fn tell(
        &self,
        key: &Key,
        before: Option<&Fields>,
        after: Option<&Fields>,
        by: Option<&Username>,
        why: Option<&str>,
    ) -> Option<String> {
        let kind = Kind::of(key.collection).filter(|_| self.store().history_kept() > 0)?;
        let secret =
            |fields: Option<&Fields>, name: &str| fields.and_then(|it| it.get(name)).cloned();
        let changed = |name: &&&str| secret(before, name) != secret(after, name);
        let told = Told {
            at: self.now().as_millis(),
            by: by.map(ToString::to_string),
            verb: verb_of(before, after),
            collection: key.collection.name().to_owned(),
            id: key.id.clone(),
            why: why.map(str::to_owned),
            before: before.map(|fields| kind.shown(fields)),
            after: after.map(|fields| kind.shown(fields)),
            secrets: kind.secrets.iter().filter(changed).map(|name| (*name).to_owned()).collect(),
            etag: after.map(etag),
        };
        // Plain data: there is nothing in it that JSON can't say.
        serde_json::to_string(&told).ok()
    }
}

fn verb(change: &Change) -> Verb {
    verb_of(change.before.as_ref(), change.after.as_ref())
}

fn verb_of(before: Option<&Fields>, after: Option<&Fields>) -> Verb {
    match (before, after) {
        (None, _) => Verb::Create,
        (Some(_), Some(_)) => Verb::Update,
        (Some(_), None) => Verb::Delete,
    }
}

/// The members that differ, in order; values that are lists or objects as wholes.
fn diff(before: Option<&Value>, after: Option<&Value>) -> Vec<FieldChange> {
    let members =
        |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    let (mut before, after) = (members(before), members(after));
    let mut names: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: String| {
        let (was, is) = (before.remove(&name), after.get(&name).cloned());
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        (was != is).then_some(FieldChange { pointer, before: was, after: is })
    };
    names.into_iter().filter_map(change).collect()
}

fn no_event(number: u64) -> Error {
    Error::NotFound(Subject::event(number))
}

fn lost_race(error: store::Error, key: &Key) -> Error {
    match error {
        store::Error::Conflict { .. } => Error::Stale(subject(key)),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_diff_names_what_changed_came_and_went() {
        let before = json!({ "same": 1, "list": ["a"], "gone": true, "a/b": 1 });
        let after = json!({ "same": 1, "list": ["a", "b"], "new": null, "a/b": 2 });
        let changes = diff(Some(&before), Some(&after));
        let seen: Vec<_> = changes
            .iter()
            .map(|change| (change.pointer.as_str(), change.before.clone(), change.after.clone()))
            .collect();
        assert_eq!(
            seen,
            [
                ("/a~1b", Some(json!(1)), Some(json!(2))),
                ("/gone", Some(json!(true)), None),
                ("/list", Some(json!(["a"])), Some(json!(["a", "b"]))),
                ("/new", None, Some(json!(null))),
            ]
        );
        assert_eq!(diff(None, Some(&after)).len(), 4);
        assert_eq!(diff(Some(&after), Some(&after)), []);
    }
}
