use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use model::{CertRecord, Timestamp};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::inspect::inspect_der;
use crate::{Error, Inspected, provider};

/// A certificate that can serve: read once, checked, with its key ready to sign.
pub struct Entry {
    name: String,
    names: Vec<String>,
    not_after: Timestamp,
    key: Arc<CertifiedKey>,
}

impl Entry {
    /// Reads a record and checks that chain and key are a pair and that the leaf covers the record's name.
    ///
    /// # Errors
    /// [`Error::Chain`], [`Error::Leaf`], [`Error::Key`], [`Error::Pair`], [`Error::Coverage`].
    pub fn new(record: &CertRecord) -> Result<Self, Error> {
        let name = record.name.as_str().to_owned();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(record.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|source| Error::Chain { name: name.clone(), source })?;
        let leaf = chain.first().ok_or_else(|| Error::Chain {
            name: name.clone(),
            source: rustls::pki_types::pem::Error::NoItemsFound,
        })?;
        let Inspected { names, not_after, .. } = inspect_der(&name, leaf)?;
        let key = PrivateKeyDer::from_pem_slice(record.key_pem.expose().as_bytes())
            .map_err(|source| Error::Key { name: name.clone(), source })?;
        let key = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|source| Error::Pair { name: name.clone(), source })?;
        let entry = Self { name, names, not_after, key: Arc::new(key) };
        // A wildcard record is wanted for the names under it; its own text is a name only to us.
        if entry.names.contains(&entry.name) || entry.covers(&entry.name) {
            Ok(entry)
        } else {
            let covers =
                if entry.names.is_empty() { "none".into() } else { entry.names.join(", ") };
            Err(Error::Coverage { name: entry.name, covers })
        }
    }

    /// The name of the record it came from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it covers: its subject alternative names, as [`Inspected::names`].
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The chain and the signing key.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether it is good for a normalised name: it is listed, or `*` stands for its first label (RFC 9525 §6.3).
    pub fn covers(&self, name: &str) -> bool {
        let under = name.split_once('.').map(|(_, parent)| parent);
        let under = under.filter(|_| crate::inspect::address(name).is_none());
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            None => own == name,
            Some(base) => under == Some(base),
        })
    }

    /// Among several that cover a name: the one kept under just that name, then the one that lasts longest.
    pub(crate) fn preference(&self, covered: &str) -> impl Ord + use<> {
        (self.name != covered, Reverse(self.not_after), self.name.clone())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).field("names", &self.names).finish()
    }
}
