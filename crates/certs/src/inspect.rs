use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::Error;

/// What a leaf certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What it covers: DNS names and `*.name` in lower case, IPv4 addresses, IPv6 addresses in brackets. The common
    /// name counts for nothing (RFC 9525 §2).
    pub names: Vec<String>,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
}

/// Reads the first certificate of a PEM chain. `name` is what an error calls it.
///
/// # Errors
/// [`Error::Chain`] and [`Error::Leaf`].
pub fn inspect(name: &str, chain_pem: &str) -> Result<Inspected, Error> {
    let leaf = CertificateDer::from_pem_slice(chain_pem.as_bytes())
        .map_err(|source| Error::Chain { name: name.to_owned(), source })?;
    inspect_der(name, &leaf)
}

/// What a leaf certificate says of itself, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What it covers, and when: see [`Inspected`].
    pub inspected: Inspected,
    /// Who issued it, as a distinguished name.
    pub issuer: String,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// The kind of its key, such as `ECDSA P-256` or `RSA 2048`.
    pub key: String,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub sha256: String,
}

/// Describes the first certificate of a PEM chain. `name` is what an error calls it.
///
/// # Errors
/// As [`inspect`].
pub fn describe(name: &str, chain_pem: &str) -> Result<Description, Error> {
    let inspected = inspect(name, chain_pem)?;
    let der = CertificateDer::from_pem_slice(chain_pem.as_bytes())
        .map_err(|source| Error::Chain { name: name.to_owned(), source })?;
    let unreadable = x509_parser::error::X509Error::InvalidCertificate;
    let (_, leaf) = X509Certificate::from_der(&der)
        .map_err(|_| Error::Leaf { name: name.to_owned(), source: unreadable })?;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    Ok(Description {
        inspected,
        issuer: leaf.issuer().to_string(),
        serial: hex(leaf.raw_serial()),
        key: key_kind(&leaf),
        sha256: hex(hash.as_ref()),
    })
}

fn key_kind(leaf: &X509Certificate<'_>) -> String {
    use x509_parser::public_key::PublicKey;
    match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA P-{}", point.key_size()),
        _ => "unknown".to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn inspect_der(name: &str, leaf: &[u8]) -> Result<Inspected, Error> {
    let wrong = |source| Error::Leaf { name: name.to_owned(), source };
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| {
        wrong(match error {
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error,
            x509_parser::nom::Err::Incomplete(_) => {
                x509_parser::error::X509Error::InvalidCertificate
            }
        })
    })?;
    let alternatives = leaf.subject_alternative_name().map_err(wrong)?;
    let names = alternatives.iter().flat_map(|san| &san.value.general_names);
    Ok(Inspected {
        names: names.filter_map(covered).collect(),
        not_before: timestamp(leaf.validity().not_before.timestamp()),
        not_after: timestamp(leaf.validity().not_after.timestamp()),
    })
}

/// A subject alternative name as names are compared here; kinds that no TLS server is asked for are left out.
fn covered(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let rest = name.strip_prefix("*.").unwrap_or(&name);
            (!rest.is_empty() && !rest.contains('*')).then_some(name)
        }
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|ip| Ipv4Addr::from(ip).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|ip| format!("[{}]", Ipv6Addr::from(ip))),
        },
        _ => None,
    }
}

/// The address that a normalised name is, if it is one.
pub(crate) fn address(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}
