use std::collections::BTreeSet;

use model::{Epoch, Revision, Timestamp};
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::open::{EPOCH, HISTORY, LOG, LOG_FROM, N, NUMBERS, RECORDS, TEXTS};
use crate::{Changes, Collection, Error, Fields, HistoryEntry, Key, ScanPage};

/// The store as it was at the last commit.
pub(super) struct Snapshot {
    records: ReadOnlyTable<(&'static str, &'static str), (u64, bool, &'static [u8])>,
    log: ReadOnlyTable<(u64, u32), (&'static str, &'static str)>,
    history: ReadOnlyTable<u64, (u64, &'static str)>,
    numbers: ReadOnlyTable<&'static str, u64>,
    texts: ReadOnlyTable<&'static str, &'static str>,
}

impl Snapshot {
    pub(super) fn take(database: &Database) -> Result<Self, Error> {
        let take = || -> Result<Self, redb::Error> {
            let txn = database.begin_read()?;
            Ok(Self {
                records: txn.open_table(RECORDS)?,
                log: txn.open_table(LOG)?,
                history: txn.open_table(HISTORY)?,
                numbers: txn.open_table(NUMBERS)?,
                texts: txn.open_table(TEXTS)?,
            })
        };
        take().map_err(failed)
    }

    pub(super) fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Fields>, Error> {
        let found = self.records.get((key.collection.name(), key.id.as_str())).map_err(failed)?;
        let Some(found) = found else { return Ok(None) };
        let (expiry, _, json) = found.value();
        if is_over(expiry, now) { Ok(None) } else { decode(key, json).map(Some) }
    }

    pub(super) fn scan(
        &self,
        collection: Collection,
        cursor: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<ScanPage, Error> {
        let from = (collection.name(), cursor.unwrap_or_default());
        let mut page = ScanPage::default();
        for entry in self.records.range(from..).map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            let (name, id) = key.value();
            if name != collection.name() {
                break;
            }
            let (expiry, _, json) = value.value();
            if cursor == Some(id) || is_over(expiry, now) {
                continue;
            }
            if page.records.len() == limit {
                page.next = page.records.last().map(|(id, _)| id.clone());
                break;
            }
            page.records.push((id.to_owned(), decode(&Key::new(collection, id), json)?));
        }
        Ok(page)
    }

    pub(super) fn revision(&self) -> Result<Revision, Error> {
        let epoch = self.texts.get(EPOCH).map_err(failed)?;
        let epoch = epoch.map(|epoch| epoch.value().to_owned()).unwrap_or_default();
        Ok(Revision { epoch: parse_epoch(epoch)?, n: self.number(N)? })
    }

    pub(super) fn changes_since(&self, since: &Revision) -> Result<Changes, Error> {
        let revision = self.revision()?;
        if !revision.includes(since) || since.n < self.number(LOG_FROM)? {
            return Ok(Changes::Reset { revision });
        }
        let mut keys = BTreeSet::new();
        for entry in self.log.range((since.n + 1, 0)..).map_err(failed)? {
            let (_, key) = entry.map_err(failed)?;
            let (collection, id) = key.value();
            // A collection of a later version than this one is nothing to readers of this one.
            keys.extend(
                Collection::from_name(collection).map(|collection| Key::new(collection, id)),
            );
        }
        Ok(Changes::Keys { revision, keys: keys.into_iter().collect() })
    }

    pub(super) fn history(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, Error> {
        let epoch = self.revision()?.epoch;
        let mut entries = Vec::new();
        let range = self.history.range(..before.unwrap_or(u64::MAX)).map_err(failed)?;
        for entry in range.rev().take(limit) {
            let (number, value) = entry.map_err(failed)?;
            let (n, text) = value.value();
            let revision = Revision { epoch: epoch.clone(), n };
            entries.push(HistoryEntry { number: number.value(), revision, text: text.to_owned() });
        }
        Ok(entries)
    }

    fn number(&self, name: &str) -> Result<u64, Error> {
        Ok(self.numbers.get(name).map_err(failed)?.map_or(0, |number| number.value()))
    }
}

/// Whether an expiry, 0 meaning never, has passed.
pub(super) fn is_over(expiry: u64, now: Timestamp) -> bool {
    expiry != 0 && expiry <= now.as_millis()
}

fn decode(key: &Key, json: &[u8]) -> Result<Fields, Error> {
    serde_json::from_slice(json).map_err(|cause| Error::Corrupt {
        what: format!("{key} is not a set of fields"),
        source: Some(cause.into()),
    })
}

fn parse_epoch(text: String) -> Result<Epoch, Error> {
    Epoch::new(text).map_err(|cause| Error::Corrupt {
        what: "the epoch is malformed".to_owned(),
        source: Some(cause.into()),
    })
}

fn failed(cause: impl Into<redb::Error>) -> Error {
    Error::Unavailable {
        what: "reading the embedded store".to_owned(),
        source: Some(cause.into().into()),
    }
}
