use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use model::{Epoch, Revision};
use runtime::Clock;

use crate::backend::ready;
use crate::{
    Action, Backend, BoxFuture, CHANGE_LOG, Changes, Collection, Error, Fields, HISTORY_TRIM,
    HintSender, Hints, HistoryEntry, Key, Lease, NewEntries, ScanPage, Txn, new_epoch,
};

/// A store that lives as long as its handle: for tests and for trying things out.
///
/// Every operation ends at its first poll, so that it works under a paused tokio clock.
pub struct MemoryBackend {
    state: Mutex<State>,
    clock: Clock,
    hints: HintSender,
    log_limit: usize,
}

impl MemoryBackend {
    /// An empty store on the system's clock.
    ///
    /// # Errors
    /// When the system has no randomness to make an epoch of.
    pub fn new() -> Result<Self, Error> {
        Self::with_clock(Clock::system())
    }

    /// An empty store on this clock.
    ///
    /// # Errors
    /// As [`MemoryBackend::new`].
    pub fn with_clock(clock: Clock) -> Result<Self, Error> {
        Self::with(clock, CHANGE_LOG)
    }

    /// An empty store on this clock, remembering this many changes.
    ///
    /// # Errors
    /// As [`MemoryBackend::new`].
    pub fn with(clock: Clock, log_limit: usize) -> Result<Self, Error> {
        let state = Mutex::new(State::new(new_epoch()?));
        Ok(Self { state, clock, hints: HintSender::new(), log_limit })
    }

    /// Tells listeners that somebody changed this record without a revision, as a backend does that notices such.
    pub fn touch(&self, key: Key) {
        self.hints.touch(key);
    }

    /// The state with everything removed whose time is over.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.sweep(self.clock.now(), self.log_limit) {
            self.hints.hint();
        }
        state
    }
}

impl Backend for MemoryBackend {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Fields>, Error>> {
        ready(Ok(self.state().records.get(key).map(|entry| entry.fields.clone())))
    }

    fn scan<'a>(
        &'a self,
        collection: Collection,
        cursor: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ScanPage, Error>> {
        ready(Ok(self.state().scan(collection, cursor, limit.max(1))))
    }

    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        ready(Ok(self.state().revision()))
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, Error>> {
        let changes = !txn.ops().is_empty();
        let outcome = self.state().commit(txn, self.clock.now(), self.log_limit);
        if changes && outcome.is_ok() {
            self.hints.hint();
        }
        ready(outcome)
    }

    fn changes_since<'a>(&'a self, since: &'a Revision) -> BoxFuture<'a, Result<Changes, Error>> {
        ready(Ok(self.state().changes_since(since)))
    }

    fn history(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        let state = self.state();
        let newest = state.history.iter().rev();
        let wanted = newest.filter(|entry| before.is_none_or(|before| entry.number < before));
        ready(Ok(wanted.take(limit).cloned().collect()))
    }

    fn watch(&self) -> Hints {
        self.hints.subscribe()
    }

    fn put_lease<'a>(
        &'a self,
        key: &'a Key,
        fields: &'a Fields,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let expiry = Expiry { at: self.clock.now() + ttl, counts: false };
        self.state().insert(key.clone(), fields.clone(), Some(expiry));
        ready(Ok(()))
    }

    fn delete_lease<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        self.state().remove(key);
        ready(Ok(()))
    }

    fn acquire<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Error>> {
        let until = self.clock.now() + ttl;
        ready(Ok(self.state().acquire(name, holder, until)))
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        let until = self.clock.now() + ttl;
        let mut state = self.state();
        let held = state.locks.get_mut(&lease.name).filter(|lock| lock.fence == lease.fence);
        ready(Ok(held.map(|lock| lock.until = until).is_some()))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Error>> {
        let mut state = self.state();
        if state.locks.get(&lease.name).is_some_and(|lock| lock.fence == lease.fence) {
            state.locks.remove(&lease.name);
        }
        ready(Ok(()))
    }
}

struct State {
    epoch: Epoch,
    n: u64,
    records: BTreeMap<Key, Entry>,
    /// When which record's time is over, earliest first.
    expiries: BTreeSet<(SystemTime, Key)>,
    /// Each change with the revision that has it, oldest first.
    log: VecDeque<(u64, Key)>,
    /// The log has everything after this revision.
    log_from: u64,
    /// Oldest first.
    history: VecDeque<HistoryEntry>,
    locks: HashMap<String, Lock>,
    fence: u64,
}

struct Entry {
    fields: Fields,
    expiry: Option<Expiry>,
}

struct Expiry {
    at: SystemTime,
    /// Whether it is a change; a lease's is not.
    counts: bool,
}

struct Lock {
    fence: u64,
    until: SystemTime,
}

impl State {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            n: 0,
            records: BTreeMap::new(),
            expiries: BTreeSet::new(),
            log: VecDeque::new(),
            log_from: 0,
            history: VecDeque::new(),
            locks: HashMap::new(),
            fence: 0,
        }
    }

    fn revision(&self) -> Revision {
        Revision { epoch: self.epoch.clone(), n: self.n }
    }

    /// Removes what has expired; whether that was a change.
    fn sweep(&mut self, now: SystemTime, log_limit: usize) -> bool {
        self.locks.retain(|_, lock| lock.until > now);
        let mut changed = Vec::new();
        while self.expiries.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.expiries.pop_first() else { break };
            let gone = self.records.remove(&key);
            if gone.and_then(|entry| entry.expiry).is_some_and(|expiry| expiry.counts) {
                changed.push(key);
            }
        }
        let any = !changed.is_empty();
        if any {
            self.record(changed, log_limit);
        }
        any
    }

    fn scan(&self, collection: Collection, cursor: Option<&str>, limit: usize) -> ScanPage {
        let from = match cursor {
            Some(id) => Bound::Excluded(Key::new(collection, id)),
            None => Bound::Included(Key::new(collection, "")),
        };
        let mut rest = self
            .records
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| key.collection == collection);
        let records: Vec<_> = rest
            .by_ref()
            .take(limit)
            .map(|(key, entry)| (key.id.clone(), entry.fields.clone()))
            .collect();
        let next = rest.next().and_then(|_| records.last().map(|(id, _)| id.clone()));
        ScanPage { records, next }
    }

    fn commit(
        &mut self,
        mut txn: Txn,
        now: SystemTime,
        log_limit: usize,
    ) -> Result<Revision, Error> {
        for op in txn.ops() {
            let current = self.records.get(&op.key).map(|entry| &entry.fields);
            if !op.expect.holds(current) {
                return Err(Error::Conflict { key: op.key.clone() });
            }
        }
        let history = txn.take_history();
        let mut changed = Vec::with_capacity(txn.ops().len());
        for op in txn.into_ops() {
            match op.action {
                Action::Delete => self.remove(&op.key),
                Action::Put { fields, ttl } => {
                    let expiry = ttl.map(|ttl| Expiry { at: now + ttl, counts: true });
                    self.insert(op.key.clone(), fields, expiry);
                }
            }
            changed.push(op.key);
        }
        if !changed.is_empty() {
            self.record(changed, log_limit);
            self.append(history);
        }
        Ok(self.revision())
    }

    fn append(&mut self, NewEntries { texts, keep }: NewEntries) {
        if texts.is_empty() {
            return;
        }
        let most_dropped = texts.len() + HISTORY_TRIM;
        let revision = self.revision();
        for text in texts {
            let number = self.history.back().map_or(1, |last| last.number + 1);
            self.history.push_back(HistoryEntry { number, revision: revision.clone(), text });
        }
        let over = self.history.len().saturating_sub(keep);
        self.history.drain(..over.min(most_dropped));
    }

    fn changes_since(&self, since: &Revision) -> Changes {
        let revision = self.revision();
        if !revision.includes(since) || since.n < self.log_from {
            return Changes::Reset { revision };
        }
        let start = self.log.partition_point(|(n, _)| *n <= since.n);
        let keys: BTreeSet<Key> = self.log.range(start..).map(|(_, key)| key.clone()).collect();
        Changes::Keys { revision, keys: keys.into_iter().collect() }
    }

    fn acquire(&mut self, name: &str, holder: &str, until: SystemTime) -> Option<Lease> {
        if self.locks.contains_key(name) {
            return None;
        }
        self.fence += 1;
        self.locks.insert(name.to_owned(), Lock { fence: self.fence, until });
        Some(Lease { name: name.to_owned(), holder: holder.to_owned(), fence: self.fence })
    }

    fn insert(&mut self, key: Key, fields: Fields, expiry: Option<Expiry>) {
        self.remove(&key);
        if let Some(expiry) = &expiry {
            self.expiries.insert((expiry.at, key.clone()));
        }
        self.records.insert(key, Entry { fields, expiry });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(Entry { expiry: Some(expiry), .. }) = self.records.remove(key) {
            self.expiries.remove(&(expiry.at, key.clone()));
        }
    }

    /// One step of the revision, with these changes.
    fn record(&mut self, changed: Vec<Key>, log_limit: usize) {
        self.n += 1;
        self.log.extend(changed.into_iter().map(|key| (self.n, key)));
        while self.log.len() > log_limit {
            if let Some((n, _)) = self.log.pop_front() {
                self.log_from = n;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance::{Subject, suite};

    #[tokio::test]
    async fn it_conforms() {
        suite(async || {
            let (clock, hand) = Clock::manual(SystemTime::UNIX_EPOCH);
            let backend = Arc::new(MemoryBackend::with(clock, 60).unwrap());
            Subject { first: backend.clone(), second: backend, log_limit: 60, hand: Some(hand) }
        })
        .await;
    }
}
