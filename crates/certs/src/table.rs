use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hosttree::HostTree;
use model::{CertRecord, Timestamp};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::entry::Entry;
use crate::{Error, local_ca};

/// The certificates of the data plane, found by the name that a client asks for.
///
/// Readers take no lock. A change costs the same however many certificates there are, and wakes who waits for it.
pub struct CertTable {
    /// By what they cover; `*.base` is kept as `.base`, so that the tail of a name is the key.
    covered: ArcSwap<HostTree<Arc<[Arc<Entry>]>>>,
    records: Mutex<HashMap<String, Arc<Entry>>>,
    fallback: Arc<CertifiedKey>,
    changed: watch::Sender<()>,
}

impl CertTable {
    /// An empty table, with a self-signed fallback made for it.
    ///
    /// # Errors
    /// [`Error::Make`] when the system has no randomness to give.
    pub fn new(now: Timestamp) -> Result<Self, Error> {
        Ok(Self {
            covered: ArcSwap::default(),
            records: Mutex::default(),
            fallback: Arc::new(local_ca::self_signed(now)?),
            changed: watch::Sender::new(()),
        })
    }

    /// Sets or takes out the certificate of a record's name.
    ///
    /// # Errors
    /// When the record can't serve (see [`Entry::new`]): what was there before stays.
    pub fn apply(&self, name: &str, record: Option<&CertRecord>) -> Result<(), Error> {
        // Read before the lock: it is the slow part, and nothing changes when it fails.
        let new = record.map(Entry::new).transpose()?.map(Arc::new);
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut covered = HostTree::clone(&self.covered.load());
        let old = match &new {
            Some(entry) => records.insert(name.to_owned(), entry.clone()),
            None => records.remove(name),
        };
        if let Some(entry) = old {
            for san in entry.names() {
                change(&mut covered, san, |list| list.retain(|one| !Arc::ptr_eq(one, &entry)));
            }
        }
        if let Some(entry) = new {
            for san in entry.names() {
                change(&mut covered, san, |list| list.push(entry.clone()));
            }
        }
        self.covered.store(Arc::new(covered));
        drop(records);
        self.changed.send_replace(());
        Ok(())
    }

    /// The certificate for a normalised name: one that lists it, else one whose `*` stands for its first label.
    pub fn find(&self, name: &str) -> Option<Arc<Entry>> {
        let covered = self.covered.load();
        let list = covered.get(name).or_else(|| covered.get(&name[name.find('.')?..]))?;
        list.value().first().cloned()
    }

    /// Waits until there is a certificate for a name. The caller bounds how long, and how many wait. Cancel safe.
    pub async fn wait_for(&self, name: &str) -> Arc<Entry> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(entry) = self.find(name) {
                return entry;
            }
            if changed.changed().await.is_err() {
                // The sender is ours: it lives as long as this borrow.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What a client gets when there is no certificate for the name it wants: self-signed, good for no name.
    pub fn fallback(&self) -> &Arc<CertifiedKey> {
        &self.fallback
    }

    /// Whether there is a record of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for CertTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertTable").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Changes the list of certificates that cover `san`, the best first.
fn change(
    covered: &mut HostTree<Arc<[Arc<Entry>]>>,
    san: &str,
    change: impl FnOnce(&mut Vec<Arc<Entry>>),
) {
    let key = san.strip_prefix('*').unwrap_or(san);
    let mut list = covered.get(key).map(|entry| entry.value().to_vec()).unwrap_or_default();
    change(&mut list);
    if list.is_empty() {
        covered.remove(key);
    } else {
        list.sort_by_key(|entry| entry.preference(san));
        covered.insert(key, list.into());
    }
}
