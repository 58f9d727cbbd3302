use model::{Secret, SessionToken, Timestamp, User};

use super::{Reader, Record, Writer};
use crate::{BadRecord, Collection, Error, Fields, Sealer};

impl Record for User {
    const COLLECTION: Collection = Collection::User;
    const FIELDS: &'static [&'static str] =
        &["username", "password", "gw_role", "created_on", "updated_on"];

    fn id(&self) -> String {
        self.username.as_str().to_owned()
    }

    fn to_fields(&self, _: &Sealer) -> Result<Fields, Error> {
        Ok(Writer::default()
            .set("username", &self.username)
            .set("password", self.password_hash.expose())
            .set_json("gw_role", &self.role)
            .set_millis("created_on", self.created_at)
            .set_millis("updated_on", self.updated_at)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, _: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let username: model::Username = reader.parse("username")?;
        reader.same_as_id("username", username.as_str())?;
        Ok(Self {
            username,
            role: reader.required_word("gw_role")?,
            password_hash: Secret::new(reader.required("password")?.to_owned()),
            created_at: reader.millis("created_on")?,
            updated_at: reader.millis("updated_on")?,
        })
    }
}

/// Kept under the token's hash, until it expires.
impl Record for SessionToken {
    const COLLECTION: Collection = Collection::AuthToken;
    const FIELDS: &'static [&'static str] = &["created_by", "created_on", "expires_at"];

    fn id(&self) -> String {
        self.hash.clone()
    }

    fn to_fields(&self, _: &Sealer) -> Result<Fields, Error> {
        Ok(Writer::default()
            .set("created_by", &self.username)
            .set_millis("created_on", self.created_at)
            .set_millis("expires_at", self.expires_at)
            .done())
    }

    fn from_fields(id: &str, fields: &Fields, _: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        if id.len() != 64 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            // Also what keeps a token stored in clear by another program from being one here.
            return Err(BadRecord::new(Self::COLLECTION, "…", "its id is not a SHA-256"));
        }
        Ok(Self {
            hash: id.to_owned(),
            username: reader.parse("created_by")?,
            created_at: reader.millis("created_on")?,
            expires_at: reader.millis("expires_at")?,
        })
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}
