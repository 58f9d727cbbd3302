use model::{HostPattern, Secret, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Reader, Record, Writer};
use crate::{BadRecord, Collection, Error, Fields, Key, Sealer};

/// How a certificate is come by: the order under way, what was tried before, and when to try again. One for each name
/// that an authority was asked about.
///
/// It is also what fences its writers: whoever takes the lease of the name writes its fence here first, and every later
/// write of the same holder, the certificate included, expects to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// The name of the certificate, also the record's id.
    pub name: HostPattern,
    /// The fence of the lease of whoever wrote last as its holder.
    pub fence: u64,
    /// Who that was.
    pub holder: String,
    /// Since when an order is under way; `None` when none is.
    pub started_at: Option<Timestamp>,
    /// How far it is.
    pub stage: Option<String>,
    /// The order, JSON; it tells what must be cleared away after it.
    pub order: Option<String>,
    /// The key that the certificate of the order is to get, PEM, opened.
    pub order_key: Option<Secret<String>>,
    /// How many attempts failed since the last that did not.
    pub failures: u32,
    /// Not to be tried again before.
    pub retry_at: Option<Timestamp>,
    /// Somebody asked for a new certificate at this time.
    pub forced_at: Option<Timestamp>,
    /// When the authority wants the present certificate replaced.
    pub window: Option<Window>,
    /// The last attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// When an authority wants a certificate replaced, as it last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// From when on; both are `None` when it has no opinion.
    pub start: Option<Timestamp>,
    /// Until when.
    pub end: Option<Timestamp>,
    /// When it is to be asked again.
    pub ask_at: Timestamp,
}

/// One attempt to get a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Who made it.
    pub holder: String,
    /// The directory of the authority, if it came so far.
    pub directory: Option<String>,
    /// Why it failed; `None` when it did not.
    pub failure: Option<AttemptFailure>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailure {
    /// How far it came.
    pub stage: String,
    /// What kind of failure.
    pub code: String,
    /// The same for people.
    pub detail: String,
    /// The authority's problem document, JSON, as it came.
    pub problem: Option<String>,
}

/// How many attempts are remembered.
const ATTEMPTS: usize = 10;

impl Issuance {
    /// Nothing was tried yet.
    pub fn new(name: HostPattern) -> Self {
        Self {
            name,
            fence: 0,
            holder: String::new(),
            started_at: None,
            stage: None,
            order: None,
            order_key: None,
            failures: 0,
            retry_at: None,
            forced_at: None,
            window: None,
            attempts: Vec::new(),
        }
    }

    /// Remembers an attempt, and forgets the oldest if there are many.
    pub fn remember(&mut self, attempt: Attempt) {
        let surplus = (self.attempts.len() + 1).saturating_sub(ATTEMPTS);
        self.attempts.drain(..surplus);
        self.attempts.push(attempt);
    }

    /// The failure of the last attempt; `None` when it succeeded, or there was none.
    pub fn last_failure(&self) -> Option<&AttemptFailure> {
        self.attempts.last()?.failure.as_ref()
    }
}

impl Record for Issuance {
    const COLLECTION: Collection = Collection::Issuance;
    const FIELDS: &'static [&'static str] = &[
        "name",
        "fence",
        "holder",
        "started_at",
        "stage",
        "order",
        "order_key",
        "failures",
        "retry_at",
        "forced_at",
        "window",
        "attempts",
    ];

    fn id(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn to_fields(&self, sealer: &Sealer) -> Result<Fields, Error> {
        let millis = |at: Option<Timestamp>| at.map(|at| at.as_millis());
        let key = self.order_key.as_ref();
        let sealed = key.map(|key| sealer.secret_key().seal(&self.key(), key)).transpose()?;
        let window = self.window.iter();
        let writer = window.fold(Writer::default(), |to, window| to.set_json("window", window));
        Ok(writer
            .set("name", self.name.as_str())
            .set("fence", self.fence)
            .set("holder", &self.holder)
            .set_some("started_at", millis(self.started_at))
            .set_some("stage", self.stage.as_ref())
            .set_some("order", self.order.as_ref())
            .set_some("order_key", sealed)
            .set("failures", self.failures)
            .set_some("retry_at", millis(self.retry_at))
            .set_some("forced_at", millis(self.forced_at))
            .set_json("attempts", &self.attempts)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, sealer: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let name: HostPattern = reader.parse("name")?;
        reader.same_as_id("name", name.as_str())?;
        let text = |name| reader.text(name).map(str::to_owned);
        let millis = |name| reader.text(name).map(|_| reader.millis(name)).transpose();
        let key = Key::new(Self::COLLECTION, id);
        let opened = reader.text("order_key").map(|sealed| sealer.secret_key().open(&key, sealed));
        Ok(Self {
            name,
            fence: reader.parse("fence")?,
            holder: text("holder").unwrap_or_default(),
            started_at: millis("started_at")?,
            stage: text("stage"),
            order: text("order"),
            order_key: opened.transpose().map_err(|cause| reader.wrong("order_key", cause))?,
            failures: reader.parse("failures")?,
            retry_at: millis("retry_at")?,
            forced_at: millis("forced_at")?,
            window: reader.json("window")?,
            attempts: reader.json("attempts")?,
        })
    }
}

/// An account at an ACME authority, shared by all replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeAccount {
    /// The URL of the authority's directory, also the record's id.
    pub directory: String,
    /// The account with its key, in the words of the ACME client, opened.
    pub account: Secret<String>,
    /// When it was kept.
    pub created_at: Timestamp,
}

impl Record for AcmeAccount {
    const COLLECTION: Collection = Collection::AcmeAccount;
    const FIELDS: &'static [&'static str] = &["directory", "account", "created_on"];

    fn id(&self) -> String {
        self.directory.clone()
    }

    fn to_fields(&self, sealer: &Sealer) -> Result<Fields, Error> {
        Ok(Writer::default()
            .set("directory", &self.directory)
            .set("account", sealer.secret_key().seal(&self.key(), &self.account)?)
            .set_millis("created_on", self.created_at)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, sealer: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let directory = reader.required("directory")?.to_owned();
        reader.same_as_id("directory", &directory)?;
        let opened =
            sealer.secret_key().open(&Key::new(Self::COLLECTION, id), reader.required("account")?);
        Ok(Self {
            directory,
            account: opened.map_err(|cause| reader.wrong("account", cause))?,
            created_at: reader.millis("created_on")?,
        })
    }
}

/// When orders of one kind were made, so that an authority's published limits are never reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertLedger {
    /// What is counted: the authority and the scope of the limit. Also the record's id.
    pub scope: String,
    /// When, oldest first.
    pub at: Vec<Timestamp>,
}

impl Record for CertLedger {
    const COLLECTION: Collection = Collection::CertLedger;
    const FIELDS: &'static [&'static str] = &["scope", "at"];

    fn id(&self) -> String {
        self.scope.clone()
    }

    fn to_fields(&self, _: &Sealer) -> Result<Fields, Error> {
        Ok(Writer::default().set("scope", &self.scope).set_json("at", &self.at).done())
    }

    fn from_fields(id: &str, fields: &Fields, _: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        reader.same_as_id("scope", reader.required("scope")?)?;
        Ok(Self { scope: id.to_owned(), at: reader.json("at")? })
    }
}
