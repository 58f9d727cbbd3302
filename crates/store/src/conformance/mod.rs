//! What every [`Backend`] has to do, as a suite of tests that any of them can be put through.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::SystemTime;
//! use runtime::Clock;
//! use store::MemoryBackend;
//! use store::conformance::{Subject, suite};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(
//! suite(async || {
//!     let (clock, hand) = Clock::manual(SystemTime::UNIX_EPOCH);
//!     let backend = Arc::new(MemoryBackend::with(clock, 50).unwrap());
//!     Subject { first: backend.clone(), second: backend, log_limit: 50, hand: Some(hand) }
//! })
//! # );
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::Revision;
use runtime::ManualClock;

use crate::{Backend, Cause, Changes, Collection, Expect, Fields, Key, Txn};

mod changes;
mod entries;
mod history;
mod leases;
mod records;

/// A fresh and empty store to test.
pub struct Subject {
    /// A handle to it.
    pub first: Arc<dyn Backend>,
    /// Another handle to the same store.
    pub second: Arc<dyn Backend>,
    /// How many changes it remembers: 50 to a few hundred.
    pub log_limit: usize,
    /// The hand of its clock; `None` when only waiting makes time pass.
    pub hand: Option<ManualClock>,
}

/// Puts a backend through every test, each with a subject of its own.
///
/// # Panics
/// With the name of the first test that fails.
pub async fn suite(make: impl AsyncFn() -> Subject) {
    for (name, case) in
        [records::CASES, changes::CASES, leases::CASES, entries::CASES, history::CASES].concat()
    {
        let subject = make().await;
        let outcome = tokio::time::timeout(LIMIT, case(&subject)).await;
        let outcome = outcome.unwrap_or_else(|_| Err("it takes too long".into()));
        assert!(outcome.is_ok(), "conformance: {name}: {outcome:?}");
    }
}

/// How long one test may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long to wait for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// A time to live that a test lets pass.
const TTL: Duration = Duration::from_millis(150);
/// A time to live that no test sees the end of.
const LONG: Duration = Duration::from_secs(3600);

type Outcome = Result<(), Cause>;
type Case = (&'static str, for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>);

impl Subject {
    /// Lets at least [`TTL`] pass and waits until it shows.
    async fn expire(&self, shows: impl AsyncFn() -> Result<bool, Cause>) -> Outcome {
        if let Some(hand) = &self.hand {
            hand.advance(TTL);
        }
        eventually(shows).await
    }
}

/// Waits until a condition holds.
async fn eventually(condition: impl AsyncFn() -> Result<bool, Cause>) -> Outcome {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await? {
        if tokio::time::Instant::now() > deadline {
            return Err("what was waited for did not happen".into());
        }
        // Nothing tells when a store's time has moved: look again shortly.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn key(id: &str) -> Key {
    Key::new(Collection::Host, id)
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn value(text: &str) -> Fields {
    fields(&[("value", text)])
}

fn put(id: &str, text: &str) -> Txn {
    Txn::new().put(key(id), value(text), Expect::Any)
}

/// The keys that changed; an error for a reset.
async fn changed(backend: &dyn Backend, since: &Revision) -> Result<Vec<Key>, Cause> {
    match backend.changes_since(since).await? {
        Changes::Keys { mut keys, revision } if revision.includes(since) => {
            keys.sort();
            Ok(keys)
        }
        other => Err(format!("not a list of changes: {other:?}").into()),
    }
}

/// Every record of a collection, read in pages of this size, in order of ids.
async fn scan(
    backend: &dyn Backend,
    collection: Collection,
    limit: usize,
) -> Result<Vec<(String, Fields)>, Cause> {
    let mut records = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = backend.scan(collection, cursor.as_deref(), limit).await?;
        if page.records.len() > limit {
            return Err(format!("a page of {} records, not {limit}", page.records.len()).into());
        }
        records.extend(page.records);
        cursor = page.next;
        if cursor.is_none() {
            records.sort();
            return Ok(records);
        }
    }
}
