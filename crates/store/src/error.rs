use std::path::PathBuf;

use crate::{Collection, Key};

/// Any failure below a store operation, kept as the cause of an [`Error`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One record can't be understood. Leave it alone and report it; the others are fine.
    #[error("a stored record can't be read")]
    BadRecord(#[from] BadRecord),
    /// An expectation of the transaction did not hold; nothing was written. Read again and decide.
    #[error("{key} is not what the transaction expected")]
    Conflict {
        /// A record that differs.
        key: Key,
    },
    /// What lies in the store is not a store's data. An operator has to look.
    #[error("the store is damaged: {what}")]
    Corrupt {
        /// What was found.
        what: String,
        /// The cause underneath, when there is one.
        #[source]
        source: Option<Cause>,
    },
    /// Another process has the embedded store open. Stop it, or use Redis for several processes.
    #[error(
        "{} is in use by another process: the embedded store serves one process only. Stop the other one, \
         choose another directory, or set STORE to a Redis server to share state",
        dir.display()
    )]
    InUse {
        /// The directory of the store.
        dir: PathBuf,
    },
    /// A secret can't be sealed or opened with the keys at hand. The configuration has to change.
    #[error("a secret can't be sealed or opened")]
    Seal(#[from] SealError),
    /// The store does not answer or can't write. Try again later.
    ///
    /// A commit that ends so may have happened or not: read before doing it again.
    #[error("the store is unavailable: {what}")]
    Unavailable {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Option<Cause>,
    },
}

/// A stored record that is not what its collection holds.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct BadRecord {
    /// Which record.
    pub key: Key,
    /// What is wrong, naming the field.
    pub problem: String,
    /// The cause underneath, when there is one.
    #[source]
    pub source: Option<Cause>,
}

impl BadRecord {
    /// A record that is wrong as a whole.
    pub fn new(collection: Collection, id: &str, problem: impl Into<String>) -> Self {
        Self { key: Key::new(collection, id), problem: problem.into(), source: None }
    }

    /// A record of which one field can't be read.
    pub fn field(collection: Collection, id: &str, field: &str, cause: impl Into<Cause>) -> Self {
        Self {
            key: Key::new(collection, id),
            problem: format!("the field {field} can't be read"),
            source: Some(cause.into()),
        }
    }
}

/// Why a secret can't be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is neither a key nor leave to do without.
    #[error(
        "there is no {key}: set it, or set ALLOW_PLAINTEXT_SECRETS=true to keep secrets unsealed"
    )]
    NoKey {
        /// The setting that would hold it.
        key: &'static str,
    },
    /// The value is not of the form `gw1:<key id>:<base64>`.
    #[error("the sealed value is malformed")]
    Malformed,
    /// The value stands there in clear, and that is not allowed.
    #[error("the value is not sealed; set ALLOW_PLAINTEXT_SECRETS=true to read it anyway")]
    NotSealed,
    /// The secret given is too short to make a key of.
    #[error("{key} must be at least {least} characters of random text")]
    ShortKey {
        /// The setting that holds it.
        key: &'static str,
        /// How long it has to be.
        least: usize,
    },
    /// The value was altered, or moved here from another record.
    #[error("the sealed value was altered or belongs to another record")]
    Tampered,
    /// The cryptography library refused; not seen in practice.
    #[error("the cryptography library refused")]
    Unspecified,
    /// The value was sealed with another key.
    #[error("the value was sealed with another {key} (key id {sealed_with}, here {have})")]
    WrongKey {
        /// The setting that holds the key.
        key: &'static str,
        /// The id of the key it was sealed with.
        sealed_with: String,
        /// The id of the key at hand.
        have: String,
    },
}
