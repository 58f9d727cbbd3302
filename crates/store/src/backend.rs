use std::pin::Pin;
use std::time::Duration;

use model::{Epoch, Revision};

use crate::{Collection, Error, Fields, Hints, Key, Txn};

/// A future that a [`Backend`] returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where records are kept. Three exist: memory, embedded, Redis; the suite `conformance` (feature `test-util`) holds them to this text.
///
/// **Truth.** A read sees every commit that was acknowledged before it started, through any handle. A commit is
/// atomic: its records, the index and the revision change together or not at all.
///
/// **Loss.** What an acknowledgement is worth is the backend's: memory keeps nothing, embedded has it on disk, Redis
/// as much as its persistence settings say. Hints may always be lost.
///
/// **Cancel.** Every future may be dropped; a dropped commit may still happen.
pub trait Backend: Send + Sync + 'static {
    /// The fields of a record; `None` when there is none, or it has expired.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Fields>, Error>>;

    /// One page of a collection: at most `limit` (at least 1) records, from the start or from a former page's
    /// [`ScanPage::next`].
    ///
    /// A record that stands throughout the scan is seen; one that comes or goes meanwhile may be. No order is
    /// promised, and a record may come twice when the collection grows or shrinks much between pages.
    fn scan<'a>(
        &'a self,
        collection: Collection,
        cursor: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ScanPage, Error>>;

    /// Where the store stands. A Redis that nothing of ours ever wrote to stands at [`unborn`].
    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>>;

    /// Does all of a transaction, or fails with [`Error::Conflict`] having done nothing; returns the revision that
    /// has it. An empty transaction changes nothing.
    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, Error>>;

    /// Which records changed after `since`, each once.
    fn changes_since<'a>(&'a self, since: &'a Revision) -> BoxFuture<'a, Result<Changes, Error>>;

    /// At most `limit` entries of the history with numbers below `before`, or the last ones; newest first.
    ///
    /// The history is bounded and lies beside the records: an entry is appended by the commit that it tells of
    /// ([`Txn::entry`]), is no change of its own and causes no hint. Numbers grow by one in the life of the store.
    fn history(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>>;

    /// Hints from now on. Ask for it before the first read, so that nothing falls between the two.
    fn watch(&self) -> Hints;

    /// Writes a record that only its owner writes and that vanishes unless written again within `ttl`. It is outside
    /// the revision: no commit, no change, no hint.
    fn put_lease<'a>(
        &'a self,
        key: &'a Key,
        fields: &'a Fields,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes what [`Backend::put_lease`] wrote.
    fn delete_lease<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes the lock `name` for `ttl`; `None` when somebody has it, `holder` itself included.
    fn acquire<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Error>>;

    /// Has the lock for `ttl` from now; `false` when it was lost.
    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>>;

    /// Gives the lock back; nothing happens when it was lost.
    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Error>>;
}

/// A future that is done.
pub(crate) fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

/// A fresh epoch: 128 random bits.
///
/// # Errors
/// When the system has no randomness.
pub fn new_epoch() -> Result<Epoch, Error> {
    let mut bytes = [0; 16];
    let failed = |source| Error::Unavailable { what: "making an epoch".to_owned(), source };
    aws_lc_rs::rand::fill(&mut bytes).map_err(|cause| failed(Some(cause.into())))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Epoch::new(text).map_err(|cause| failed(Some(cause.into())))
}

/// The revision of a store that nothing of ours ever wrote to: epoch `0`, number 0.
pub fn unborn() -> Revision {
    match "0:0".parse() {
        Ok(revision) => revision,
        Err(_) => unreachable!("0:0 is a revision"),
    }
}

/// Some records of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// Ids and fields.
    pub records: Vec<(String, Fields)>,
    /// Where the next page starts: hand it back as it is. `None` at the end. A page may be empty before the end.
    pub next: Option<String>,
}

/// What happened since a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// These records changed; read them. Some may turn out to be as they were.
    Keys {
        /// The revision that the list reaches up to.
        revision: Revision,
        /// Which records, each once.
        keys: Vec<Key>,
    },
    /// It can't be told: the store was replaced, went back, or the log does not reach so far. Scan everything.
    Reset {
        /// The revision to go on from after a scan that starts now.
        revision: Revision,
    },
}

/// An entry of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its number, from 1.
    pub number: u64,
    /// The revision of the commit that it tells of.
    pub revision: Revision,
    /// What the writer had to say.
    pub text: String,
}

/// How many entries one commit may remove beyond those that it appends, so that a lower bound costs no commit much.
pub const HISTORY_TRIM: usize = 64;

/// A lock that is held until it is released or its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The lock's name.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Grows with every acquisition in the life of the store: who sees a higher one must not go on.
    pub fence: u64,
}
