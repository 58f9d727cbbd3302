//! DNS providers: which zones an account has, and TXT values in them, for proofs by DNS-01 (RFC 8555 §8.4).
#![forbid(unsafe_code)]

mod challenge;
mod client;
mod cloudflare;
mod created;
mod endpoint;
mod error;
mod exchange;
mod form;
mod kinds;
mod propagation;
mod provider;
mod resolver;
mod suffix;

pub use challenge::{challenge_name, challenge_target};
pub use error::{Error, FieldError};
pub use kinds::{Field, Kind, Options, build, kinds};
pub use propagation::{NameServer, Propagation, Report};
pub use provider::{BoxFuture, Directory, DnsProvider, Found, Zone};
pub use resolver::Resolver;
pub use suffix::longest_suffix;
