use model::{Secret, Timestamp};

use super::{Reader, Record, Writer};
use crate::{BadRecord, Collection, Error, Fields, Key, Sealer};

/// The local certificate authority, of which there is one. Its key is for the control plane only.
#[derive(Clone, Debug)]
pub struct LocalCaRecord {
    /// The root certificate, PEM.
    pub cert_pem: String,
    /// Its private key, PEM, opened; sealed with `SECRET_KEY` at rest.
    pub key_pem: Secret<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl LocalCaRecord {
    /// The id of the one record.
    pub const ID: &'static str = "root";
}

impl Record for LocalCaRecord {
    const COLLECTION: Collection = Collection::LocalCa;
    const FIELDS: &'static [&'static str] = &["cert_pem", "key_pem", "created_on"];

    fn id(&self) -> String {
        Self::ID.to_owned()
    }

    fn to_fields(&self, sealer: &Sealer) -> Result<Fields, Error> {
        Ok(Writer::default()
            .set("cert_pem", &self.cert_pem)
            .set("key_pem", sealer.secret_key().seal(&self.key(), &self.key_pem)?)
            .set_millis("created_on", self.created_at)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, sealer: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let sealed = reader.required("key_pem")?;
        let opened = sealer.secret_key().open(&Key::new(Self::COLLECTION, id), sealed);
        Ok(Self {
            cert_pem: reader.required("cert_pem")?.to_owned(),
            key_pem: opened.map_err(|cause| reader.wrong("key_pem", cause))?,
            created_at: reader.millis("created_on")?,
        })
    }
}
