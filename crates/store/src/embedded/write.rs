use model::{Epoch, Revision, Timestamp};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::open::{
    EPOCH, EXPIRIES, FENCE, HISTORY, LOCKS, LOG, LOG_FROM, N, NUMBERS, RECORDS, TEXTS,
};
use super::read::is_over;
use crate::{Action, Collection, Error, Expect, Fields, HISTORY_TRIM, Key, Lease, NewEntries, Txn};

/// A write transaction under way, shared by all operations of one group.
///
/// The outer result of a method is the disk's: after an error the whole group is given up. The inner one is the
/// operation's own, which has then changed nothing.
pub(super) struct Draft<'txn> {
    records: Table<'txn, (&'static str, &'static str), (u64, bool, &'static [u8])>,
    expiries: Table<'txn, (u64, &'static str, &'static str), ()>,
    log: Table<'txn, (u64, u32), (&'static str, &'static str)>,
    history: Table<'txn, u64, (u64, &'static str)>,
    locks: Table<'txn, &'static str, (u64, u64)>,
    numbers: Table<'txn, &'static str, u64>,
    epoch: Epoch,
    now: Timestamp,
    log_limit: u64,
    /// What the group amounts to.
    pub(super) effect: Effect,
}

/// What a group of operations amounts to.
#[derive(Clone, Copy, Default)]
pub(super) struct Effect {
    /// The revision grew.
    pub(super) changed: bool,
    /// Somebody must be able to rely on it after a crash.
    pub(super) durable: bool,
}

impl<'txn> Draft<'txn> {
    pub(super) fn begin(
        txn: &'txn WriteTransaction,
        now: Timestamp,
        log_limit: u64,
    ) -> Result<Self, redb::Error> {
        let epoch = txn.open_table(TEXTS)?.get(EPOCH)?.map(|epoch| epoch.value().to_owned());
        let mut draft = Self {
            records: txn.open_table(RECORDS)?,
            expiries: txn.open_table(EXPIRIES)?,
            log: txn.open_table(LOG)?,
            history: txn.open_table(HISTORY)?,
            locks: txn.open_table(LOCKS)?,
            numbers: txn.open_table(NUMBERS)?,
            epoch: Epoch::new(epoch.unwrap_or_default())
                .map_err(|cause| redb::Error::Corrupted(cause.to_string()))?,
            now,
            log_limit,
            effect: Effect::default(),
        };
        draft.sweep()?;
        Ok(draft)
    }

    pub(super) fn commit(&mut self, mut txn: Txn) -> Result<Result<Revision, Error>, redb::Error> {
        for op in txn.ops() {
            if !self.holds(&op.key, &op.expect)? {
                return Ok(Err(Error::Conflict { key: op.key.clone() }));
            }
        }
        let history = txn.take_history();
        let mut changed = Vec::with_capacity(txn.ops().len());
        for op in txn.into_ops() {
            match op.action {
                Action::Delete => self.remove(&op.key)?,
                Action::Put { fields, ttl } => {
                    let until = ttl.map_or(0, |ttl| self.now.plus(ttl).as_millis());
                    self.insert(&op.key, &fields, until, true)?;
                }
            }
            changed.push(op.key);
        }
        self.record(&changed)?;
        if !changed.is_empty() {
            self.append(history)?;
        }
        Ok(Ok(Revision { epoch: self.epoch.clone(), n: self.number(N)? }))
    }

    pub(super) fn put_lease(
        &mut self,
        key: &Key,
        fields: &Fields,
        until: Timestamp,
    ) -> Result<(), redb::Error> {
        self.insert(key, fields, until.as_millis(), false)
    }

    pub(super) fn remove(&mut self, key: &Key) -> Result<(), redb::Error> {
        let (collection, id) = (key.collection.name(), key.id.as_str());
        let expiry = self.records.remove((collection, id))?.map_or(0, |gone| gone.value().0);
        if expiry != 0 {
            self.expiries.remove((expiry, collection, id))?;
        }
        Ok(())
    }

    pub(super) fn acquire(
        &mut self,
        name: String,
        holder: String,
        until: Timestamp,
    ) -> Result<Option<Lease>, redb::Error> {
        let held = self.locks.get(name.as_str())?.map(|lock| lock.value());
        if held.is_some_and(|(_, end)| !is_over(end, self.now)) {
            return Ok(None);
        }
        let fence = self.number(FENCE)? + 1;
        self.numbers.insert(FENCE, fence)?;
        self.locks.insert(name.as_str(), (fence, until.as_millis()))?;
        // After a crash the token must not be given out again.
        self.effect.durable = true;
        Ok(Some(Lease { name, holder, fence }))
    }

    pub(super) fn renew(&mut self, lease: &Lease, until: Timestamp) -> Result<bool, redb::Error> {
        let held = self.holds_lock(lease)?;
        if held {
            self.locks.insert(lease.name.as_str(), (lease.fence, until.as_millis()))?;
        }
        Ok(held)
    }

    pub(super) fn release(&mut self, lease: &Lease) -> Result<(), redb::Error> {
        if self.holds_lock(lease)? {
            self.locks.remove(lease.name.as_str())?;
        }
        Ok(())
    }

    /// When the next record expires, in milliseconds.
    pub(super) fn next_expiry(&self) -> Result<Option<Timestamp>, redb::Error> {
        Ok(self.expiries.first()?.map(|(key, _)| Timestamp::from_millis(key.value().0)))
    }

    fn holds(&self, key: &Key, expect: &Expect) -> Result<bool, redb::Error> {
        if *expect == Expect::Any {
            return Ok(true);
        }
        let current = self.records.get((key.collection.name(), key.id.as_str()))?;
        let current = current.map(|found| {
            // A record that is not a set of fields is no content that anybody can expect.
            serde_json::from_slice::<Fields>(found.value().2).unwrap_or_default()
        });
        Ok(expect.holds(current.as_ref()))
    }

    fn holds_lock(&self, lease: &Lease) -> Result<bool, redb::Error> {
        let held = self.locks.get(lease.name.as_str())?.map(|lock| lock.value());
        Ok(held.is_some_and(|(fence, end)| fence == lease.fence && !is_over(end, self.now)))
    }

    fn insert(
        &mut self,
        key: &Key,
        fields: &Fields,
        expiry: u64,
        counts: bool,
    ) -> Result<(), redb::Error> {
        self.remove(key)?;
        let (collection, id) = (key.collection.name(), key.id.as_str());
        let json = serde_json::to_vec(fields)
            .map_err(|cause| redb::Error::Corrupted(cause.to_string()))?;
        self.records.insert((collection, id), (expiry, counts, json.as_slice()))?;
        if expiry != 0 {
            self.expiries.insert((expiry, collection, id), ())?;
        }
        Ok(())
    }

    /// Removes what has expired.
    fn sweep(&mut self) -> Result<(), redb::Error> {
        let mut changed = Vec::new();
        while let Some((expiry, collection, id)) = self.first_expired()? {
            self.expiries.remove((expiry, collection.as_str(), id.as_str()))?;
            let gone = self.records.remove((collection.as_str(), id.as_str()))?;
            let counts = gone.is_some_and(|gone| gone.value().1);
            let collection = Collection::from_name(&collection).filter(|_| counts);
            changed.extend(collection.map(|collection| Key::new(collection, id)));
        }
        self.record(&changed)
    }

    fn first_expired(&self) -> Result<Option<(u64, String, String)>, redb::Error> {
        let first = self.expiries.first()?;
        let first = first.as_ref().map(|(key, _)| key.value());
        let expired = first.filter(|(expiry, ..)| is_over(*expiry, self.now));
        Ok(expired.map(|(expiry, collection, id)| (expiry, collection.to_owned(), id.to_owned())))
    }

    /// One step of the revision, with these changes; none without any.
    fn record(&mut self, changed: &[Key]) -> Result<(), redb::Error> {
        if changed.is_empty() {
            return Ok(());
        }
        let n = self.number(N)? + 1;
        self.numbers.insert(N, n)?;
        for (place, key) in (0..).zip(changed) {
            self.log.insert((n, place), (key.collection.name(), key.id.as_str()))?;
        }
        while self.log.len()? > self.log_limit {
            let Some(oldest) = self.log.pop_first()?.map(|(at, _)| at.value().0) else { break };
            self.numbers.insert(LOG_FROM, oldest)?;
        }
        self.effect = Effect { changed: true, durable: true };
        Ok(())
    }

    /// Appends to the history, with the revision as it is now.
    fn append(&mut self, NewEntries { texts, keep }: NewEntries) -> Result<(), redb::Error> {
        if texts.is_empty() {
            return Ok(());
        }
        let n = self.number(N)?;
        let mut number = self.history.last()?.map_or(0, |(number, _)| number.value());
        for text in &texts {
            number += 1;
            self.history.insert(number, (n, text.as_str()))?;
        }
        let over = self.history.len()?.saturating_sub(keep as u64);
        for _ in 0..over.min((texts.len() + HISTORY_TRIM) as u64) {
            self.history.pop_first()?;
        }
        Ok(())
    }

    fn number(&self, name: &str) -> Result<u64, redb::Error> {
        Ok(self.numbers.get(name)?.map_or(0, |number| number.value()))
    }
}
