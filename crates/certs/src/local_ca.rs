use std::fmt;
use std::time::{Duration, SystemTime};

use model::{CertRecord, CertSource, HostPattern, Secret, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use crate::inspect::{address, inspect};
use crate::{Error, provider};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a root is good.
const ROOT_LIFE: Duration = DAY.saturating_mul(3653);
/// How long a leaf is good; some clients refuse much more.
const LEAF_LIFE: Duration = DAY.saturating_mul(90);
/// How far validity starts in the past, for clients whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(60 * 60);
/// The longest common name (RFC 5280 appendix A.1).
const MAX_COMMON_NAME: usize = 64;

/// A certificate authority of our own, for names that no public one can vouch for.
///
/// ECDSA on P-256. Clients trust it when they trust [`LocalCa::root_pem`]. It holds its key: control plane only.
pub struct LocalCa {
    root_pem: String,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

impl LocalCa {
    /// A new authority with a name of its own, good for ten years.
    ///
    /// # Errors
    /// [`Error::Make`].
    pub fn generate(now: Timestamp) -> Result<Self, Error> {
        let failed = |source| Error::Make { name: ROOT.to_owned(), source };
        let key = KeyPair::generate().map_err(failed)?;
        // Part of the key tells several installations apart in a client's list.
        let id: String =
            key.public_key_raw().iter().skip(1).take(3).map(|b| format!("{b:02x}")).collect();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Gatewright local authority {id}"));
        set_validity(&mut params, now, now.plus(ROOT_LIFE));
        let root_pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { root_pem, not_after: now.plus(ROOT_LIFE), issuer: Issuer::new(params, key) })
    }

    /// The authority of a stored root certificate and key.
    ///
    /// # Errors
    /// [`Error::Chain`] and [`Error::Leaf`] when the root can't be read, [`Error::Make`] when the key can't, or is
    /// not its.
    pub fn from_pem(root_pem: &str, key_pem: &Secret<String>) -> Result<Self, Error> {
        let failed = |source| Error::Make { name: ROOT.to_owned(), source };
        let not_after = inspect(ROOT, root_pem)?.not_after;
        let key = KeyPair::from_pem(key_pem.expose()).map_err(failed)?;
        check_pair(root_pem, &key)?;
        let issuer = Issuer::from_ca_cert_pem(root_pem, key).map_err(failed)?;
        Ok(Self { root_pem: root_pem.to_owned(), not_after, issuer })
    }

    /// The root certificate, PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root's private key, PEM.
    pub fn key_pem(&self) -> Secret<String> {
        Secret::new(self.issuer.key().serialize_pem())
    }

    /// A certificate with a new key for a name, an address or `*.name`, which covers `name` too; good for 90 days.
    ///
    /// # Errors
    /// [`Error::NotCoverable`] for any other pattern; [`Error::Make`].
    pub fn issue(&self, name: &HostPattern, now: Timestamp) -> Result<CertRecord, Error> {
        let failed = |source| Error::Make { name: name.to_string(), source };
        let mut params = CertificateParams::default();
        params.subject_alt_names = alternatives(name)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        if name.as_str().len() <= MAX_COMMON_NAME {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = now.plus(LEAF_LIFE).min(self.not_after);
        set_validity(&mut params, now, not_after);
        let key = KeyPair::generate().map_err(failed)?;
        let chain_pem = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        // The times as the certificate has them, in whole seconds.
        let inspected = inspect(name.as_str(), &chain_pem)?;
        Ok(CertRecord {
            name: name.clone(),
            chain_pem,
            key_pem: Secret::new(key.serialize_pem()),
            source: CertSource::Local,
            not_before: inspected.not_before,
            not_after: inspected.not_after,
        })
    }
}

/// What errors call the root.
const ROOT: &str = "local authority";

impl fmt::Debug for LocalCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCa").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// A certificate that vouches for nothing, to shake hands with when there is no other.
pub(crate) fn self_signed(now: Timestamp) -> Result<CertifiedKey, Error> {
    let name = "fallback";
    let failed = |source| Error::Make { name: name.to_owned(), source };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Gatewright fallback");
    set_validity(&mut params, now, now.plus(ROOT_LIFE));
    let key = KeyPair::generate().map_err(failed)?;
    let leaf = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    CertifiedKey::from_der(vec![leaf.der().clone()], key, &provider())
        .map_err(|source| Error::Pair { name: name.to_owned(), source })
}

pub(crate) fn set_validity(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    params.not_before = (SystemTime::from(now) - BACKDATE).into();
    params.not_after = SystemTime::from(not_after).into();
}

/// What the certificate of a pattern lists; an error when no certificate can cover it.
fn alternatives(name: &HostPattern) -> Result<Vec<SanType>, Error> {
    if let Some(ip) = address(name.as_str()) {
        return Ok(vec![SanType::IpAddress(ip)]);
    }
    let base = name.as_str().strip_prefix("*.");
    if base.unwrap_or(name.as_str()).contains('*') {
        return Err(Error::NotCoverable { name: name.to_string() });
    }
    let dns = |text: &str| {
        let text =
            text.try_into().map_err(|source| Error::Make { name: name.to_string(), source })?;
        Ok(SanType::DnsName(text))
    };
    std::iter::once(name.as_str()).chain(base).map(dns).collect()
}

fn check_pair(root_pem: &str, key: &KeyPair) -> Result<(), Error> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let root = CertificateDer::from_pem_slice(root_pem.as_bytes())
        .map_err(|source| Error::Chain { name: ROOT.to_owned(), source })?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    CertifiedKey::from_der(vec![root], key, &provider())
        .map(drop)
        .map_err(|source| Error::Pair { name: ROOT.to_owned(), source })
}
