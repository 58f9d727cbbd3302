use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hosttree::HostTree;
use model::{CertRecord, Timestamp};
use rustls::pki_types::CertificateDer;
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
    intermediates: Mutex<Shared>,
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
            intermediates: Mutex::default(),
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
        let mut new = record.map(Entry::new).transpose()?;
        let mut shared = self.intermediates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = &mut new {
            shared.of(entry);
        }
        drop(shared);
        let new = new.map(Arc::new);
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

/// The intermediates of some certificates that came last: authorities have few, and most certificates the same.
#[derive(Default)]
struct Shared(VecDeque<Arc<[CertificateDer<'static>]>>);

/// How many chains are compared with.
const SHARED: usize = 16;

impl Shared {
    fn of(&mut self, entry: &mut Entry) {
        for known in &self.0 {
            entry.share(known);
        }
        if !self.0.iter().any(|known| Arc::ptr_eq(known, entry.intermediates())) {
            self.0.truncate(SHARED - 1);
            self.0.push_front(entry.intermediates().clone());
        }
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::LocalCa;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn world() -> (LocalCa, CertTable) {
        (LocalCa::generate(NOW).unwrap(), CertTable::new(NOW).unwrap())
    }

    fn record(ca: &LocalCa, name: &str, now: Timestamp) -> CertRecord {
        ca.issue(&name.parse().unwrap(), now).unwrap()
    }

    fn found(table: &CertTable, name: &str) -> Option<String> {
        table.find(name).map(|entry| entry.name().to_owned())
    }

    #[test]
    fn exact_beats_wildcard_and_a_wildcard_is_one_label() {
        let (ca, table) = world();
        for name in ["*.a.test", "www.a.test", "[::1]", "10.0.0.1", "*.0.0.1"] {
            table.apply(name, Some(&record(&ca, name, NOW))).unwrap();
        }
        for (name, expected) in [
            ("www.a.test", Some("www.a.test")),
            ("x.a.test", Some("*.a.test")),
            ("a.test", Some("*.a.test")),
            ("x.y.a.test", None),
            ("test", None),
            ("", None),
            ("[::1]", Some("[::1]")),
            ("10.0.0.1", Some("10.0.0.1")),
        ] {
            assert_eq!(found(&table, name).as_deref(), expected, "{name}");
            assert!(expected.is_none() || table.find(name).unwrap().covers(name), "{name}");
        }
        // The base has a certificate of its own: it is preferred, and its end brings the other back.
        table.apply("a.test", Some(&record(&ca, "a.test", NOW))).unwrap();
        assert_eq!(found(&table, "a.test").as_deref(), Some("a.test"));
        table.apply("a.test", None).unwrap();
        assert_eq!(found(&table, "a.test").as_deref(), Some("*.a.test"));
        assert_eq!(table.len(), 5);
    }

    #[test]
    fn a_record_that_cannot_serve_leaves_the_one_before() {
        let (ca, table) = world();
        let good = record(&ca, "a.test", NOW);
        table.apply("a.test", Some(&good)).unwrap();
        let other = record(&ca, "b.test", NOW);
        let broken = [
            CertRecord { chain_pem: "no PEM".into(), ..good.clone() },
            CertRecord { chain_pem: good.chain_pem.replace("MII", "AAA"), ..good.clone() },
            CertRecord { key_pem: model::Secret::new("no PEM".to_owned()), ..good.clone() },
            CertRecord { key_pem: other.key_pem.clone(), ..good.clone() },
            CertRecord { name: good.name.clone(), ..other },
        ];
        let is: [fn(&Error) -> bool; 5] = [
            |e| matches!(e, Error::Chain { .. }),
            |e| matches!(e, Error::Leaf { .. } | Error::Chain { .. }),
            |e| matches!(e, Error::Key { .. }),
            |e| matches!(e, Error::Pair { .. }),
            |e| matches!(e, Error::Coverage { covers, .. } if covers == "b.test"),
        ];
        for (record, is) in broken.iter().zip(is) {
            let error = table.apply("a.test", Some(record)).unwrap_err();
            assert!(is(&error), "{error:?}");
            assert!(error.to_string().contains("\"a.test\""), "{error}");
            assert_eq!(found(&table, "a.test").as_deref(), Some("a.test"));
        }
    }

    #[test]
    fn of_two_that_cover_a_name_the_longer_lasting_serves() {
        let (ca, table) = world();
        let later = NOW.plus(std::time::Duration::from_secs(3600));
        // Two names for the same wildcard base: neither record is named after it.
        table.apply("one", Some(&record(&ca, "*.a.test", NOW))).unwrap();
        table.apply("two", Some(&record(&ca, "*.a.test", later))).unwrap();
        let two = table.find("x.a.test").unwrap();
        table.apply("one", None).unwrap();
        assert!(Arc::ptr_eq(&two, &table.find("x.a.test").unwrap()));
        table.apply("two", None).unwrap();
        assert!(table.find("x.a.test").is_none());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_the_certificate_and_by_no_other() {
        let (ca, table) = world();
        let mut waiting = Box::pin(table.wait_for("x.a.test"));
        assert!(waiting.as_mut().now_or_never().is_none());
        table.apply("b.test", Some(&record(&ca, "b.test", NOW))).unwrap();
        assert!(waiting.as_mut().now_or_never().is_none());
        let (entry, ()) = tokio::join!(waiting, async {
            table.apply("*.a.test", Some(&record(&ca, "*.a.test", NOW))).unwrap();
        });
        assert_eq!(entry.name(), "*.a.test");
    }

    #[test]
    fn what_no_certificate_can_cover_is_not_made() {
        let (ca, _) = world();
        for name in ["**.a.test", "a.*.test", "*.*.test", "*", "**", "*.**"] {
            let error = ca.issue(&name.parse().unwrap(), NOW).unwrap_err();
            assert!(matches!(error, Error::NotCoverable { .. }), "{name}: {error:?}");
        }
    }

    #[test]
    fn a_made_certificate_says_what_it_is() {
        let (ca, _) = world();
        let made = record(&ca, "*.a.test", NOW);
        let read = crate::inspect("x", &made.chain_pem).unwrap();
        assert_eq!(read.names, ["*.a.test", "a.test"]);
        assert_eq!((read.not_before, read.not_after), (made.not_before, made.not_after));
        assert_eq!(NOW.since(read.not_before).as_secs(), 3600);
        assert_eq!(read.not_after.since(NOW).as_secs(), 90 * 24 * 3600);
        let root = crate::inspect("root", ca.root_pem()).unwrap();
        assert_eq!(root.not_after.since(NOW).as_secs() / 86400, 3653);
        // Near its own end the authority does not promise more than it has.
        let late = root.not_after.as_millis() - 1_000_000;
        let last = record(&ca, "a.test", Timestamp::from_millis(late));
        assert_eq!(last.not_after, root.not_after);
    }
}
