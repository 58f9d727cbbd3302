//! The shared state of the two planes: where records are kept, what they look like there, and how a change is told.
//!
//! * [`Backend`] is the seam: records as plain text fields, atomic commits, a revision, a bounded log of changes,
//!   hints, leases. Three implementations: [`MemoryBackend`], [`EmbeddedBackend`] here, Redis in `store-redis`.
//! * [`Record`] gives a type its stored form; [`Store`] reads and writes such types.
//! * [`Sealer`] seals the secrets among the fields.
//!
//! The crate knows nothing of HTTP, of what a change leads to, or who may make it.
//!
//! ```
//! use std::sync::Arc;
//! use model::Host;
//! use runtime::Clock;
//! use store::{Changes, Expect, MemoryBackend, Sealer, Store};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = Store::new(Arc::new(MemoryBackend::new()?), Sealer::new(None, None, true)?, Clock::system());
//! let before = store.backend().revision().await?;
//!
//! let mut host = Host::new("app.test".parse()?);
//! let made = store.put(&host, Expect::Absent).await?;
//! host.upstreams.push("127.0.0.1:9000".parse()?);
//! store.put(&host, Expect::ETag(made.etag)).await?;
//!
//! let found = store.get::<Host>("app.test").await?.ok_or("gone")?;
//! assert_eq!(found.value, host);
//! let changes = store.backend().changes_since(&before).await?;
//! assert!(matches!(changes, Changes::Keys { keys, .. } if keys.len() == 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod backend;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod embedded;
mod error;
mod hints;
mod key;
mod memory;
mod record;
mod seal;
mod store;
mod txn;

pub use backend::{
    Backend, BoxFuture, Changes, HISTORY_TRIM, HistoryEntry, Lease, ScanPage, new_epoch, unborn,
};
pub use embedded::EmbeddedBackend;
pub use error::{BadRecord, Cause, Error, SealError};
pub use hints::{HintSender, Hints, Touched};
pub use key::{Collection, Fields, Key, etag};
pub use memory::MemoryBackend;
pub use record::{
    AcmeAccount, Ailing, Attempt, AttemptFailure, CertLedger, DnsProviderRecord, Domain,
    GuardReport, Issuance, LocalCaRecord, ProxyReport, Record, Rejected, StoreAccept, Window,
};
pub use seal::{Seal, Sealer};
pub use store::{Page, Store, Versioned, Written};
pub use txn::{Action, Expect, NewEntries, Op, Txn};

/// How many entries the history keeps, unless told otherwise.
pub const HISTORY: usize = 10_000;

/// How many changes a backend's log remembers at least, unless told otherwise. Who is further behind scans.
pub const CHANGE_LOG: usize = 100_000;
