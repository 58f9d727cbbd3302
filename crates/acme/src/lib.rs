//! Certificates by ACME (RFC 8555): accounts, orders, and proofs by HTTP-01, TLS-ALPN-01 (RFC 8737) and DNS-01.
//!
//! [`AcmeIssuer`] is an [`Issuer`](certs::Issuer): it is told *which* certificate is wanted and decides nothing about *when*. It
//! works against a [`Journal`](certs::Journal), in which everything is before it is anywhere else, so that whoever comes after a
//! crash goes on with the order or clears it away. [`MemoryJournal`] is one for programs that need no more.
//!
//! | it does | by |
//! |---|---|
//! | a list of authorities in order | the next one where an authority can't or won't serve, not where the name could not be proved |
//! | a list of kinds of proof in order | the next one, in an order of its own, where the authority did not see a proof |
//! | `*.x` together with `x` | DNS-01, where a provider has the zone; CNAMEs of `_acme-challenge.x` are followed |
//! | external accounts, profiles, renewal information | RFC 8555 §7.3.4, draft-ietf-acme-profiles, RFC 9773 |
//! | `Retry-After` | told in the failure, and heeded here until then |
//!
//! **Whoever names an authority in the settings agrees to its terms of service**: an account is made without a question.
//!
//! It writes no file and logs no secret. What is asked of it is bounded in time: every request, the wait for the DNS, for the
//! validation and for the certificate have a limit of their own ([`Timeouts`]). `examples/issue.rs` is a whole program.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use acme::{AcmeIssuer, AcmeSettings, Authority, MemoryJournal, Publication};
//! use certs::{Issuer, KeyKind, Request};
//!
//! # async fn example(providers: Arc<dyn dns::Directory>) -> Result<(), Box<dyn std::error::Error>> {
//! let staging = "https://acme-staging-v02.api.letsencrypt.org/directory";
//! let settings = AcmeSettings::new(vec![Authority::new(staging)]);
//! let issuer = AcmeIssuer::new(settings, providers, runtime::Clock::system())?;
//! let journal = MemoryJournal::new(|publication| match publication {
//!     Publication::Answer(challenge) => { /* serve it on port 80 from now on */ }
//!     Publication::Forget { domain, token } => { /* and no longer */ }
//! });
//! let name = "www.example.com".parse()?;
//! let request = Request { name, key_kind: KeyKind::EcdsaP256, replaces: None };
//! let record = Issuer::issue(&issuer, &request, &journal).await?;
//! # Ok(())
//! # }
//! ```
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
