use std::sync::Arc;
use std::time::Duration;

use model::{ETag, Revision, Timestamp};
use runtime::Clock;

use crate::{Backend, BadRecord, Error, Expect, Fields, Key, Record, Sealer, Txn, etag};

/// How often a write that expects nothing particular is tried again when somebody else was quicker.
const ATTEMPTS: usize = 8;

/// Typed access to the records of a [`Backend`]. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    sealer: Arc<Sealer>,
    clock: Clock,
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
        Self { backend, sealer: Arc::new(sealer), clock }
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
        let key = Key::new(R::COLLECTION, record.id());
        let ours = record.to_fields(&self.sealer)?;
        let mut attempt = 1;
        loop {
            let current = self.backend.get(&key).await?;
            if !expect.holds(current.as_ref()) {
                return Err(Error::Conflict { key });
            }
            let seen = current.as_ref().map_or(Expect::Absent, |fields| Expect::ETag(etag(fields)));
            let fields = merge::<R>(current.unwrap_or_default(), &ours);
            let tag = etag(&fields);
            match self.backend.commit(self.put_txn(record, key.clone(), fields, seen)).await {
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
