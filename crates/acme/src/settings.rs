use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use model::Secret;

/// How certificates are got.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcmeSettings {
    /// The authorities, asked in this order: the next one when one can't or won't serve.
    pub authorities: Vec<Authority>,
    /// How names are proved, the kind that is tried first in front. A wildcard is proved by DNS-01 only (RFC 8555 §7.1.3).
    pub challenges: Vec<ChallengeKind>,
    /// Recursive resolvers for what DNS-01 must look up; empty: those of the machine.
    pub resolvers: Vec<SocketAddr>,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl AcmeSettings {
    /// These authorities, every kind of challenge, and patience as it suits public ones.
    pub fn new(authorities: Vec<Authority>) -> Self {
        Self {
            authorities,
            challenges: ChallengeKind::ALL.to_vec(),
            resolvers: Vec::new(),
            timeouts: Timeouts::default(),
        }
    }
}

/// One authority.
///
/// An account is made there without asking anybody: **whoever names an authority here agrees to its terms of service** (RFC
/// 8555 §7.3.3).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Authority {
    /// The URL of its directory; `https` only.
    pub directory: String,
    /// What vouches for the certificate of its API.
    pub roots: Roots,
    /// The address it may write to about its certificates.
    pub email: Option<String>,
    /// The profile that orders ask for (draft-ietf-acme-profiles), such as `shortlived`; its default when `None`.
    pub profile: Option<String>,
    /// The account at its operator that ours is to belong to (RFC 8555 §7.3.4).
    pub eab: Option<Eab>,
}

impl Authority {
    /// A public authority: the system's roots, no address, no profile.
    pub fn new(directory: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            roots: Roots::System,
            email: None,
            profile: None,
            eab: None,
        }
    }
}

/// Which roots a TLS client trusts.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// The system's.
    #[default]
    System,
    /// All in this PEM file, and no others.
    File(PathBuf),
    /// All in this PEM text, and no others.
    Pem(String),
}

/// An external account binding.
#[derive(Clone, Debug)]
pub struct Eab {
    /// The key's id.
    pub kid: String,
    /// The key for HMAC-SHA256, base64url as authorities hand it out.
    pub hmac: Secret<String>,
}

/// A way to prove that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A file under `/.well-known/acme-challenge/` on port 80 (RFC 8555 §8.3).
    Http01,
    /// A certificate in a handshake on port 443 (RFC 8737).
    TlsAlpn01,
    /// A TXT value in the DNS (RFC 8555 §8.4).
    Dns01,
}

impl ChallengeKind {
    /// All, in the order in which they are tried by default: what needs nothing but ourselves first.
    pub const ALL: [Self; 3] = [Self::Http01, Self::TlsAlpn01, Self::Dns01];

    /// Its name in ACME.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        }
    }

    pub(crate) fn acme(self) -> instant_acme::ChallengeType {
        match self {
            Self::Http01 => instant_acme::ChallengeType::Http01,
            Self::TlsAlpn01 => instant_acme::ChallengeType::TlsAlpn01,
            Self::Dns01 => instant_acme::ChallengeType::Dns01,
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ChallengeKind {
    type Err = UnknownChallenge;

    fn from_str(text: &str) -> Result<Self, UnknownChallenge> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownChallenge)
    }
}

/// A text is no [`ChallengeKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such challenge: one of http-01, tls-alpn-01, dns-01")]
pub struct UnknownChallenge;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// One request to an authority, connecting included.
    pub request: Duration,
    /// From the last TXT value put up until every authoritative name server shows all.
    pub propagation: Duration,
    /// From telling the authority that the proofs stand until it has checked them.
    pub validation: Duration,
    /// From handing in the certificate request until the certificate is there.
    pub issuance: Duration,
    /// After which proxies forget a challenge even when nobody takes it back.
    pub challenge: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(30),
            propagation: Duration::from_secs(5 * 60),
            validation: Duration::from_secs(2 * 60),
            issuance: Duration::from_secs(2 * 60),
            challenge: Duration::from_secs(60 * 60),
        }
    }
}
