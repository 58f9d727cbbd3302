use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures_util::future::try_join_all;
use model::{CertRecord, Challenge, Epoch, Host, HostPattern, Revision, Timestamp};
use proxy::{StoreGuard, TableState, Tables};
use runtime::Clock;
use store::{Changes, Collection, Fields, Key, Record, Rejected, Store, StoreAccept};

use crate::guard::{self, Doubt};
use crate::kept::Fresh;
use crate::sweep::{Reading, Sweep};
use runtime::with_causes;

/// How many changed records are read at once.
const READS: usize = 64;
/// How many rejected records a report names; it has to stay small.
const NAMED: usize = 50;

/// The writer of the tables: remembers what it gave them, and decides whether the store is to be believed.
pub(crate) struct Replica {
    pub(crate) store: Store,
    pub(crate) tables: Arc<Tables>,
    clock: Clock,
    hasher: RandomState,
    pub(crate) known: HashMap<Key, Known>,
    rejected: BTreeMap<Key, String>,
    /// The revision that the tables show, and with it the life of the store that is believed.
    pub(crate) applied: Option<Revision>,
    /// When the last word of an operator was given that is obeyed already, or was not needed.
    pub(crate) accepted_at: Option<Timestamp>,
    pub(crate) alarm: Option<Alarm>,
    pub(crate) sweep: Option<Sweep>,
    /// Counts sweeps.
    pub(crate) round: u32,
    /// How many pages the last sweep had.
    pub(crate) pages: usize,
    /// Counts changes of hosts and certificates.
    changes: u64,
    /// The same changes, to be kept; none where nothing is kept.
    pub(crate) fresh: Option<Fresh>,
}

/// A record that the store has.
pub(crate) struct Known {
    /// A hash of its fields when last seen, so that an unchanged record costs no parsing.
    content: u64,
    /// The last sweep during which it was seen.
    pub(crate) round: u32,
    /// Whether the tables have it, maybe by a former content.
    live: bool,
}

/// The guard is up.
pub(crate) struct Alarm {
    pub(crate) doubt: Doubt,
    told: StoreGuard,
}

/// How a look at the store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// All that was found is taken over, or must not be.
    Done,
    /// The store became another while it was read: look again.
    Again,
}

impl Replica {
    pub(crate) fn new(store: Store, tables: Arc<Tables>, clock: Clock, keeps: bool) -> Self {
        Self {
            fresh: keeps.then(Fresh::default),
            store,
            tables,
            clock,
            hasher: RandomState::new(),
            known: HashMap::new(),
            rejected: BTreeMap::new(),
            applied: None,
            accepted_at: None,
            alarm: None,
            sweep: None,
            round: 0,
            pages: 0,
            changes: 0,
        }
    }

    /// The revision that the tables show.
    pub(crate) fn applied(&self) -> Option<&Revision> {
        self.applied.as_ref()
    }

    /// The last word of an operator that is obeyed already, or was not needed.
    pub(crate) fn accepted_at(&self) -> Option<Timestamp> {
        self.accepted_at
    }

    /// Grows whenever a host or a certificate changes.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The records that could not be taken over, the first of them when there are many.
    pub(crate) fn rejected(&self) -> Vec<Rejected> {
        self.rejected
            .iter()
            .take(NAMED)
            .map(|(key, why)| Rejected::new(key, why.as_str()))
            .collect()
    }

    /// Says that the tables were filled from elsewhere, and where the store stood then.
    pub(crate) fn restored(&mut self, revision: Revision, accepted_at: Option<Timestamp>) {
        (self.applied, self.accepted_at, self.changes) = (Some(revision), accepted_at, 0);
        // They come from what is kept.
        self.fresh.as_ref().map(Fresh::take);
        self.settle();
        self.mark_stale();
    }

    /// Brings the tables up to the store's revision, reading everything when asked for or when its log does not tell.
    /// Cancel safe: what was read stays, and is gone on from.
    pub(crate) async fn catch_up(&mut self, mut reading: Reading) -> Result<(), store::Error> {
        loop {
            let look = self.look(reading, &[]).await?;
            reading = if look == Look::Again { Reading::Now } else { Reading::No };
            while self.sweep.is_some() {
                if self.stride().await? == Look::Again {
                    reading = Reading::Now;
                }
            }
            if reading == Reading::No {
                return Ok(());
            }
        }
    }

    /// Decides whether the store is to be believed; if so takes over what its log tells and what was `touched` behind the
    /// log, and begins a sweep when one is asked for or needed.
    pub(crate) async fn look(
        &mut self,
        mut reading: Reading,
        touched: &[Key],
    ) -> Result<Look, store::Error> {
        let backend = self.store.backend().clone();
        let changes = match &self.applied {
            Some(revision) => backend.changes_since(revision).await?,
            None => Changes::Reset { revision: backend.revision().await? },
        };
        let (Changes::Keys { revision: found, .. } | Changes::Reset { revision: found }) = &changes;
        let found = found.clone();
        let standing = self.alarm.as_ref().map(|alarm| alarm.doubt);
        let doubt = guard::judge(self.applied.as_ref(), standing, &found);
        let word = match doubt.or(standing) {
            Some(_) => self.word(&found.epoch).await,
            None => None,
        };
        if let (Some(doubt), None) = (doubt, word) {
            self.sweep = None;
            self.raise(doubt, doubt.detail(self.applied.as_ref(), &found), found);
            return Ok(Look::Done);
        }
        // What made it doubtful is over, by a word or by itself: compare everything.
        if word.is_some() || standing.is_some_and(|doubt| doubt != Doubt::DropsHosts) {
            reading = Reading::Now;
        }
        let mut moves = self.applied.is_none() || word.is_some();
        match changes {
            Changes::Keys { keys, .. } if doubt.is_none() => {
                if !self.read(&keys, &found).await? {
                    return Ok(Look::Again);
                }
                if standing.is_none() && keys.contains(&accept_key(&found.epoch)) {
                    self.note_word(&found.epoch).await;
                }
                // Who waits for a word to be obeyed sees it by the revision: the sweep brings it.
                if word.is_none() {
                    self.applied = Some(found.clone());
                }
            }
            _ => (reading, moves) = (Reading::Now, true),
        }
        if !self.read(touched, &found).await? {
            return Ok(Look::Again);
        }
        self.begin(reading, &found, moves, word);
        if self.sweep.as_ref().is_none_or(|sweep| !sweep.moves) {
            self.settle();
        }
        Ok(Look::Done)
    }

    /// Says that the tables show the revision that was reached.
    pub(crate) fn settle(&mut self) {
        if self.tables.state().stale {
            tracing::info!(revision = ?self.applied.as_ref().map(ToString::to_string), "the store answers again");
        }
        self.tables.set_state(TableState {
            loaded: true,
            revision: self.applied.clone(),
            stale: false,
            guard: self.alarm.as_ref().map(|alarm| alarm.told.clone()),
        });
    }

    /// Says that the store may have moved on; whether that is news.
    pub(crate) fn mark_stale(&self) -> bool {
        let state = TableState::clone(&self.tables.state());
        let news = !state.stale;
        self.tables.set_state(TableState { stale: true, ..state });
        news
    }

    /// Puts the guard up, or leaves it up: from now on nothing more is taken over than its reason allows.
    pub(crate) fn raise(&mut self, doubt: Doubt, detail: String, seen: Revision) {
        let same = |alarm: &Alarm| alarm.doubt == doubt && alarm.told.seen.epoch == seen.epoch;
        if !self.alarm.as_ref().is_some_and(same) {
            let reason = doubt.word();
            tracing::error!(
                reason,
                detail,
                "the store is not believed and the table is kept; if the store is right, say so: gatewright store accept"
            );
            let since = self.clock.now().into();
            self.alarm = Some(Alarm { doubt, told: StoreGuard { reason, detail, seen, since } });
        }
        self.settle();
    }

    /// Takes the guard down.
    pub(crate) fn lower(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            tracing::info!(reason = alarm.told.reason, "the store is believed again");
        }
    }

    /// An operator's word about this life of the store that was not obeyed yet. One that can't be read is none.
    async fn word(&self, epoch: &Epoch) -> Option<Timestamp> {
        let given = match self.store.get::<StoreAccept>(epoch.as_str()).await {
            Ok(found) => found.map(|found| found.value.accepted_at),
            Err(error) => {
                tracing::warn!(
                    error = with_causes(&error),
                    "an acceptance of the store can't be read"
                );
                None
            }
        };
        given.filter(|at| self.accepted_at.is_none_or(|obeyed| *at > obeyed))
    }

    /// Remembers the word there is, so that it does not count for a doubt to come.
    pub(crate) async fn note_word(&mut self, epoch: &Epoch) {
        self.accepted_at = self.word(epoch).await.or(self.accepted_at);
    }

    /// Reads these records and takes them over; `false` when the store is no longer the one that stood at `expected`, and
    /// what is missing may be missing for that reason.
    async fn read(&mut self, keys: &[Key], expected: &Revision) -> Result<bool, store::Error> {
        let ours: Vec<_> = keys.iter().filter(|key| Sweep::reads(key.collection)).collect();
        for keys in ours.chunks(READS) {
            let found = self.fetch(keys).await?;
            let gone = |(key, fields): (&&Key, &Option<Fields>)| {
                fields.is_none() && self.known.contains_key(*key)
            };
            if keys.iter().zip(&found).any(gone) && !self.stands(expected).await? {
                return Ok(false);
            }
            for (key, fields) in keys.iter().zip(found) {
                self.tell(key);
                self.apply(key, fields.as_ref());
            }
        }
        Ok(true)
    }

    pub(crate) async fn fetch(&self, keys: &[&Key]) -> Result<Vec<Option<Fields>>, store::Error> {
        debug_assert!(keys.len() <= READS);
        try_join_all(keys.iter().map(|key| self.store.backend().get(key))).await
    }

    /// Whether the store is still the one that stood at `expected`. Asked after a record was found missing and before it is
    /// taken out: a wipe takes records and epoch at once.
    pub(crate) async fn stands(&self, expected: &Revision) -> Result<bool, store::Error> {
        let now = self.store.backend().revision().await?;
        Ok(now.includes(expected) || expected.epoch == store::unborn().epoch)
    }

    /// The one way in which a record reaches the tables, or leaves them.
    pub(crate) fn apply(&mut self, key: &Key, fields: Option<&Fields>) {
        let Some(fields) = fields else {
            self.rejected.remove(key);
            if self.known.remove(key).is_some_and(|known| known.live) {
                self.count(key, None);
                self.take_out(key);
            }
            return;
        };
        let (content, round) = (self.hasher.hash_one(fields), self.round);
        let mut live = false;
        if let Some(known) = self.known.get_mut(key) {
            known.round = round;
            if known.content == content {
                return;
            }
            live = known.live;
        }
        match self.take_over(key, fields) {
            Ok(()) => {
                self.rejected.remove(key);
                self.count(key, Some(fields));
                live = true;
            }
            Err(reason) => {
                tracing::warn!(%key, reason, kept = live, "a record can't be taken over");
                self.rejected.insert(key.clone(), reason);
            }
        }
        self.known.insert(key.clone(), Known { content, live, round });
    }

    fn count(&mut self, key: &Key, fields: Option<&Fields>) {
        if matches!(key.collection, Collection::Cert | Collection::Host) {
            self.changes += 1;
            if let Some(fresh) = &self.fresh {
                fresh.add(key, fields);
            }
        }
    }

    fn take_over(&self, key: &Key, fields: &Fields) -> Result<(), String> {
        match key.collection {
            Collection::Host => {
                let host = self.parse::<Host>(key, fields)?;
                let applied = self.tables.apply_host(&host.pattern.clone(), Some(host));
                applied.map_err(|error| with_causes(&error))?;
            }
            Collection::Cert => {
                let cert = self.parse::<CertRecord>(key, fields)?;
                let applied = self.tables.apply_cert(&cert.name.clone(), Some(cert));
                applied.map_err(|error| with_causes(&error))?;
            }
            Collection::Challenge => {
                let challenge = self.parse::<Challenge>(key, fields)?;
                self.tables.apply_challenge(&key.id, Some(challenge));
            }
            _ => {}
        }
        Ok(())
    }

    fn parse<R: Record>(&self, key: &Key, fields: &Fields) -> Result<R, String> {
        R::from_fields(&key.id, fields, self.store.sealer()).map_err(|error| with_causes(&error))
    }

    /// Only for what was taken over.
    fn take_out(&self, key: &Key) {
        if key.collection == Collection::Challenge {
            return self.tables.apply_challenge(&key.id, None);
        }
        // The id of what was taken over is its pattern or name.
        let Ok(pattern) = key.id.parse::<HostPattern>() else { return };
        if key.collection == Collection::Host {
            // Only one with rules can fail.
            return drop(self.tables.apply_host(&pattern, None));
        }
        if let Err(error) = self.tables.apply_cert(&pattern, None) {
            tracing::warn!(%key, error = with_causes(&error), "a certificate can't be taken out");
        }
    }
}

/// Where an operator's word about a life of the store is kept.
fn accept_key(epoch: &Epoch) -> Key {
    Key::new(Collection::StoreAccept, epoch.as_str())
}
