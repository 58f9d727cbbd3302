//! The vocabulary of Gatewright: what a host, a name, a certificate, a user and a revision are.
//!
//! Every type here is *parsed, not validated*: a value that exists is valid. The crate does no I/O, knows no
//! storage format and no HTTP; it depends on nothing else of ours and everything else depends on it.
//!
//! ```
//! use model::{Host, HostPattern, Hostname, Upstream};
//!
//! let pattern: HostPattern = "*.Example.com.".parse()?;
//! assert_eq!(pattern.as_str(), "*.example.com");
//! assert!(pattern.is_wildcard());
//!
//! // What a client sends: any case, a port, a trailing dot, Unicode.
//! let name = Hostname::from_authority("BÜCHER.example.:8443")?;
//! assert_eq!(name.as_str(), "xn--bcher-kva.example");
//!
//! let mut host = Host::new(pattern);
//! host.upstreams.push("127.0.0.1:9000".parse::<Upstream>()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod balance;
mod cert;
mod host;
mod name;
mod reach;
mod revision;
mod rules;
mod secret;
mod timestamp;
mod user;

pub use balance::{
    BalancePolicy, BalanceRules, BreakerRules, HealthRules, Span, SpanError, StatusRange,
    StatusRangeError,
};
pub use cert::{CertRecord, CertSource, CertStatus, CertWanted, Challenge};
pub use host::{
    CertificateMode, Host, Upstream, UpstreamError, UpstreamHost, UpstreamHttp, UpstreamTls,
};
pub use name::{HostPattern, Hostname, Label, NameError, is_local_name, normalise_host};
pub use reach::{Allowed, OutOfReach, Reach};
pub use revision::{ETag, Epoch, Revision, RevisionError};
pub use rules::{
    BasicAuthRules, DirectoryRules, ErrorPageRules, HeaderRules, HostRules, HstsRules, LimitRules,
    MaintenanceRules, PathRoute, ProxyProtocol, RateRules, RedirectRules,
};
pub use secret::Secret;
pub use timestamp::Timestamp;
pub use user::{Role, SessionToken, User, Username, UsernameError};
