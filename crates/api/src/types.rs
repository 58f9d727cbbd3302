//! What requests and answers look like in JSON; the command line uses the same types.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod backup;
mod cert;
mod dns;
mod history;
mod host;
mod rules;
pub(crate) mod schema;
mod status;
mod user;

pub use backup::{ImportAnswer, ImportChange, ImportCounts};
pub use cert::{
    CertAttempt, CertDetail, CertExport, CertFailure, CertList, CertUpload, CertView, IssuanceView,
    RenewalWindow,
};
pub use dns::{
    DnsDomain, DnsDomainList, DnsField, DnsKind, DnsKindList, DnsProviderList, DnsProviderView,
    DnsProviderWrite,
};
pub use history::{FieldChange, HistoryDetail, HistoryEntry, HistoryList, RolledBack};
pub use host::{
    Deleted, ExplainAnswer, ExplainStep, HostChange, HostCreate, HostList, HostView, LookupAnswer,
    LookupCandidate,
};
pub use status::{
    CertificateDue, CertificateFailing, GuardStatus, ProxyGuard, ProxyStatus, Rejected, StatusView,
    StoreAccepted, StoreStatus, TaskStatus,
};
pub use user::{
    LoginAnswer, LoginRequest, PasswordChange, PasswordChanged, UserChange, UserCreate, UserList,
    UserView,
};

/// An error (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is, `code` says it more exactly.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// What happened, for people.
    pub detail: String,
    /// What happened, for programs.
    pub code: String,
    /// Every wrong value of the request; only with the code `invalid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The request's id, as in the header `X-Request-Id` and in the log.
    pub request_id: String,
}

/// A wrong value in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the body, `""` for the whole of it; `?name` for a query parameter,
    /// `{name}` for a part of the path.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl From<control::FieldError> for FieldError {
    fn from(control::FieldError { pointer, detail }: control::FieldError) -> Self {
        Self { pointer, detail }
    }
}

/// Whether a change runs everywhere; part of an answer to a write with `wait=applied`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// Whether every worker of every live proxy runs the change.
    #[schema(required = false)]
    pub applied: bool,
    /// How many proxies are alive.
    #[schema(required = false)]
    pub proxies: usize,
    /// The proxies that do not run it yet, by instance.
    #[schema(required = false)]
    pub laggards: Vec<String>,
}

impl From<control::Applied> for Applied {
    fn from(control::Applied { applied, proxies, laggards }: control::Applied) -> Self {
        Self { applied, proxies, laggards }
    }
}

/// The answer to a write: the record, and with `wait=applied` also whether the change runs everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Written<T> {
    /// The record.
    #[serde(flatten)]
    pub record: T,
    /// Whether the change runs everywhere.
    #[serde(flatten)]
    pub applied: Option<Applied>,
}
