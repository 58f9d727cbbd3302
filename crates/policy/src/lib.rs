//! What a gateway does with a request, and why: decisions without I/O, the same for the data plane and for who explains.
//!
//! [`decide`] walks a request through the gates of its host, a plain [`HostPolicy`], to an [`Outcome`]. What depends on
//! other requests is asked of [`Live`]: [`State`] has the buckets ([`limit`]) and the checked passwords ([`Verified`]) of a
//! process, and can look without counting. Each gate tells a [`Trace`] how it came out, which costs nothing for `()`.
//!
//! The crate opens nothing, waits for nothing and reads no clock: time is given as the span since any fixed moment.
//!
//! ```
//! use std::time::Duration;
//!
//! use http::{HeaderMap, Method};
//! use policy::limit::Limiter;
//! use policy::{Access, Answer, Facts, HostPolicy, Networks, Outcome, Route, Routes, State, Step, Verified};
//!
//! let mut policy = HostPolicy::open_to("app:80");
//! policy.routes = Routes::new("app:80", [("/api", Route { target: "api:80", strip: true })])?;
//! policy.access.deny = Networks::parse(["192.0.2.0/24"])?;
//!
//! let (limiter, verified) = (Limiter::new(1024), Verified::default());
//! let mut state =
//!     State { limiter: &limiter, verified: &verified, now: Duration::ZERO, counts: false };
//! let headers = HeaderMap::new();
//! let facts = Facts {
//!     method: &Method::GET,
//!     name: "example.com",
//!     port: None,
//!     path: "/api/users",
//!     query: None,
//!     headers: &headers,
//!     client: "203.0.113.9".parse()?,
//!     by_https: true,
//!     https_port: 443,
//! };
//! let mut steps: Vec<Step> = Vec::new();
//! let decision = policy::decide(&policy, &facts, &mut state, &mut steps);
//! let Outcome::Go(target) = decision.outcome else { panic!("{steps:?}") };
//! assert_eq!((*target.target, &*target.path), ("api:80", "/users"));
//! assert_eq!(steps[1].why, "the longest prefix is /api; asked for there: /users");
//!
//! let facts = Facts { client: "192.0.2.1".parse()?, ..facts };
//! let decision = policy::decide(&policy, &facts, &mut state, &mut ());
//! assert!(matches!(decision.outcome, Outcome::Answer(Answer::Forbidden)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod access;
mod balance;
mod basic;
mod decide;
mod explain;
pub mod limit;
mod pages;
mod redirect;
mod route;
mod rules;
mod trace;

pub use access::{Access, Networks};
pub use basic::{Attempt, BasicAuth, Credentials, Verified};
pub use decide::{
    Answer, Canonical, Decision, Facts, HostPolicy, Live, Maintenance, Outcome, State, Target,
    decide, resume,
};
pub use explain::{Explained, Imagined, Place};
pub use pages::{About, Pages};
pub use redirect::{Redirect, with_slash};
pub use route::{Found, Route, Routes, is_ambiguous};
pub use rules::{Behind, Compiled, Fault, Headers, compile};
pub use trace::{Gate, Step, Trace};

/// A part of a host's record that can't be decided by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Mend the entry of the list.
    #[error("\"{entry}\" is no address, no CIDR block such as 10.0.0.0/8 and not private_ranges")]
    Network {
        /// As given.
        entry: String,
    },
    /// Mend the limit.
    #[error("a rate limit can't be so: {why}")]
    Rate {
        /// What is wrong.
        why: &'static str,
    },
    /// Mend the route.
    #[error("\"{prefix}\" can't be a route's prefix: {why}")]
    Route {
        /// As given.
        prefix: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Mend the redirect.
    #[error("can't redirect to \"{to}\": {why}")]
    Redirect {
        /// As given.
        to: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Mend the page.
    #[error("the error page for \"{status}\" {why}")]
    Page {
        /// As given.
        status: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Mend the user or the realm.
    #[error("basic authentication of \"{who}\": {why}")]
    Credentials {
        /// The user or realm, as given.
        who: String,
        /// What is wrong.
        why: &'static str,
    },
}
