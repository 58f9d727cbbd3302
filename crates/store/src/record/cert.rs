use std::time::Duration;

use model::{CertRecord, CertWanted, Challenge, Timestamp};

use super::{Reader, Record, Writer};
use crate::{BadRecord, Collection, Error, Fields, Sealer};

/// How long a proxy's wish for a certificate stands.
const WANTED_FOR: Duration = Duration::from_secs(60);

impl Record for CertRecord {
    const COLLECTION: Collection = Collection::Cert;
    const FIELDS: &'static [&'static str] =
        &["name", "fullchain_pem", "privkey_pem", "source", "not_before", "not_after"];

    fn id(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn to_fields(&self, sealer: &Sealer) -> Result<Fields, Error> {
        let sealed = sealer.cert_key().seal(&self.key(), &self.key_pem)?;
        Ok(Writer::default()
            .set("name", self.name.as_str())
            .set("fullchain_pem", &self.chain_pem)
            .set("privkey_pem", sealed)
            .set_json("source", &self.source)
            .set_millis("not_before", self.not_before)
            .set_millis("not_after", self.not_after)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, sealer: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let name: model::HostPattern = reader.parse("name")?;
        reader.same_as_id("name", name.as_str())?;
        let sealed = reader.required("privkey_pem")?;
        let key = crate::Key::new(Self::COLLECTION, id);
        let opened = sealer.cert_key().open(&key, sealed);
        Ok(Self {
            chain_pem: reader.required("fullchain_pem")?.to_owned(),
            key_pem: opened.map_err(|cause| reader.wrong("privkey_pem", cause))?,
            source: reader.required_word("source")?,
            not_before: reader.millis("not_before")?,
            not_after: reader.millis("not_after")?,
            name,
        })
    }
}

/// Kept under `<domain>:<token>`, until it expires.
impl Record for Challenge {
    const COLLECTION: Collection = Collection::Challenge;
    const FIELDS: &'static [&'static str] = &["domain", "token", "key_authorisation", "expires_at"];

    fn id(&self) -> String {
        format!("{}:{}", self.domain.as_str(), self.token)
    }

    fn to_fields(&self, _: &Sealer) -> Result<Fields, Error> {
        Ok(Writer::default()
            .set("domain", self.domain.as_str())
            .set("token", &self.token)
            .set("key_authorisation", &self.key_authorisation)
            .set_millis("expires_at", self.expires_at)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, _: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let challenge = Self {
            domain: reader.parse("domain")?,
            token: reader.required("token")?.to_owned(),
            key_authorisation: reader.required("key_authorisation")?.to_owned(),
            expires_at: reader.millis("expires_at")?,
        };
        reader.same_as_id("token", &challenge.id())?;
        Ok(challenge)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

/// Expires a minute after it was asked for.
impl Record for CertWanted {
    const COLLECTION: Collection = Collection::CertWanted;
    const FIELDS: &'static [&'static str] = &["name", "wanted_at"];

    fn id(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn to_fields(&self, _: &Sealer) -> Result<Fields, Error> {
        Ok(Writer::default()
            .set("name", self.name.as_str())
            .set_millis("wanted_at", self.wanted_at)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, _: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let wanted = Self { name: reader.parse("name")?, wanted_at: reader.millis("wanted_at")? };
        reader.same_as_id("name", wanted.name.as_str())?;
        Ok(wanted)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.wanted_at.plus(WANTED_FOR))
    }
}
