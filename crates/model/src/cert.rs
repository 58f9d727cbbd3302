use serde::{Deserialize, Serialize};

use crate::{HostPattern, Hostname, Secret, Timestamp};

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CertSource {
    /// An ACME certificate authority.
    Acme,
    /// Uploaded by an operator.
    Custom,
    /// The local certificate authority.
    Local,
}

/// A certificate with its key, as shared by the planes. Its key in the store is `name`.
#[derive(Clone, Debug)]
pub struct CertRecord {
    /// The name or wildcard (`*.x`) it was made for; it covers what its own subject alternative names say.
    pub name: HostPattern,
    /// Leaf first, then intermediates, PEM.
    pub chain_pem: String,
    /// The private key in PEM, opened. Sealed by the store at rest.
    pub key_pem: Secret<String>,
    /// Where it came from.
    pub source: CertSource,
    /// Start of validity of the leaf.
    pub not_before: Timestamp,
    /// End of validity of the leaf.
    pub not_after: Timestamp,
}

/// How a host stands with its certificate, for people to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CertStatus {
    /// None is wanted.
    None,
    /// Wanted and not there yet; for a pattern: issued when a name under it is first asked for.
    Pending,
    /// There and valid.
    Valid,
    /// There and past its end.
    Expired,
    /// The last attempt failed.
    Failed,
}

impl CertStatus {
    /// How it stands where one is wanted: by the end of the one that is there, and whether the last attempt to get one failed.
    pub fn of(not_after: Option<Timestamp>, failed: bool, now: Timestamp) -> Self {
        match not_after {
            Some(end) if end > now => Self::Valid,
            _ if failed => Self::Failed,
            None => Self::Pending,
            Some(_) => Self::Expired,
        }
    }
}

/// An answer to an HTTP-01 or TLS-ALPN-01 challenge, for any proxy to give.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// The name being proved.
    pub domain: Hostname,
    /// The token in `/.well-known/acme-challenge/<token>`.
    pub token: String,
    /// The key authorisation to answer with (RFC 8555 §8.1).
    pub key_authorisation: String,
    /// From when on it is void.
    pub expires_at: Timestamp,
}

/// A proxy's wish for a certificate of one name, met at a handshake. Expires by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertWanted {
    /// The name asked for.
    pub name: Hostname,
    /// When it was asked for.
    pub wanted_at: Timestamp,
}
