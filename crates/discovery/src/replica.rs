use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures_util::future::try_join_all;
use model::{CertRecord, Challenge, Host, HostPattern, Revision};
use proxy::{TableState, Tables};
use store::{Changes, Collection, Fields, Key, Record, Rejected, Store};

use crate::chain;

/// What the data plane needs of the store.
const COLLECTIONS: [Collection; 3] = [Collection::Cert, Collection::Challenge, Collection::Host];
/// How many records a page of a scan has.
const PAGE: usize = 500;
/// How many changed records are read at once.
const READS: usize = 64;
/// How many rejected records a report names; it has to stay small.
const NAMED: usize = 50;

/// The writer of the tables: remembers what it gave them.
pub(crate) struct Replica {
    store: Store,
    tables: Arc<Tables>,
    hasher: RandomState,
    known: HashMap<Key, Known>,
    rejected: BTreeMap<Key, String>,
    applied: Option<Revision>,
    /// Counts scans.
    round: u64,
}

/// A record that the store has.
struct Known {
    /// A hash of its fields when last seen, so that an unchanged record costs no parsing.
    content: u64,
    /// Whether the tables have it, maybe by a former content.
    live: bool,
    /// The last scan during which it was seen.
    round: u64,
}

impl Replica {
    pub(crate) fn new(store: Store, tables: Arc<Tables>) -> Self {
        Self {
            store,
            tables,
            hasher: RandomState::new(),
            known: HashMap::new(),
            rejected: BTreeMap::new(),
            applied: None,
            round: 0,
        }
    }

    /// The revision that the tables show.
    pub(crate) fn applied(&self) -> Option<&Revision> {
        self.applied.as_ref()
    }

    /// The records that could not be taken over, the first of them when there are many.
    pub(crate) fn rejected(&self) -> Vec<Rejected> {
        self.rejected
            .iter()
            .take(NAMED)
            .map(|(key, why)| Rejected::new(key, why.as_str()))
            .collect()
    }

    /// Brings the tables up to the store's revision: by its log of changes, and by reading `everything` when asked
    /// for or when the log does not tell. Cancel safe: what was not finished is done again.
    pub(crate) async fn catch_up(&mut self, everything: bool) -> Result<(), store::Error> {
        let backend = self.store.backend();
        let changes = match &self.applied {
            Some(revision) => backend.changes_since(revision).await?,
            None => Changes::Reset { revision: backend.revision().await? },
        };
        let (revision, everything) = match changes {
            Changes::Keys { revision, keys } => {
                self.read(&keys).await?;
                (revision, everything)
            }
            Changes::Reset { revision } => (revision, true),
        };
        if everything {
            self.scan().await?;
        }
        if self.tables.state().stale {
            tracing::info!(%revision, "the store answers again");
        }
        let state = TableState { loaded: true, revision: Some(revision.clone()), stale: false };
        self.tables.set_state(state);
        self.applied = Some(revision);
        Ok(())
    }

    /// Says that the store may have moved on; whether that is news.
    pub(crate) fn mark_stale(&self) -> bool {
        let state = TableState::clone(&self.tables.state());
        let news = !state.stale;
        self.tables.set_state(TableState { stale: true, ..state });
        news
    }

    /// Reads these records and takes them over.
    pub(crate) async fn read(&mut self, keys: &[Key]) -> Result<(), store::Error> {
        let ours: Vec<_> =
            keys.iter().filter(|key| COLLECTIONS.contains(&key.collection)).collect();
        for keys in ours.chunks(READS) {
            let reads = keys.iter().map(|key| self.store.backend().get(key));
            let found = try_join_all(reads).await?;
            for (key, fields) in keys.iter().zip(found) {
                self.apply(key, fields.as_ref());
            }
        }
        Ok(())
    }

    async fn scan(&mut self) -> Result<(), store::Error> {
        self.round += 1;
        for collection in COLLECTIONS {
            let mut cursor = None;
            loop {
                let backend = self.store.backend();
                let page = backend.scan(collection, cursor.as_deref(), PAGE).await?;
                for (id, fields) in page.records {
                    self.apply(&Key::new(collection, id), Some(&fields));
                }
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
        // What the scan did not show is probably gone; a read says so for certain.
        let unseen = self.known.iter().filter(|(_, known)| known.round != self.round);
        let unseen: Vec<_> = unseen.map(|(key, _)| key.clone()).collect();
        self.read(&unseen).await
    }

    /// The one way in which a record reaches the tables, or leaves them.
    fn apply(&mut self, key: &Key, fields: Option<&Fields>) {
        let Some(fields) = fields else {
            self.rejected.remove(key);
            if self.known.remove(key).is_some_and(|known| known.live) {
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
                live = true;
            }
            Err(reason) => {
                tracing::warn!(%key, reason, kept = live, "a record can't be taken over");
                self.rejected.insert(key.clone(), reason);
            }
        }
        self.known.insert(key.clone(), Known { content, live, round });
    }

    fn take_over(&self, key: &Key, fields: &Fields) -> Result<(), String> {
        match key.collection {
            Collection::Host => {
                let host = self.parse::<Host>(key, fields)?;
                self.tables.apply_host(&host.pattern.clone(), Some(host));
            }
            Collection::Cert => {
                let cert = self.parse::<CertRecord>(key, fields)?;
                let applied = self.tables.apply_cert(&cert.name.clone(), Some(cert));
                applied.map_err(|error| chain(&error))?;
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
        R::from_fields(&key.id, fields, self.store.sealer()).map_err(|error| chain(&error))
    }

    /// Only for what was taken over.
    fn take_out(&self, key: &Key) {
        if key.collection == Collection::Challenge {
            return self.tables.apply_challenge(&key.id, None);
        }
        // The id of what was taken over is its pattern or name.
        let Ok(pattern) = key.id.parse::<HostPattern>() else { return };
        if key.collection == Collection::Host {
            return self.tables.apply_host(&pattern, None);
        }
        if let Err(error) = self.tables.apply_cert(&pattern, None) {
            tracing::warn!(%key, error = chain(&error), "a certificate can't be taken out");
        }
    }
}
