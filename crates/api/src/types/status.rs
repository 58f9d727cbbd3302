use std::time::SystemTime;

use model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the whole stands, as far as the control plane can see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The version of the control plane.
    pub version: String,
    /// The shared store.
    pub store: StoreStatus,
    /// Which proxies don't believe the store; null when all do.
    #[schema(required = true)]
    pub guard: Option<GuardStatus>,
    /// The live proxies, by instance.
    pub proxies: Vec<ProxyStatus>,
    /// The background tasks of this control plane.
    pub tasks: Vec<TaskStatus>,
    /// How many certificates there are.
    pub certificates: usize,
    /// How many of them are past two thirds of their life.
    pub certificates_due: usize,
    /// The first 100 of those, soonest end first.
    pub due: Vec<CertificateDue>,
    /// For how many names the last attempt to get a certificate failed.
    pub certificates_failing: usize,
    /// The first 100 of those, by name.
    pub failing: Vec<CertificateFailing>,
}

/// The shared store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreStatus {
    /// Whether it can be reached.
    pub reachable: bool,
    /// Where it stands, `epoch:number`; null when it can't be reached.
    #[schema(required = true)]
    pub revision: Option<String>,
}

/// Some proxies don't believe the store: it was replaced, or most hosts are gone from it. They serve what they have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuardStatus {
    /// Which proxies, by instance.
    pub proxies: Vec<String>,
    /// What to do.
    pub action: String,
}

/// Why a proxy does not believe the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProxyGuard {
    /// `epoch_missing`, `epoch_changed`, `went_back` or `drops_hosts`.
    pub reason: String,
    /// The same for people.
    pub detail: String,
    /// The revision of the store when the proxy began to doubt.
    pub seen: String,
    /// Since when (RFC 3339).
    #[schema(format = DateTime)]
    pub since: String,
}

/// The store is accepted as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreAccepted {
    /// The revision that has the acceptance.
    pub revision: String,
    /// Who gave it.
    pub accepted_by: String,
    /// When (RFC 3339).
    #[schema(format = DateTime)]
    pub accepted_at: String,
}

impl From<control::Acceptance> for StoreAccepted {
    fn from(accepted: control::Acceptance) -> Self {
        Self {
            revision: accepted.revision.to_string(),
            accepted_by: accepted.accepted_by.to_string(),
            accepted_at: accepted.accepted_at.to_string(),
        }
    }
}

/// What an operator reads when a guard is up.
const ACTION: &str = "These proxies keep what they have and take over nothing more. If the store is the right one as it is, \
    accept it: gatewright store accept (POST /api/store/accept). Otherwise bring the right store back.";

/// A live proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProxyStatus {
    /// Its name.
    pub instance: String,
    /// Its version.
    pub version: String,
    /// Where its admin port listens.
    pub address: String,
    /// Since when it runs (RFC 3339).
    #[schema(format = DateTime)]
    pub started_at: String,
    /// The revision that all its workers run.
    pub revision: String,
    /// How many commits that is behind the store; null when it runs another life of the store.
    #[schema(required = true)]
    pub lag: Option<u64>,
    /// How many workers it has.
    pub workers: u64,
    /// How many hosts its table holds.
    pub hosts: u64,
    /// How many certificates its table holds.
    pub certificates: u64,
    /// Why it does not believe the store and keeps what it has; null when it does.
    #[schema(required = true)]
    pub guard: Option<ProxyGuard>,
    /// Records it could not take over; it keeps their last good value.
    pub rejected: Vec<Rejected>,
    /// Upstreams that it does not use as usual, the first hundred.
    #[serde(default)]
    #[schema(required = true)]
    pub ailing: Vec<AilingUpstream>,
}

/// An upstream that a proxy does not use as usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AilingUpstream {
    /// The pattern of its host.
    pub host: String,
    /// Its address.
    pub upstream: String,
    /// What is wrong: `ejected`, `unhealthy`, `starting`, `breaker_open` or `breaker_half_open`.
    pub state: String,
    /// Since when (RFC 3339).
    #[schema(format = DateTime)]
    pub since: String,
}

/// A record that a proxy could not take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejected {
    /// Which record.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// A background task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskStatus {
    /// Its name.
    pub name: String,
    /// How often it was activated.
    pub activations: u64,
    /// When the last activation began (RFC 3339).
    #[schema(required = true, format = DateTime)]
    pub last_started: Option<String>,
    /// When the last finished activation finished (RFC 3339).
    #[schema(required = true, format = DateTime)]
    pub last_finished: Option<String>,
    /// What it did; null before the first end and after a failure.
    #[schema(required = true)]
    pub done: Option<String>,
    /// Why it failed; null when it did not.
    #[schema(required = true)]
    pub error: Option<String>,
}

/// A certificate past two thirds of its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateDue {
    /// Its name.
    pub name: String,
    /// When it ends (RFC 3339).
    #[schema(format = DateTime)]
    pub not_after: String,
}

/// A name for which the last attempt to get a certificate failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateFailing {
    /// The name.
    pub name: String,
    /// How many attempts failed in a row.
    pub failures: u32,
    /// How far the last one came.
    pub stage: String,
    /// What kind of failure it was.
    pub code: String,
    /// The same for people.
    pub detail: String,
    /// What to do about it.
    pub action: String,
    /// When it is tried again (RFC 3339).
    #[schema(required = true, format = DateTime)]
    pub retry_at: Option<String>,
}

impl From<control::CertificateFailing> for CertificateFailing {
    fn from(one: control::CertificateFailing) -> Self {
        Self {
            name: one.name,
            failures: one.failures,
            action: super::cert::action(&one.code).to_owned(),
            stage: one.stage,
            code: one.code,
            detail: one.detail,
            retry_at: one.retry_at.map(|at| at.to_string()),
        }
    }
}

impl From<control::Status> for StatusView {
    fn from(status: control::Status) -> Self {
        let due = |one: control::CertificateDue| CertificateDue {
            name: one.name,
            not_after: one.not_after.to_string(),
        };
        Self {
            version: telemetry::VERSION.to_owned(),
            store: StoreStatus {
                reachable: status.store.is_some(),
                revision: status.store.map(|revision| revision.to_string()),
            },
            guard: guard(&status.proxies),
            proxies: status.proxies.into_iter().map(proxy).collect(),
            tasks: status.tasks.into_iter().map(task).collect(),
            certificates: status.certificates,
            certificates_due: status.due,
            due: status.due_list.into_iter().map(due).collect(),
            certificates_failing: status.failing,
            failing: status.failing_list.into_iter().map(CertificateFailing::from).collect(),
        }
    }
}

fn guard(proxies: &[control::ProxyStatus]) -> Option<GuardStatus> {
    let guarded = proxies.iter().filter(|proxy| proxy.report.guard.is_some());
    let guarded: Vec<_> = guarded.map(|proxy| proxy.report.instance.clone()).collect();
    (!guarded.is_empty()).then(|| GuardStatus { proxies: guarded, action: ACTION.to_owned() })
}

fn proxy(proxy: control::ProxyStatus) -> ProxyStatus {
    let control::ProxyStatus { report, lag } = proxy;
    let rejected = report.rejected.into_iter();
    let ailing = report.ailing.into_iter().map(|it| AilingUpstream {
        host: it.host,
        upstream: it.upstream,
        state: it.state,
        since: it.since.to_string(),
    });
    let guard = report.guard.map(|guard| ProxyGuard {
        reason: guard.reason,
        detail: guard.detail,
        seen: guard.seen.to_string(),
        since: guard.since.to_string(),
    });
    ProxyStatus {
        instance: report.instance,
        version: report.version,
        address: report.addr,
        started_at: report.started_at.to_string(),
        revision: report.revision.to_string(),
        lag,
        workers: report.workers,
        hosts: report.hosts,
        certificates: report.certs,
        guard,
        rejected: rejected.map(|one| Rejected { key: one.key, reason: one.reason }).collect(),
        ailing: ailing.collect(),
    }
}

fn task(task: control::TaskStatus) -> TaskStatus {
    let time = |at: Option<SystemTime>| at.map(|at| Timestamp::from(at).to_string());
    let (done, error) = match task.last_result {
        Some(Ok(done)) => (Some(done), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    TaskStatus {
        name: task.name.to_owned(),
        activations: task.activations,
        last_started: time(task.last_started),
        last_finished: time(task.last_finished),
        done,
        error,
    }
}
