//! Certificates by ACME (RFC 8555): accounts, orders, and proofs by HTTP-01, TLS-ALPN-01 (RFC 8737) and DNS-01.
#![forbid(unsafe_code)]

mod ari;
mod attempt;
mod clear;
mod client;
mod connection;
mod error;
mod failure;
mod holdoff;
mod issuer;
mod key;
mod memory;
mod place;
mod prove;
mod session;
mod settings;
mod tls;

pub use error::Error;
pub use issuer::AcmeIssuer;
pub use memory::{MemoryJournal, Publication};
pub use settings::{
    AcmeSettings, Authority, ChallengeKind, Eab, Roots, Timeouts, UnknownChallenge,
};
