//! DNS providers: which zones an account has, and TXT values in them, for proofs by DNS-01 (RFC 8555 §8.4).
//!
//! A proof for `example.com` is a TXT value at `_acme-challenge.example.com`, or at the name to which a CNAME there leads, and the
//! authority looks for it at the zone's own name servers. So there are four steps, each usable alone:
//!
//! | step | by |
//! |---|---|
//! | where does the value belong? | [`challenge_target`] |
//! | whose zone is that? | [`DnsProvider::zones`], [`longest_suffix`]; behind a [`Directory`] |
//! | put it there, and take it away afterwards | [`DnsProvider::append_txt`], [`DnsProvider::remove_txt`] |
//! | has it arrived? | [`Propagation`] |
//!
//! What there is to fill in for an account is data, so that a form, a command and a document can be made of it:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use dns::{Options, build, kinds, longest_suffix};
//! use model::Secret;
//!
//! let ids: Vec<_> = kinds().iter().map(|kind| kind.id).collect();
//! assert_eq!(ids, ["cloudflare", "digitalocean", "porkbun", "duckdns", "rfc2136"]);
//!
//! let mut settings = BTreeMap::from([("domains".to_owned(), Secret::new("me, my.other".to_owned()))]);
//! let error = build("duckdns", &settings, Options::default()).err().unwrap();
//! assert_eq!(error.to_string(), "token: is missing; domains: my.other.duckdns.org is below a domain of Duck DNS, not one");
//!
//! settings.insert("domains".to_owned(), Secret::new("me, mine".to_owned()));
//! settings.insert("token".to_owned(), Secret::new("f5b0…".replace('…', "0")));
//! let provider = build("duckdns", &settings, Options::default())?;
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let zones = provider.zones().await?;
//! let names: Vec<_> = zones.iter().map(|zone| zone.name.as_str()).collect();
//! assert_eq!(longest_suffix("_acme-challenge.mine.duckdns.org", names), Some("mine.duckdns.org"));
//! # Ok::<(), dns::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate keeps nothing, spawns nothing and knows nothing of ACME. A provider is one file here and one row in the contract suite
//! (`tests/contract.rs`).
#![forbid(unsafe_code)]

mod challenge;
mod client;
mod cloudflare;
mod created;
mod digitalocean;
mod duckdns;
mod endpoint;
mod error;
mod exchange;
mod form;
mod kinds;
mod porkbun;
mod propagation;
mod provider;
mod resolver;
mod rfc2136;
mod suffix;

pub use challenge::{challenge_name, challenge_target};
pub use error::{Error, FieldError};
pub use kinds::{Field, Kind, Options, build, kinds};
pub use propagation::{NameServer, Propagation, Report};
pub use provider::{BoxFuture, Directory, DnsProvider, Found, Zone};
pub use resolver::Resolver;
pub use suffix::longest_suffix;
