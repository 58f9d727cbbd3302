//! DNS providers: which zones an account has, and TXT values in them, for proofs by DNS-01 (RFC 8555 §8.4).
#![forbid(unsafe_code)]

mod error;
mod provider;

pub use error::Error;
pub use provider::{BoxFuture, Directory, DnsProvider, Found, Zone};
