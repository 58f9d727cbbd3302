use std::collections::{BTreeMap, HashSet};
use std::fs::File;

use auth::Permission;
use futures_util::future::try_join_all;
use model::{Revision, SessionToken};
use store::{Collection, Expect, Fields, Key};

use super::check::{Checked, Lines, check, unreadable};
use super::file::Line;
use crate::history::Verb;
use crate::mirror::for_each;
use crate::records::{Change, Kind, LEFT_OUT, LOCKED};
use crate::{Actor, Control, Error};

/// How many records are written in one commit.
const BATCH: usize = 128;
/// How many records are read at once.
const READS: usize = 32;
/// How often a batch is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 8;
/// How many changes are listed.
const LISTED: usize = 1_000;
/// What the history says of such writes.
const WHY: &str = "import";

/// What becomes of records that the file does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportMode {
    /// They stay.
    Merge,
    /// They are deleted, of the collections that the file has.
    Replace,
}

/// What is to be imported, and how.
#[derive(Debug)]
pub struct Import {
    /// The file; it is read twice.
    pub file: File,
    /// What becomes of records that the file does not have.
    pub mode: ImportMode,
    /// Whether to find out what would change and to change nothing.
    pub dry_run: bool,
}

/// How many records of a collection were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Made anew.
    pub created: u64,
    /// Replaced.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
    /// Already as in the file, and not written.
    pub unchanged: u64,
}

/// One record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its kind.
    pub collection: Collection,
    /// Which one.
    pub id: String,
    /// What was done.
    pub verb: Verb,
}

/// What an import did, or would do.
#[derive(Clone, Debug)]
pub struct Imported {
    /// By collection.
    pub counts: BTreeMap<Collection, Counts>,
    /// The first changes.
    pub changes: Vec<Listed>,
    /// How many changes there are beyond those that are listed.
    pub more: u64,
    /// The revision that has everything; after a dry run the one it was tried on.
    pub revision: Revision,
}

impl Control {
    /// Whether the actor may import: to be asked before a file is received.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn may_import(&self, actor: &Actor) -> Result<(), Error> {
        actor.may(Permission::Backup)
    }

    /// Takes a file in. It is checked whole before anything is written, and every wrong record is named.
    ///
    /// Records are written in batches, each at once with its entries in the history. When it ends half-way, what was
    /// written is whole, and the same import again does the rest: what is already so is left alone. Sessions of
    /// accounts that were deleted or got another password end, but for that of the actor.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a file that is wrong, with every wrong line, or sealed with keys that are not here;
    /// [`Error::Refused`] when the actor would not remain an administrator; [`Error::Busy`] when others write the same
    /// records all the time; [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn import(&self, actor: &Actor, import: Import) -> Result<Imported, Error> {
        actor.may(Permission::Backup)?;
        let Import { file, mode, dry_run } = import;
        let (checked, file) = self.checked(actor, file, mode).await?;
        let revision = self.store().backend().revision().await?;
        let done = Imported { counts: BTreeMap::new(), changes: Vec::new(), more: 0, revision };
        let mut work = Work { control: self, actor, dry_run, done, locked_out: HashSet::new() };
        work.put_all(file).await?;
        if mode == ImportMode::Replace {
            work.delete_others(&checked).await?;
        }
        work.end_sessions().await?;
        if !dry_run {
            self.certificates_changed();
            self.zones_changed();
            let revision = &work.done.revision;
            tracing::info!(by = %actor.username(), %revision, ?mode, "an import was made");
        }
        Ok(work.done)
    }

    async fn checked(
        &self,
        actor: &Actor,
        file: File,
        mode: ImportMode,
    ) -> Result<(Checked, File), Error> {
        let (control, name) = (self.clone(), actor.username().clone());
        let reading = tokio::task::spawn_blocking(move || {
            let mut lines = Lines::new(file).map_err(unreadable)?;
            let sealer = control.store().sealer();
            let checked = check(&mut lines, sealer, control.reach(), &name, mode)?;
            Ok((checked, lines.into_file()))
        });
        reading.await.map_err(|error| Error::Internal(error.into()))?
    }
}

struct Work<'c> {
    control: &'c Control,
    actor: &'c Actor,
    dry_run: bool,
    done: Imported,
    /// Accounts that were deleted or have another password now.
    locked_out: HashSet<String>,
}

impl Work<'_> {
    async fn put_all(&mut self, file: File) -> Result<(), Error> {
        let mut lines = Lines::new(file).map_err(unreadable)?;
        lines.next().map_err(unreadable)?;
        loop {
            let reading = tokio::task::spawn_blocking(move || {
                let mut batch = Vec::with_capacity(BATCH);
                while batch.len() < BATCH {
                    match lines.record()? {
                        Some(line) => batch.push(line),
                        None => break,
                    }
                }
                Ok::<_, std::io::Error>((batch, lines))
            });
            let reading = reading.await.map_err(|error| Error::Internal(error.into()))?;
            let (batch, rest) = reading.map_err(unreadable)?;
            lines = rest;
            if batch.is_empty() {
                return Ok(());
            }
            let wanted = batch.into_iter().filter_map(wanted);
            // A scan may have listed a record twice, and a commit takes it once: the later one.
            let wanted: BTreeMap<Key, Fields> = wanted.collect();
            let wanted = wanted.into_iter().map(|(key, fields)| (key, Some(fields))).collect();
            self.write(wanted).await?;
        }
    }

    async fn delete_others(&mut self, checked: &Checked) -> Result<(), Error> {
        for kind in checked.collections.iter().rev() {
            let mut cursor = None;
            loop {
                let backend = self.control.store().backend();
                let page = backend.scan(kind.collection, cursor.as_deref(), BATCH).await?;
                let keys = page.records.into_iter().map(|(id, _)| Key::new(kind.collection, id));
                let others = keys.filter(|key| !checked.keys.contains(key));
                let others: BTreeMap<_, _> = others.map(|key| (key, None)).collect();
                self.write(others.into_iter().collect()).await?;
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Brings records to what they are wanted to be, at once.
    async fn write(&mut self, wanted: Vec<(Key, Option<Fields>)>) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            let all = self.changes(&wanted).await?;
            let changes: Vec<_> =
                all.iter().filter(|change| change.before != change.after).cloned().collect();
            if !changes.is_empty() && !self.dry_run {
                let txn = self.control.told_txn(changes, Some(self.actor.username()), Some(WHY));
                match self.control.store().backend().commit(txn).await {
                    Ok(revision) => self.done.revision = revision,
                    Err(store::Error::Conflict { .. }) if attempt < ATTEMPTS => {
                        attempt += 1;
                        continue;
                    }
                    Err(store::Error::Conflict { .. }) => {
                        return Err(Error::Busy { retry_after: std::time::Duration::from_secs(1) });
                    }
                    Err(other) => return Err(other.into()),
                }
            }
            all.iter().for_each(|change| self.count(change));
            return Ok(());
        }
    }

    async fn changes(&self, wanted: &[(Key, Option<Fields>)]) -> Result<Vec<Change>, Error> {
        let backend = self.control.store().backend();
        let mut changes = Vec::with_capacity(wanted.len());
        for some in wanted.chunks(READS) {
            let found = try_join_all(some.iter().map(|(key, _)| backend.get(key))).await?;
            for ((key, after), before) in some.iter().zip(found) {
                let after = after.as_ref().map(|after| whole(key, before.as_ref(), after.clone()));
                changes.push(Change { key: key.clone(), before, after });
            }
        }
        Ok(changes)
    }

    fn count(&mut self, change: &Change) {
        let counts = self.done.counts.entry(change.key.collection).or_default();
        let verb = match (&change.before, &change.after) {
            (before, after) if before == after => {
                counts.unchanged += 1;
                return;
            }
            (None, _) => (Verb::Create, &mut counts.created),
            (_, Some(_)) => (Verb::Update, &mut counts.updated),
            (_, None) => (Verb::Delete, &mut counts.deleted),
        };
        *verb.1 += 1;
        let Key { collection, id } = change.key.clone();
        if collection == Collection::User && verb.0 != Verb::Create {
            let hash = |fields: &Option<Fields>| fields.as_ref()?.get("password").cloned();
            if hash(&change.before) != hash(&change.after) {
                self.locked_out.insert(id.clone());
            }
        }
        match self.done.changes.len() < LISTED {
            true => self.done.changes.push(Listed { collection, id, verb: verb.0 }),
            false => self.done.more += 1,
        }
    }

    async fn end_sessions(&self) -> Result<(), Error> {
        if self.dry_run || self.locked_out.is_empty() {
            return Ok(());
        }
        let store = self.control.store();
        let mut ending = Vec::new();
        for_each::<SessionToken>(store, |session| {
            let theirs = self.locked_out.contains(session.username.as_str());
            if theirs && session.hash != self.actor.session() {
                ending.push(session.hash);
            }
        })
        .await?;
        for hash in ending {
            store.delete::<SessionToken>(&hash, Expect::Any).await?;
        }
        Ok(())
    }
}

/// The record of a line; of what was checked before there is no other.
fn wanted(line: Line) -> Option<(Key, Fields)> {
    Some((Key::new(Collection::from_name(&line.collection)?, line.id), line.fields))
}

/// A record from the file with the secrets that it lacks: those it has now, or one that opens nothing.
fn whole(key: &Key, before: Option<&Fields>, mut after: Fields) -> Fields {
    let Some(kind) = Kind::of(key.collection) else { return after };
    for name in kind.secrets {
        let now = before.and_then(|fields| fields.get(*name)).cloned();
        if !kind.optional.contains(name) {
            after
                .entry((*name).to_owned())
                .or_insert_with(|| now.unwrap_or_else(|| LOCKED.to_owned()));
        } else if let (Some(value), Some(now)) = (after.get_mut(*name), now)
            && value == LEFT_OUT
        {
            *value = now;
        }
    }
    after
}
