use model::{Revision, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Reader, Record, Writer};
use crate::{BadRecord, Collection, Error, Fields, Key, Sealer};

/// What a live proxy says of itself, under a lease that it renews: [`crate::Store::put_lease`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyReport {
    /// Its name, also the record's id.
    pub instance: String,
    /// The revision that all its workers run.
    pub revision: Revision,
    /// How many workers it has.
    pub workers: u64,
    /// How many hosts its table holds.
    pub hosts: u64,
    /// How many certificates its table holds.
    pub certs: u64,
    /// Why it does not believe the store and keeps what it has; `None` when it does.
    pub guard: Option<GuardReport>,
    /// Records it could not take over, with the reason; it keeps their last good value.
    pub rejected: Vec<Rejected>,
    /// Upstreams that it does not use as usual, the first of them when there are many.
    pub ailing: Vec<Ailing>,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Its version.
    pub version: String,
    /// Where its admin port listens.
    pub addr: String,
}

/// Why a proxy does not believe the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardReport {
    /// What made it doubt, one word: `epoch_missing`, `epoch_changed`, `went_back` or `drops_hosts`.
    pub reason: String,
    /// The same for people, with revisions and numbers.
    pub detail: String,
    /// The revision of the store when it began to doubt.
    pub seen: Revision,
    /// Since when.
    pub since: Timestamp,
}

/// An upstream that a proxy does not use as usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ailing {
    /// The pattern of its host.
    pub host: String,
    /// Its address.
    pub upstream: String,
    /// What is wrong, one word: `ejected`, `unhealthy`, `starting`, `breaker_open` or `breaker_half_open`.
    pub state: String,
    /// Since when, as the proxy noticed it.
    pub since: Timestamp,
}

/// A record that a proxy could not take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which one, as [`Key`] shows itself.
    pub key: String,
    /// Why, for people.
    pub reason: String,
}

impl Rejected {
    /// A record and the reason.
    pub fn new(key: &Key, reason: impl Into<String>) -> Self {
        Self { key: key.to_string(), reason: reason.into() }
    }
}

impl Record for ProxyReport {
    const COLLECTION: Collection = Collection::Proxy;
    const FIELDS: &'static [&'static str] = &[
        "instance",
        "revision",
        "workers",
        "hosts",
        "certs",
        "guard",
        "rejected",
        "ailing",
        "started_at",
        "version",
        "addr",
    ];

    fn id(&self) -> String {
        self.instance.clone()
    }

    fn to_fields(&self, _: &Sealer) -> Result<Fields, Error> {
        let guard = self.guard.as_ref();
        let writer = guard.into_iter().fold(Writer::default(), |to, it| to.set_json("guard", it));
        Ok(writer
            .set("instance", &self.instance)
            .set("revision", &self.revision)
            .set("workers", self.workers)
            .set("hosts", self.hosts)
            .set("certs", self.certs)
            .set_json("rejected", &self.rejected)
            .set_json("ailing", &self.ailing)
            .set_millis("started_at", self.started_at)
            .set("version", &self.version)
            .set("addr", &self.addr)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, _: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let text = |name| reader.text(name).unwrap_or_default().to_owned();
        Ok(Self {
            instance: id.to_owned(),
            revision: reader.parse("revision")?,
            workers: reader.parse("workers")?,
            hosts: reader.parse("hosts")?,
            certs: reader.parse("certs")?,
            guard: reader.json("guard")?,
            rejected: reader.json("rejected")?,
            ailing: reader.json("ailing")?,
            started_at: reader.millis("started_at")?,
            version: text("version"),
            addr: text("addr"),
        })
    }
}
