//! What asks for a certificate and what makes one know of each other: this, and nothing more.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use model::{CertRecord, Challenge, HostPattern, Secret, Timestamp};

/// A future that an [`Issuer`] or a [`Journal`] returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes certificates. Two exist: [`LocalCa`](crate::LocalCa), and the ACME client.
///
/// An issuer decides nothing about *when*: it is called by who holds the lease of the name. It may be dropped at any
/// await, with the process or by its caller; what must outlive that is in the [`Journal`] before it exists anywhere else.
pub trait Issuer: Send + Sync + 'static {
    /// Makes one certificate, or says why not. An order found in the journal is finished, or cleared away, first.
    fn issue<'a>(
        &'a self,
        request: &'a Request,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<CertRecord, Failure>>;

    /// When the authority that made this chain (PEM) wants it replaced (RFC 9773); `None` when it has no opinion.
    fn renewal_window<'a>(
        &'a self,
        chain_pem: &'a str,
    ) -> BoxFuture<'a, Result<Option<RenewalWindow>, Failure>>;

    /// Clears away what an order left that nobody wants any longer: its challenges and TXT values. `Ok` when all is gone.
    fn abandon<'a>(&'a self, journal: &'a dyn Journal) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Which certificate is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name that the record is kept under: a name, or `*.x`, which covers `x` as well.
    pub name: HostPattern,
    /// What kind of key it gets.
    pub key_kind: KeyKind,
    /// The chain (PEM) that it takes the place of, to tell the authority so (RFC 9773 §5).
    pub replaces: Option<String>,
}

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// ECDSA on P-256.
    #[default]
    EcdsaP256,
    /// RSA with 2048 bits, for clients that know nothing newer.
    Rsa2048,
}

/// When a certificate is best replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalWindow {
    /// From when on.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
    /// When to ask again, in this long.
    pub ask_again: Duration,
}

/// What an issuer remembers, for one name, in the shared state. Implemented by the holder of the name's lease: every
/// write fails with [`JournalError::Lost`] once somebody else holds it, and then the issuer must stop.
///
/// The order of things: first into the journal, then into the world; first out of the world, then out of the journal.
pub trait Journal: Send + Sync {
    /// The account kept for the directory at this URL: what [`Journal::keep_account`] was given.
    fn account<'a>(
        &'a self,
        directory: &'a str,
    ) -> BoxFuture<'a, Result<Option<Secret<String>>, JournalError>>;

    /// Keeps an account for all names and replicas. When there is one already, that one stays; returns the one that is kept.
    fn keep_account<'a>(
        &'a self,
        directory: &'a str,
        account: Secret<String>,
    ) -> BoxFuture<'a, Result<Secret<String>, JournalError>>;

    /// Forgets an account that the directory no longer knows, if it is still this one.
    fn forget_account<'a>(
        &'a self,
        directory: &'a str,
        account: &'a Secret<String>,
    ) -> BoxFuture<'a, Result<(), JournalError>>;

    /// The order under way, by this holder or one before.
    fn order(&self) -> BoxFuture<'_, Result<Option<OrderState>, JournalError>>;

    /// Keeps what is known of the order.
    fn keep_order<'a>(&'a self, order: &'a OrderState) -> BoxFuture<'a, Result<(), JournalError>>;

    /// The order is over and everything of it cleared away.
    fn forget_order(&self) -> BoxFuture<'_, Result<(), JournalError>>;

    /// Asks the ledger whether a new order at this directory stays within the authority's published limits, and
    /// enters it. To be called just before the order is made.
    fn admit_order<'a>(&'a self, directory: &'a str) -> BoxFuture<'a, Result<(), JournalError>>;

    /// Has every proxy answer a challenge; returns when every live one does, or [`JournalError::NotServed`].
    fn publish<'a>(&'a self, challenge: &'a Challenge) -> BoxFuture<'a, Result<(), JournalError>>;

    /// Has no proxy answer it any longer.
    fn withdraw<'a>(
        &'a self,
        domain: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<(), JournalError>>;

    /// How far the order is, for people to see.
    fn reached(&self, stage: Stage);

    /// An authority failed and the next one of the list is asked: a fact to keep. The failure of the last one, or of one after which
    /// no other is asked, is what [`Issuer::issue`] returns, so that each is told once.
    fn tried(&self, failure: &Failure) {
        let _ = failure;
    }
}

/// An order under way, with all that must be cleared away after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderState {
    /// The directory of the authority.
    pub directory: String,
    /// The order's URL there; empty until the authority said it.
    pub url: String,
    /// The key that the certificate is to get, PEM.
    pub key_pem: Secret<String>,
    /// The TXT values in the DNS, or about to be.
    pub txt: Vec<TxtValue>,
    /// The challenges that proxies answer, or are about to: domain and token.
    pub challenges: Vec<(String, String)>,
}

/// A TXT value that an order put into the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxtValue {
    /// The id of the provider record that can remove it.
    pub provider: String,
    /// The zone it is in, such as `example.com`.
    pub zone: String,
    /// The whole name, such as `_acme-challenge.example.com`.
    pub name: String,
    /// The value.
    pub value: String,
}

/// How far an order came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Making sure that there is an account.
    Account,
    /// Making the order.
    Order,
    /// Putting up the answers to challenges: records in the store, TXT values in the DNS.
    Challenge,
    /// Waiting until the DNS has the TXT values everywhere.
    Propagation,
    /// The authority checks the challenges.
    Validation,
    /// Handing in the certificate request.
    Finalize,
    /// Fetching and checking the certificate.
    Download,
    /// Keeping it.
    Store,
}

impl Stage {
    /// Its name in records, metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Order => "order",
            Self::Challenge => "challenge",
            Self::Propagation => "propagation",
            Self::Validation => "validation",
            Self::Finalize => "finalize",
            Self::Download => "download",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why no certificate was made, as a fact to keep.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// How far it came.
    pub stage: Stage,
    /// What kind of failure: the last part of the authority's problem type (`rateLimited`, `dns`, `unauthorized`), or one of
    /// [`codes`].
    pub code: String,
    /// A sentence for people, with the name and what to do.
    pub detail: String,
    /// The authority's problem document (RFC 8555 §6.7), JSON, as it came.
    pub problem: Option<String>,
    /// Which authority: the URL of its directory.
    pub directory: Option<String>,
    /// Not to be tried again before this long: `Retry-After`.
    pub retry_after: Option<Duration>,
    /// What lies beneath.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The codes of failures that are not an authority's words.
pub mod codes {
    /// The authority, or a DNS provider, could not be reached or answered nonsense.
    pub const UNREACHABLE: &str = "unreachable";
    /// The authority did not come to an end in time.
    pub const TIMEOUT: &str = "timeout";
    /// No DNS provider is known for a name that only DNS-01 can prove.
    pub const NO_PROVIDER: &str = "noDnsProvider";
    /// The DNS provider refused.
    pub const PROVIDER: &str = "dnsProvider";
    /// The zone's name servers did not all show the TXT values in time.
    pub const PROPAGATION: &str = "dnsPropagation";
    /// Not every live proxy answers the challenge.
    pub const NOT_SERVED: &str = "challengeNotServed";
    /// One more order would break a limit that the authority publishes.
    pub const LEDGER: &str = "ledger";
    /// The lease was lost: another replica goes on.
    pub const LOST: &str = "leaseLost";
    /// The shared state can't be read or written.
    pub const STORE: &str = "store";
    /// No certificate of this kind can be made: a setting is wrong.
    pub const CONFIGURATION: &str = "configuration";
    /// What the authority handed out is not what was asked for.
    pub const BAD_CERTIFICATE: &str = "badCertificate";
}

/// Why the journal could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Stop: another replica holds the lease by now.
    #[error("another replica has taken over this name")]
    Lost,
    /// Stop: one more order would break a published limit.
    #[error("{rule}")]
    Limited {
        /// Which limit, in a sentence.
        rule: String,
        /// When there is room again.
        retry_after: Duration,
    },
    /// Some live proxies did not take the challenge in time.
    #[error("these proxies do not answer the challenge yet: {}", laggards.join(", "))]
    NotServed {
        /// Their instance names.
        laggards: Vec<String>,
    },
    /// Try again later: the shared state can't be reached, or refuses.
    #[error("the shared state can't keep the order")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}
