use std::sync::Arc;
use std::time::Duration;

use model::{ETag, Revision, Timestamp};
use runtime::Clock;

use crate::{Backend, BadRecord, Error, Expect, Fields, HISTORY, Key, Record, Sealer, Txn, etag};

/// How often a write that expects nothing particular is tried again when somebody else was quicker.
const ATTEMPTS: usize = 8;

/// Typed access to the records of a [`Backend`]. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    sealer: Arc<Sealer>,
    clock: Clock,
    keep: usize,
}

/// A record and the tag of its stored content.
#[derive(Clone, Debug)]
pub struct Versioned<R> {
    /// The record.
    pub value: R,
    /// What to expect when writing it back.
    pub etag: ETag,
}

/// Some records of a collection.
#[derive(Debug)]
pub struct Page<R> {
    /// The records that could be read.
    pub records: Vec<Versioned<R>>,
    /// Those that could not.
    pub bad: Vec<BadRecord>,
    /// Where the next page starts: hand it back as it is. `None` at the end. A page may be empty before the end.
    pub next: Option<String>,
}

/// What a write led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The revision that has it.
    pub revision: Revision,
    /// The tag of the record as it is now.
    pub etag: ETag,
}

impl Store {
    /// A store on this backend.
    pub fn new(backend: Arc<dyn Backend>, sealer: Sealer, clock: Clock) -> Self {
        Self { backend, sealer: Arc::new(sealer), clock, keep: HISTORY }
    }

    /// The same, keeping this many entries of the history; with 0 none is written.
    #[must_use]
    pub fn keeping_history(self, keep: usize) -> Self {
        Self { keep, ..self }
    }

    /// How many entries of the history are kept.
    pub fn history_kept(&self) -> usize {
        self.keep
    }

    /// What it stands on: for revisions, changes, hints, locks and transactions over several records.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// What it seals secrets with.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The record of this id; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::BadRecord`] when it can't be understood; [`Error::Unavailable`].
    pub async fn get<R: Record>(&self, id: &str) -> Result<Option<Versioned<R>>, Error> {
        let fields = self.backend.get(&Key::new(R::COLLECTION, id)).await?;
        Ok(fields.map(|fields| self.read(id, &fields)).transpose()?)
    }

    /// One page of a collection, at most `limit` records: [`Backend::scan`] with its promises.
    ///
    /// # Errors
    /// [`Error::Unavailable`]. Records that can't be understood are listed, not an error.
    pub async fn list<R: Record>(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<R>, Error> {
        let scanned = self.backend.scan(R::COLLECTION, cursor, limit).await?;
        let mut page = Page { records: Vec::new(), bad: Vec::new(), next: scanned.next };
        for (id, fields) in &scanned.records {
            match self.read(id, fields) {
                Ok(record) => page.records.push(record),
                Err(bad) => page.bad.push(bad),
            }
        }
        Ok(page)
    }

    /// Writes a record, keeping fields of its stored form that its type knows nothing of. One that says when it
    /// expires vanishes then.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the stored record is not what was expected; [`Error::Seal`]; [`Error::Unavailable`].
    pub async fn put<R: Record>(&self, record: &R, expect: Expect) -> Result<Written, Error> {
        self.put_told(record, expect, |_, _| None).await
    }

    /// As [`Store::put`], appending to the history what `tell` makes of the fields before and after.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn put_told<R: Record>(
        &self,
        record: &R,
        expect: Expect,
        tell: impl Fn(Option<&Fields>, &Fields) -> Option<String>,
    ) -> Result<Written, Error> {
        let key = Key::new(R::COLLECTION, record.id());
        let ours = record.to_fields(&self.sealer)?;
        let mut attempt = 1;
        loop {
            let current = self.backend.get(&key).await?;
            if !expect.holds(current.as_ref()) {
                return Err(Error::Conflict { key });
            }
            let seen = current.as_ref().map_or(Expect::Absent, |fields| Expect::ETag(etag(fields)));
            let fields = merge::<R>(current.clone().unwrap_or_default(), &ours);
            let tag = etag(&fields);
            let told = tell(current.as_ref(), &fields);
            let mut txn = self.put_txn(record, key.clone(), fields, seen);
            if let Some(text) = told {
                txn = txn.entry(text, self.keep);
            }
            match self.backend.commit(txn).await {
                // Somebody wrote in between; whether that matters, the expectation says on the next turn.
                Err(Error::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
                outcome => return Ok(Written { revision: outcome?, etag: tag }),
            }
        }
    }

    /// Removes a record.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the stored record is not what was expected; [`Error::Unavailable`].
    pub async fn delete<R: Record>(&self, id: &str, expect: Expect) -> Result<Revision, Error> {
        self.backend.commit(Txn::new().delete(Key::new(R::COLLECTION, id), expect)).await
    }

    /// Writes a record as a lease: [`Backend::put_lease`].
    ///
    /// # Errors
    /// [`Error::Seal`]; [`Error::Unavailable`].
    pub async fn put_lease<R: Record>(&self, record: &R, ttl: Duration) -> Result<(), Error> {
        let fields = record.to_fields(&self.sealer)?;
        self.backend.put_lease(&Key::new(R::COLLECTION, record.id()), &fields, ttl).await
    }

    fn read<R: Record>(&self, id: &str, fields: &Fields) -> Result<Versioned<R>, BadRecord> {
        Ok(Versioned { value: R::from_fields(id, fields, &self.sealer)?, etag: etag(fields) })
    }

    fn put_txn<R: Record>(&self, record: &R, key: Key, fields: Fields, expect: Expect) -> Txn {
        match record.expires_at() {
            None => Txn::new().put(key, fields, expect),
            Some(at) => {
                let ttl = at.since(Timestamp::from(self.clock.now()));
                Txn::new().put_expiring(key, fields, ttl, expect)
            }
        }
    }
}

/// The stored fields with those of the record's type replaced by its own.
fn merge<R: Record>(mut stored: Fields, ours: &Fields) -> Fields {
    stored.retain(|name, _| !R::FIELDS.contains(&name.as_str()));
    stored.extend(ours.iter().map(|(name, value)| (name.clone(), value.clone())));
    stored
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use model::{CertWanted, Host};

    use super::*;
    use crate::{Collection, MemoryBackend};

    fn host(port: u16) -> Host {
        let mut host = Host::new("a.test".parse().unwrap());
        host.upstreams.push(format!("127.0.0.1:{port}").parse().unwrap());
        host
    }

    fn store() -> (Store, runtime::ManualClock) {
        let (clock, hand) = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        let backend = Arc::new(MemoryBackend::with_clock(clock.clone()).unwrap());
        (Store::new(backend, Sealer::new(None, None, true).unwrap(), clock), hand)
    }

    async fn edit(store: &Store, name: &str, value: &str) {
        let key = Key::new(Collection::Host, "a.test");
        let mut fields = store.backend().get(&key).await.unwrap().unwrap_or_default();
        fields.insert(name.to_owned(), value.to_owned());
        store.backend().commit(Txn::new().put(key, fields, Expect::Any)).await.unwrap();
    }

    async fn field(store: &Store, name: &str) -> Option<String> {
        let key = Key::new(Collection::Host, "a.test");
        store.backend().get(&key).await.unwrap().unwrap_or_default().remove(name)
    }

    #[tokio::test]
    async fn the_etag_of_a_write_is_that_of_the_next_read() {
        let (store, _) = store();
        let written = store.put(&host(1), Expect::Absent).await.unwrap();
        let read = store.get::<Host>("a.test").await.unwrap().unwrap();
        assert_eq!((read.etag, read.value), (written.etag, host(1)));
        assert_eq!(written.revision, store.backend().revision().await.unwrap());
        assert!(store.get::<Host>("b.test").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn fields_of_others_are_kept_and_own_ones_replaced() {
        let (store, _) = store();
        let mut disabled = host(1);
        disabled.enabled = false;
        store.put(&disabled, Expect::Absent).await.unwrap();
        edit(&store, "sso_realm", "10").await;
        edit(&store, "created_by", "an older name that is none here").await;
        store.put(&host(2), Expect::Exists).await.unwrap();
        assert_eq!(field(&store, "sso_realm").await.as_deref(), Some("10"));
        assert_eq!(field(&store, "gw_enabled").await, None);
        assert!(field(&store, "created_by").await.is_some());
        assert_eq!(store.get::<Host>("a.test").await.unwrap().unwrap().value, host(2));
    }

    #[tokio::test]
    async fn a_foreign_edit_makes_an_etag_stale() {
        let (store, _) = store();
        let written = store.put(&host(1), Expect::Absent).await.unwrap();
        edit(&store, "ip", "10.0.0.1").await;
        let expect = Expect::ETag(written.etag);
        let stale = store.put(&host(2), expect.clone()).await;
        assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
        let stale = store.delete::<Host>("a.test", expect).await;
        assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
        assert_eq!(field(&store, "ip").await.as_deref(), Some("10.0.0.1"));
        assert!(matches!(store.put(&host(2), Expect::Absent).await, Err(Error::Conflict { .. })));
    }

    #[tokio::test]
    async fn a_bad_record_is_listed_beside_the_good_ones() {
        let (store, _) = store();
        store.put(&host(1), Expect::Absent).await.unwrap();
        let bad = Key::new(Collection::Host, "b.test");
        let fields = Fields::from([("ip".to_owned(), "?".to_owned())]);
        let txn = Txn::new().put(bad.clone(), fields, Expect::Absent);
        store.backend().commit(txn).await.unwrap();
        let page = store.list::<Host>(None, 10).await.unwrap();
        assert_eq!((page.records.len(), page.bad.len()), (1, 1));
        assert_eq!(page.bad[0].key, bad);
        assert!(matches!(store.get::<Host>("b.test").await, Err(Error::BadRecord(_))));
    }

    #[tokio::test]
    async fn a_record_that_says_when_it_expires_does() {
        let (store, hand) = store();
        let name = "a.test".parse().unwrap();
        let wanted = CertWanted { name, wanted_at: Timestamp::from_millis(1_000) };
        store.put(&wanted, Expect::Absent).await.unwrap();
        hand.advance(Duration::from_secs(59));
        assert!(store.get::<CertWanted>("a.test").await.unwrap().is_some());
        hand.advance(Duration::from_secs(1));
        assert!(store.get::<CertWanted>("a.test").await.unwrap().is_none());
    }
}
