//! The last-known-good file: what a proxy serves when it starts and the store does not answer, and by which it knows the
//! store when it does.

mod format;
mod fresh;
mod journal;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Revision, Timestamp};
use proxy::Tables;
use runtime::Clock;
use store::{Collection, Fields, Key, Record, Store};
use tokio::sync::watch;

pub(crate) use format::{Flaw, State};
use format::{Whole, Writer, read};
pub(crate) use fresh::{Fresh, Gathered};
use journal::Journal;

use crate::replica::Replica;
use runtime::with_causes;

use crate::StateFile;

/// The least time from one write of the whole file to the next.
const PAUSE: Duration = Duration::from_secs(5);
/// And as a multiple of what the write took, so that a large table does not keep a core busy.
const SHARE: u32 = 20;
/// How long the drain waits for a last write.
const LAST: Duration = Duration::from_secs(10);
/// How many certificates are read at once.
const PAGE: usize = 100;
/// How many hosts are written before others get their turn.
const TURN: usize = 500;

/// What the tables are worth keeping as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Worth {
    /// Counts changes of hosts and certificates.
    pub(crate) changes: u64,
    pub(crate) revision: Revision,
    pub(crate) accepted_at: Option<Timestamp>,
}

/// Loads what a former run kept, if there is anything and it is whole. Tables and guard then stand where it stood.
pub(crate) async fn restore(file: &StateFile, replica: &mut Replica) -> Result<bool, Flaw> {
    let sealer = replica.store.clone();
    let seal = sealer.sealer().cert_key();
    // Once to see that it is whole, then to believe it.
    match read(&file.path, seal, file.plaintext, |_, _| {}).await {
        Err(Flaw::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        checked => checked?,
    };
    let whole = read(&file.path, seal, file.plaintext, |key, fields| {
        replica.apply(key, Some(fields));
    });
    let Whole { mut state, id, sealed } = whole.await?;
    let seal = sealed.then_some(seal);
    let told = journal::read(&file.path, &id, seal, |key, fields| replica.apply(key, fields)).await;
    match told {
        Ok(told) => state = told.unwrap_or(state),
        Err(flaw) => {
            let error = with_causes(&flaw);
            tracing::error!(error, "the last-known-good journal is used as far as it can be read");
        }
    }
    replica.restored(state.revision, state.accepted_at);
    Ok(true)
}

/// Keeps what the tables have: a change in the journal, at once; and everything in the file, anew, when there are too many
/// changes for the journal, and not too often.
pub(crate) struct Keeper {
    pub(crate) file: StateFile,
    pub(crate) store: Store,
    pub(crate) tables: Arc<Tables>,
    pub(crate) clock: Clock,
    pub(crate) worth: watch::Receiver<Option<Worth>>,
    /// What file and journal hold.
    pub(crate) kept: Option<Worth>,
    /// What changed since they were last brought up to date.
    pub(crate) fresh: Fresh,
    /// What of it is not kept yet.
    pub(crate) pending: Gathered,
    /// That of the file there is, once this process wrote it.
    pub(crate) journal: Option<Journal>,
}

impl Keeper {
    /// Never ends.
    pub(crate) async fn run(&mut self) {
        let mut pause = Box::pin(self.clock.sleep(Duration::ZERO));
        let mut rested = true;
        loop {
            self.worth.mark_unchanged();
            if self.is_due() && !self.append().await && rested {
                let began = self.clock.now();
                self.rewrite().await;
                let took = self.clock.now().duration_since(began).unwrap_or_default();
                pause = Box::pin(self.clock.sleep(PAUSE.max(took * SHARE)));
                // What could not be kept is tried again then.
                rested = false;
            }
            tokio::select! {
                changed = self.worth.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = &mut pause, if !rested => rested = true,
            }
        }
    }

    /// Writes what is not written yet, as long as the drain may wait.
    pub(crate) async fn last(&mut self) {
        if !self.is_due() || self.append().await {
            return;
        }
        let end = self.clock.sleep(LAST);
        tokio::select! {
            () = self.rewrite() => {}
            () = end => tracing::warn!("the last-known-good file was not brought up to date"),
        }
    }

    fn is_due(&self) -> bool {
        let worth = self.worth.borrow();
        let (Some(now), Some(kept)) = (&*worth, &self.kept) else { return worth.is_some() };
        (now.changes, &now.revision.epoch, now.accepted_at)
            != (kept.changes, &kept.revision.epoch, kept.accepted_at)
    }

    /// Has the journal tell what changed. `false` when there is none that could: all is to be written anew.
    async fn append(&mut self) -> bool {
        let Some(worth) = self.worth.borrow().clone() else { return true };
        self.pending.append(self.fresh.take());
        // Taken out, since one that is written in part is of no more use.
        let journal = self.journal.take().filter(|it| !it.is_full() && !self.pending.too_many);
        let Some(mut journal) = journal else { return false };
        let keeps_certificates = self.keeps_certificates();
        let changes = self.pending.changes.iter();
        let changes =
            changes.filter(|(key, _)| keeps_certificates || key.collection != Collection::Cert);
        let state = State { revision: worth.revision.clone(), accepted_at: worth.accepted_at };
        match journal.append(self.store.sealer().cert_key(), &state, changes).await {
            Ok(()) => {
                self.pending = Gathered::default();
                (self.journal, self.kept) = (Some(journal), Some(worth));
                true
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(error, "the last-known-good journal can't be written");
                false
            }
        }
    }

    async fn rewrite(&mut self) {
        let Some(worth) = self.worth.borrow().clone() else { return };
        // The file has what changed so far; what changes while it is written goes to its journal.
        self.pending.append(self.fresh.take());
        let path = self.file.path.display();
        match self.write(&worth).await {
            Ok((id, records)) => {
                tracing::debug!(%path, records, "the last-known-good file is written");
                let seal = self.store.sealer().cert_key();
                self.journal = Journal::create(&self.file.path, &id, seal).await.ok();
                self.pending = Gathered::default();
                self.kept = Some(worth);
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(%path, error, "the last-known-good file can't be written");
            }
        }
    }

    /// Writes beside the file and puts it in its place, which happens whole or not at all.
    async fn write(&self, worth: &Worth) -> Result<(String, u64), Flaw> {
        let beside = self.file.path.with_extension("new");
        if let Some(directory) = self.file.path.parent() {
            tokio::fs::create_dir_all(directory).await?;
        }
        let writer = match self.with_stored_certs(&beside, worth).await? {
            Some(writer) => writer,
            None => self.with_kept_certs(&beside, worth).await?,
        };
        let written = writer.finish().await?;
        tokio::fs::rename(&beside, &self.file.path).await?;
        sync_directory(&self.file.path).await?;
        Ok(written)
    }

    /// A new file with the hosts of the tables.
    async fn hosts(&self, path: &Path, worth: &Worth) -> Result<Writer<'_>, Flaw> {
        let seal = self.store.sealer().cert_key();
        let state = State { revision: worth.revision.clone(), accepted_at: worth.accepted_at };
        let mut writer = Writer::create(path, seal, &state).await?;
        for (number, entry) in self.tables.snapshot().iter().enumerate() {
            let host = &entry.value().host;
            // A host has no secrets: nothing can fail.
            if let Ok(fields) = host.to_fields(self.store.sealer()) {
                writer.record(&host.key(), &fields).await?;
            }
            if number % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(writer)
    }

    /// With certificates copied from the store: their keys are not in the tables in a form that could be kept. `None` when
    /// it does not answer, or is not the store that the tables came from.
    async fn with_stored_certs(
        &self,
        path: &Path,
        worth: &Worth,
    ) -> Result<Option<Writer<'_>>, Flaw> {
        if self.tables.state().guard.is_some() {
            return Ok(None);
        }
        let mut writer = self.hosts(path, worth).await?;
        let mut cursor = None;
        while self.keeps_certificates() {
            let page = self.store.backend().scan(Collection::Cert, cursor.as_deref(), PAGE).await;
            let Ok(page) = page else { return Ok(None) };
            for (id, fields) in &page.records {
                if self.tables.certs().contains(id) {
                    writer.record(&Key::new(Collection::Cert, id.as_str()), fields).await?;
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let now = self.store.backend().revision().await;
        Ok(now.is_ok_and(|now| now.includes(&worth.revision)).then_some(writer))
    }

    /// With the certificates that the former file and its journal have, and those that changed since: the hosts are newer than
    /// those there.
    async fn with_kept_certs(&self, path: &Path, worth: &Worth) -> Result<Writer<'_>, Flaw> {
        let mut certificates = BTreeMap::new();
        if self.keeps_certificates() {
            let mut keep = |key: &Key, fields: Option<&Fields>| {
                if key.collection == Collection::Cert {
                    certificates.insert(key.clone(), fields.cloned());
                }
            };
            if let Err(flaw) = self.former(&mut keep).await {
                tracing::debug!(
                    error = with_causes(&flaw),
                    "there is no former last-known-good file"
                );
            }
            self.pending.changes.iter().for_each(|(key, fields)| keep(key, fields.as_ref()));
        }
        certificates.retain(|key, _| self.tables.certs().contains(&key.id));
        let certificates = certificates.iter().filter_map(|(key, it)| Some((key, it.as_ref()?)));
        let mut writer = self.hosts(path, worth).await?;
        for (key, fields) in certificates {
            writer.record(key, fields).await?;
        }
        Ok(writer)
    }

    /// Hands out what file and journal have, if the file is whole.
    async fn former(
        &self,
        keep: &mut (impl FnMut(&Key, Option<&Fields>) + Send),
    ) -> Result<(), Flaw> {
        let (path, seal) = (&self.file.path, self.store.sealer().cert_key());
        let plaintext = self.file.plaintext;
        read(path, seal, plaintext, |_, _| {}).await?;
        let whole = read(path, seal, plaintext, |key, fields| keep(key, Some(fields))).await?;
        journal::read(path, &whole.id, whole.sealed.then_some(seal), keep).await?;
        Ok(())
    }

    /// Whether private keys may stand in the file, sealed or in clear.
    fn keeps_certificates(&self) -> bool {
        self.store.sealer().cert_key().has_key() || self.file.plaintext
    }
}

/// Has the new name on disk, too.
async fn sync_directory(path: &Path) -> Result<(), Flaw> {
    let directory = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    Ok(tokio::fs::File::open(directory).await?.sync_all().await?)
}
