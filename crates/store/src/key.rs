use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use model::ETag;

/// The content of a record: field names and their values, all text.
pub type Fields = BTreeMap<String, String>;

/// A kind of record. Its name is part of the stored layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Collection {
    /// Accounts at ACME authorities, by the URL of the directory. Control plane only.
    AcmeAccount,
    /// Logins, by the SHA-256 of the token.
    AuthToken,
    /// Certificates with their sealed keys, by name.
    Cert,
    /// When orders were made, by authority and scope of the limit. Control plane only.
    CertLedger,
    /// Names that proxies want a certificate for, by name. Expire.
    CertWanted,
    /// Pending challenge answers, by domain and token. Expire.
    Challenge,
    /// Accounts at DNS providers, by id. Control plane only.
    DnsProvider,
    /// Zones of DNS providers, by name and provider. Control plane only.
    Domain,
    /// Hosts, by pattern.
    Host,
    /// How certificates are come by: orders, attempts, when to try again; by name. Control plane only.
    Issuance,
    /// The local certificate authority, one record.
    LocalCa,
    /// What each live proxy runs, by instance. Leases: not part of the revision.
    Proxy,
    /// An operator's word that a store is to be believed, by epoch.
    StoreAccept,
    /// Accounts, by name.
    User,
}

impl Collection {
    /// Every collection.
    pub const ALL: [Self; 14] = [
        Self::AcmeAccount,
        Self::AuthToken,
        Self::Cert,
        Self::CertLedger,
        Self::CertWanted,
        Self::Challenge,
        Self::DnsProvider,
        Self::Domain,
        Self::Host,
        Self::Issuance,
        Self::LocalCa,
        Self::Proxy,
        Self::StoreAccept,
        Self::User,
    ];

    /// Its name in the stored layout.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcmeAccount => "AcmeAccount",
            Self::AuthToken => "AuthToken",
            Self::Cert => "Cert",
            Self::CertLedger => "CertLedger",
            Self::CertWanted => "CertWanted",
            Self::Challenge => "Challenge",
            Self::DnsProvider => "DnsProvider",
            Self::Domain => "Domain",
            Self::Host => "Host",
            Self::Issuance => "Issuance",
            Self::LocalCa => "LocalCa",
            Self::Proxy => "Proxy",
            Self::StoreAccept => "StoreAccept",
            Self::User => "User",
        }
    }

    /// The collection of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|collection| collection.name() == name)
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The address of a record. Shown as `<collection>_<id>`, which is also its stored name after the prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Which kind of record.
    pub collection: Collection,
    /// Which one; any text.
    pub id: String,
}

impl Key {
    /// The address of record `id` of a collection.
    pub fn new(collection: Collection, id: impl Into<String>) -> Self {
        Self { collection, id: id.into() }
    }

    /// Reads what [`Display`](fmt::Display) shows; `None` when no collection has that name.
    pub fn parse(text: &str) -> Option<Self> {
        // No collection name has an underscore; ids may.
        let (collection, id) = text.split_once('_')?;
        Some(Self::new(Collection::from_name(collection)?, id))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.collection, self.id)
    }
}

/// The entity tag of a record's content: SHA-256 over its fields in order of their names, each name and value
/// preceded by its length as a big-endian 64-bit number.
///
/// It is made from what is stored, so that an edit by anybody changes it.
pub fn etag(fields: &Fields) -> ETag {
    let mut hash = Context::new(&SHA256);
    for part in fields.iter().flat_map(|(name, value)| [name, value]) {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    ETag::from_hash(hash.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn an_etag_sees_content_and_its_borders_but_not_the_order_of_writing() {
        let one = etag(&fields(&[("a", "1"), ("b", "2")]));
        assert_eq!(one, etag(&fields(&[("b", "2"), ("a", "1")])));
        for other in [&[("a", "1b"), ("", "2")][..], &[("a", "1")], &[("a", "1"), ("b", "")], &[]] {
            assert_ne!(one, etag(&fields(other)));
        }
        assert_eq!(one.as_str().len(), 64);
    }

    #[test]
    fn a_key_survives_its_text() {
        for collection in Collection::ALL {
            assert!(!collection.name().contains('_'));
            for id in ["a", "*.a_b.test", "", "Host_x", "**"] {
                let key = Key::new(collection, id);
                assert_eq!(Key::parse(&key.to_string()), Some(key));
            }
        }
        assert_eq!(Key::parse("Nothing_x"), None);
    }
}
