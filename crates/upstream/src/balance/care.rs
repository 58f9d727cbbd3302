//! What is to be done about upstreams that fail, as a host's rules have it.

use std::time::Duration;

use http::uri::PathAndQuery;
use model::{BreakerRules, HealthRules, HostRules, StatusRange};

/// All of it, for one group of upstreams. Times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Care {
    /// Judging by what becomes of requests; `None` for one that is alone: there is nobody to take its place.
    pub(crate) passive: Option<Passive>,
    /// Asking regularly.
    pub(crate) active: Option<Active>,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) limit: Option<Limit>,
    /// Whether an operator asked for any of it, so that it is worth showing.
    pub(crate) is_asked_for: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passive {
    pub(crate) failures: u32,
    pub(crate) hold: u64,
    pub(crate) longest: u64,
    pub(crate) gateway_errors: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    pub(crate) path: PathAndQuery,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) expect: Box<[StatusRange]>,
    pub(crate) healthy_after: u32,
    pub(crate) unhealthy_after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    pub(crate) failures: u32,
    pub(crate) open_for: u64,
    pub(crate) successes: u32,
    pub(crate) gateway_errors: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) requests: u32,
    pub(crate) pending: u32,
    pub(crate) timeout: Duration,
}

const PENDING: u32 = 100;
const PENDING_TIMEOUT: Duration = Duration::from_secs(5);

impl Care {
    pub(crate) fn new(rules: &HostRules, count: usize) -> Self {
        let default = HealthRules::default();
        let health = rules.health.as_ref().unwrap_or(&default);
        let limits = &rules.limits;
        Self {
            passive: (count > 1).then(|| Passive::new(health)),
            active: Active::new(health),
            breaker: rules.breaker.as_ref().map(Breaker::new),
            limit: limits.max_connections.map(|requests| Limit {
                requests: requests.max(1),
                pending: limits.max_pending.unwrap_or(PENDING),
                timeout: limits.pending_timeout.map_or(PENDING_TIMEOUT, |span| span.duration()),
            }),
            is_asked_for: rules.health.is_some() || rules.breaker.is_some(),
        }
    }

    /// Whether there is nothing to do for one that is alone.
    pub(crate) fn is_none(&self) -> bool {
        let Self { passive, active, breaker, limit, is_asked_for: _ } = self;
        passive.is_none() && active.is_none() && breaker.is_none() && limit.is_none()
    }
}

impl Passive {
    fn new(rules: &HealthRules) -> Self {
        Self {
            failures: rules.failures.max(1),
            hold: rules.eject_for.millis().max(1),
            longest: rules.eject_at_most.millis().max(1),
            gateway_errors: rules.gateway_errors,
        }
    }
}

impl Active {
    /// `None` without a path, or with one that `policy` has not seen.
    fn new(rules: &HealthRules) -> Option<Self> {
        Some(Self {
            path: rules.path.as_deref()?.parse().ok()?,
            interval: rules.interval.duration().max(Duration::from_millis(100)),
            timeout: rules.timeout.duration(),
            expect: rules.expect.clone().into(),
            healthy_after: rules.healthy_after.max(1),
            unhealthy_after: rules.unhealthy_after.max(1),
        })
    }
}

impl Breaker {
    fn new(rules: &BreakerRules) -> Self {
        Self {
            failures: rules.failures.max(1),
            open_for: rules.open_for.millis().max(1),
            successes: rules.successes.max(1),
            gateway_errors: rules.gateway_errors,
        }
    }
}
