use std::cmp::Reverse;
use std::fmt;
use std::sync::{Arc, OnceLock};

use model::{CertRecord, Timestamp};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::inspect::inspect_der;
use crate::{Error, Inspected, provider};

/// A certificate that can serve: read and checked. Its key is made ready to sign at the first handshake that wants it,
/// so that of a hundred thousand certificates those that nobody asks for cost their bytes and no more.
pub struct Entry {
    name: Box<str>,
    names: Box<[Box<str>]>,
    not_after: Timestamp,
    leaf: Box<[u8]>,
    intermediates: Arc<[CertificateDer<'static>]>,
    key: PrivateKeyDer<'static>,
    ready: OnceLock<Option<Arc<CertifiedKey>>>,
}

impl Entry {
    /// Reads a record and checks that chain and key are a pair and that the leaf covers the record's name.
    ///
    /// # Errors
    /// [`Error::Chain`], [`Error::Leaf`], [`Error::Key`], [`Error::Pair`], [`Error::Coverage`].
    pub fn new(record: &CertRecord) -> Result<Self, Error> {
        let name = record.name.as_str();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(record.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|source| Error::Chain { name: name.to_owned(), source })?;
        let (leaf, intermediates) = chain.split_first().ok_or_else(|| Error::Chain {
            name: name.to_owned(),
            source: rustls::pki_types::pem::Error::NoItemsFound,
        })?;
        let Inspected { names, not_after, .. } = inspect_der(name, leaf)?;
        let key = PrivateKeyDer::from_pem_slice(record.key_pem.expose().as_bytes())
            .map_err(|source| Error::Key { name: name.to_owned(), source })?;
        let ready = OnceLock::new();
        if !holds_public_key_of(&key, leaf) {
            // Whether they are a pair, only the cryptography can say.
            let made = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider());
            let made = made.map_err(|source| Error::Pair { name: name.to_owned(), source })?;
            let _ = ready.set(Some(Arc::new(made)));
        }
        let entry = Self {
            name: name.into(),
            names: names.into_iter().map(String::into_boxed_str).collect(),
            not_after,
            leaf: leaf.as_ref().into(),
            intermediates: intermediates.iter().cloned().map(CertificateDer::into_owned).collect(),
            key,
            ready,
        };
        // A wildcard record is wanted for the names under it; its own text is a name only to us.
        if entry.names.contains(&entry.name) || entry.covers(&entry.name) {
            return Ok(entry);
        }
        let covers = if entry.names.is_empty() { "none".into() } else { entry.names.join(", ") };
        Err(Error::Coverage { name: entry.name.into(), covers })
    }

    /// The name of the record it came from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it covers: its subject alternative names, as [`Inspected::names`].
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The chain and the signing key, made ready when first asked for; `None` when the key can't sign after all.
    pub fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.ready.get_or_init(|| self.make_ready()).clone()
    }

    /// Whether it is good for a normalised name: it is listed, or `*` stands for its first label (RFC 9525 §6.3).
    pub fn covers(&self, name: &str) -> bool {
        let under = name.split_once('.').map(|(_, parent)| parent);
        let under = under.filter(|_| crate::inspect::address(name).is_none());
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            None => &**own == name,
            Some(base) => under == Some(base),
        })
    }

    /// Among several that cover a name: the one kept under just that name, then the one that lasts longest.
    pub(crate) fn preference(&self, covered: &str) -> impl Ord + use<> {
        (&*self.name != covered, Reverse(self.not_after), self.name.clone())
    }

    /// Has it share its intermediates with another of the same authority.
    pub(crate) fn share(&mut self, intermediates: &Arc<[CertificateDer<'static>]>) {
        if *self.intermediates == **intermediates {
            self.intermediates = intermediates.clone();
        }
    }

    pub(crate) fn intermediates(&self) -> &Arc<[CertificateDer<'static>]> {
        &self.intermediates
    }

    fn make_ready(&self) -> Option<Arc<CertifiedKey>> {
        let leaf = CertificateDer::from(self.leaf.to_vec());
        let chain = std::iter::once(leaf).chain(self.intermediates.iter().cloned()).collect();
        match CertifiedKey::from_der(chain, self.key.clone_key(), &provider()) {
            Ok(made) => Some(Arc::new(made)),
            Err(error) => {
                tracing::warn!(name = &*self.name, %error, "a certificate can't serve");
                None
            }
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).field("names", &self.names).finish()
    }
}

/// Whether the public key of a leaf stands in a private key, as PKCS #8 and SEC 1 have it: the point of an elliptic
/// curve (RFC 5915 §3), the modulus of RSA (RFC 8017 A.1.2). Cheap, and enough: whoever wrote a private key with a
/// wrong public one beside it finds out at the first handshake.
fn holds_public_key_of(key: &PrivateKeyDer<'_>, leaf: &[u8]) -> bool {
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return false };
    let parsed = leaf.public_key().parsed();
    let public = match &parsed {
        Ok(PublicKey::EC(point)) => point.data(),
        Ok(PublicKey::RSA(rsa)) => rsa.modulus,
        _ => return false,
    };
    public.len() >= 32 && key.secret_der().windows(public.len()).any(|part| part == public)
}
