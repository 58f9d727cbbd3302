use std::fmt::Display;
use std::str::FromStr;

use model::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as WordError, StrDeserializer};

use crate::{BadRecord, Cause, Collection, Error, Fields, Key, Sealer};

mod accept;
mod account;
mod cert;
mod dns;
mod host;
mod issuance;
mod local_ca;
mod report;
mod rules;
#[cfg(test)]
mod tests;

pub use accept::StoreAccept;
pub use dns::{DnsProviderRecord, Domain};
pub use issuance::{AcmeAccount, Attempt, AttemptFailure, CertLedger, Issuance, Window};
pub use local_ca::LocalCaRecord;
pub use report::{Ailing, GuardReport, ProxyReport, Rejected};

/// A type that is kept as a record of one collection.
///
/// Reading is tolerant: fields unknown to the type are ignored, those added later have defaults, a flag is whatever
/// is not `false`, a number is text.
pub trait Record: Sized + Send + Sync {
    /// Where its records are.
    const COLLECTION: Collection;

    /// The fields that [`Record::to_fields`] speaks for: one that it leaves out is removed on a write. Fields that
    /// are not listed are kept.
    const FIELDS: &'static [&'static str];

    /// The record's id in its collection.
    fn id(&self) -> String;

    /// The record as stored, secrets sealed.
    ///
    /// # Errors
    /// [`Error::Seal`].
    fn to_fields(&self, sealer: &Sealer) -> Result<Fields, Error>;

    /// The record from what is stored.
    ///
    /// # Errors
    /// When it makes no sense, naming the field.
    fn from_fields(id: &str, fields: &Fields, sealer: &Sealer) -> Result<Self, BadRecord>;

    /// When it vanishes by itself; `None`: never.
    fn expires_at(&self) -> Option<Timestamp> {
        None
    }

    /// The record's key.
    fn key(&self) -> Key {
        Key::new(Self::COLLECTION, self.id())
    }
}

/// The fields of one stored record, and the words to say what is wrong with them.
struct Reader<'a> {
    collection: Collection,
    id: &'a str,
    fields: &'a Fields,
}

impl<'a> Reader<'a> {
    fn new<R: Record>(id: &'a str, fields: &'a Fields) -> Self {
        Self { collection: R::COLLECTION, id, fields }
    }

    /// The field's text; an empty one is as none.
    fn text(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn required(&self, name: &str) -> Result<&'a str, BadRecord> {
        self.text(name).ok_or_else(|| self.wrong(name, "it is missing"))
    }

    fn parse<T>(&self, name: &str) -> Result<T, BadRecord>
    where
        T: FromStr<Err: Into<Cause>>,
    {
        self.required(name)?.parse().map_err(|cause: T::Err| self.wrong(name, cause))
    }

    /// A word of an enumeration, as its serde form; its default when there is none.
    fn word<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, BadRecord> {
        self.text(name).map_or_else(|| Ok(T::default()), |_| self.required_word(name))
    }

    fn required_word<T: DeserializeOwned>(&self, name: &str) -> Result<T, BadRecord> {
        let word = StrDeserializer::<WordError>::new(self.required(name)?);
        T::deserialize(word).map_err(|cause| self.wrong(name, cause))
    }

    fn json<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, BadRecord> {
        let Some(text) = self.text(name) else { return Ok(T::default()) };
        serde_json::from_str(text).map_err(|cause| self.wrong(name, cause))
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.text(name).map_or(default, |text| text != "false")
    }

    fn millis(&self, name: &str) -> Result<Timestamp, BadRecord> {
        self.parse(name).map(Timestamp::from_millis)
    }

    fn wrong(&self, name: &str, cause: impl Into<Cause>) -> BadRecord {
        BadRecord::field(self.collection, self.id, name, cause)
    }

    /// That a field says the same as the id it is stored under.
    fn same_as_id(&self, name: &str, value: &str) -> Result<(), BadRecord> {
        if value == self.id { Ok(()) } else { Err(self.wrong(name, "it differs from the id")) }
    }
}

/// Fields under construction.
#[derive(Default)]
struct Writer(Fields);

impl Writer {
    fn set(mut self, name: &str, value: impl Display) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    fn set_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    fn set_millis(self, name: &str, at: Timestamp) -> Self {
        self.set(name, at.as_millis())
    }

    /// A value as JSON; an enumeration's word without the quotes.
    fn set_json(self, name: &str, value: &impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(serde_json::Value::String(word)) => self.set(name, word),
            Ok(json) => self.set(name, json),
            // Only a map with keys that are no text, or a Serialize that refuses: no record has either.
            Err(_) => self,
        }
    }

    fn done(self) -> Fields {
        self.0
    }
}
