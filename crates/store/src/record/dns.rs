use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::{Secret, Timestamp, Username};

use super::{Reader, Record, Writer};
use crate::{BadRecord, Collection, Error, Fields, Key, Sealer};

/// An account at a DNS provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsProviderRecord {
    /// Its id, chosen by whoever made it.
    pub id: String,
    /// Which kind of provider, such as `cloudflare`.
    pub kind: String,
    /// Settings that are no secrets, by name.
    pub settings: BTreeMap<String, String>,
    /// Settings that are, by name, opened; sealed with `SECRET_KEY` at rest.
    pub credentials: BTreeMap<String, Secret<String>>,
    /// Which name servers to ask whether a value has arrived; empty: those that the zone names.
    pub nameservers: Vec<SocketAddr>,
    /// Who made it.
    pub created_by: Option<Username>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Record for DnsProviderRecord {
    const COLLECTION: Collection = Collection::DnsProvider;
    const FIELDS: &'static [&'static str] = &[
        "id",
        "kind",
        "settings",
        "credentials",
        "nameservers",
        "created_by",
        "created_on",
        "updated_on",
    ];

    fn id(&self) -> String {
        self.id.clone()
    }

    fn to_fields(&self, sealer: &Sealer) -> Result<Fields, Error> {
        let exposed: BTreeMap<_, _> =
            self.credentials.iter().map(|(name, value)| (name, value.expose())).collect();
        // A map of texts can always be said in JSON.
        let json = Secret::new(serde_json::to_string(&exposed).unwrap_or_default());
        Ok(Writer::default()
            .set("id", &self.id)
            .set("kind", &self.kind)
            .set_json("settings", &self.settings)
            .set("credentials", sealer.secret_key().seal(&self.key(), &json)?)
            .set_json("nameservers", &self.nameservers)
            .set_some("created_by", self.created_by.as_ref())
            .set_millis("created_on", self.created_at)
            .set_millis("updated_on", self.updated_at)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, sealer: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        reader.same_as_id("id", reader.required("id")?)?;
        let key = Key::new(Self::COLLECTION, id);
        let opened = sealer.secret_key().open(&key, reader.required("credentials")?);
        let opened = opened.map_err(|cause| reader.wrong("credentials", cause))?;
        let credentials: BTreeMap<String, String> = serde_json::from_str(opened.expose())
            // The cause would quote what it could not read.
            .map_err(|_| reader.wrong("credentials", "they are no list of names and values"))?;
        Ok(Self {
            id: id.to_owned(),
            kind: reader.required("kind")?.to_owned(),
            settings: reader.json("settings")?,
            credentials: credentials.into_iter().map(|(k, v)| (k, Secret::new(v))).collect(),
            nameservers: reader.json("nameservers")?,
            created_by: reader.text("created_by").and_then(|name| name.parse().ok()),
            created_at: reader.millis("created_on")?,
            updated_at: reader.millis("updated_on")?,
        })
    }
}

/// A zone that a DNS provider has, as it last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name, such as `example.com`.
    pub name: String,
    /// The id of the provider.
    pub provider: String,
    /// What the provider calls the zone.
    pub zone_id: String,
    /// When it was first seen.
    pub seen_at: Timestamp,
}

impl Domain {
    /// The id of the record of a zone of a provider.
    pub fn id_of(provider: &str, name: &str) -> String {
        format!("{name}@{provider}")
    }
}

impl Record for Domain {
    const COLLECTION: Collection = Collection::Domain;
    const FIELDS: &'static [&'static str] = &["name", "provider", "zone_id", "seen_at"];

    fn id(&self) -> String {
        Self::id_of(&self.provider, &self.name)
    }

    fn to_fields(&self, _: &Sealer) -> Result<Fields, Error> {
        Ok(Writer::default()
            .set("name", &self.name)
            .set("provider", &self.provider)
            .set("zone_id", &self.zone_id)
            .set_millis("seen_at", self.seen_at)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, _: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let domain = Self {
            name: reader.required("name")?.to_owned(),
            provider: reader.required("provider")?.to_owned(),
            zone_id: reader.required("zone_id")?.to_owned(),
            seen_at: reader.millis("seen_at")?,
        };
        reader.same_as_id("name", &domain.id())?;
        Ok(domain)
    }
}
