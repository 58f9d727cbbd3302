use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use http::HeaderValue;
use model::{BalancePolicy, BalanceRules, HostRules};
use tokio::sync::Notify;

use super::care::{Care, Limit};
use super::cookie::Cookie;
use super::set::Set;
use super::state::{Ending, Event, Phase, Rights, State};
use super::strategy::{Strategy, hashed};
use super::vital::Vital;
use crate::{Endpoint, Endpoints};

/// Shares requests out among the upstreams of one group, and knows how they fare; one for all workers.
#[derive(Debug)]
pub struct Balancer {
    pub(super) host: Box<str>,
    scope: Box<str>,
    pub(super) id: u64,
    pub(super) endpoints: Endpoints,
    pub(super) vitals: Box<[Arc<Vital>]>,
    pub(super) strategy: Strategy,
    primaries: Set,
    pub(super) cookie: Option<Cookie>,
    pub(super) care: Care,
    pub(super) queue: Arc<Queue>,
    pub(super) check_host: Option<HeaderValue>,
    made_of: (BalanceRules, Box<[u8]>),
}

/// What a balancer is made of.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// The pattern of the host, for the log.
    pub host: &'a str,
    /// Which of the host's groups it is: the prefix of its path.
    pub scope: &'a str,
    /// The upstreams; those beyond 64 are left alone.
    pub endpoints: &'a Endpoints,
    /// What the host says of balance, health, breaker and limits. `policy` has found nothing wrong with it.
    pub rules: &'a HostRules,
    /// What cookies are made with, the same in all proxies and known to no client.
    pub secret: &'a [u8],
    /// What `Host` says when upstreams are asked how they are; without it their own name.
    pub check_host: Option<&'a HeaderValue>,
}

/// Requests that wait for room.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) pending: AtomicU32,
    pub(super) room: Notify,
}

/// A request in flight, where that is counted; it is over when this is dropped.
#[derive(Debug)]
pub struct Permit {
    vital: Arc<Vital>,
    queue: Arc<Queue>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.vital.lower();
        if self.queue.pending.load(Ordering::Relaxed) > 0 {
            self.queue.room.notify_one();
        }
    }
}

/// Which upstreams can have a request.
pub(super) enum Candidates {
    /// One of these; whether they have to be taken as they are.
    These(Set, bool),
    /// All have been tried, or there is none.
    None,
    /// The breaker of each is open: the first, and for how many milliseconds at least.
    Open(usize, u64),
}

impl Balancer {
    /// `None` for a group that needs none: one upstream, or none, and nothing to be done about it. What the `former` one
    /// of the group knew of upstreams that are still there stays known; when nothing changed, it is the former one.
    pub fn new(group: &Group<'_>, former: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let Group { host, scope, endpoints, rules, secret, check_host } = *group;
        let all = endpoints.as_slice();
        let all = &all[..all.len().min(Set::ROOM)];
        let care = Care::new(rules, all.len());
        if all.is_empty() || (all.len() == 1 && care.is_none()) {
            return None;
        }
        let made_of = (rules.balance.clone(), Box::from(secret));
        let is_same = |it: &&Arc<Self>| {
            it.made_of == made_of
                && it.care == care
                && it.check_host.as_ref() == check_host
                && it.endpoints.as_slice() == endpoints.as_slice()
        };
        if let Some(former) = former.filter(is_same) {
            return Some(former.clone());
        }
        let vital = |endpoint: &Endpoint| {
            let vital = former.and_then(|it| it.vital(endpoint)).cloned().unwrap_or_default();
            vital.change(|state, now| state.watch(care.active.is_some(), now));
            vital
        };
        let balance = &rules.balance;
        let is_backup = |at: &usize| balance.backup.contains(all[*at].upstream());
        let backups: Set = (0..all.len()).filter(is_backup).collect();
        let names = || all.iter().map(Endpoint::as_str);
        let weights = all.iter().map(|endpoint| balance.weight(endpoint.upstream()));
        let is_sticky = balance.policy == BalancePolicy::Cookie;
        let cookie = balance.cookie.as_deref().unwrap_or(BalanceRules::COOKIE);
        Some(Arc::new(Self {
            host: host.into(),
            scope: scope.into(),
            id: next_id(),
            vitals: all.iter().map(vital).collect(),
            strategy: Strategy::new(balance.policy, names(), weights),
            primaries: Set::all(all.len()).without(backups),
            cookie: is_sticky.then(|| Cookie::new(cookie, secret, names())),
            queue: former.map(|it| it.queue.clone()).unwrap_or_default(),
            check_host: check_host.cloned(),
            endpoints: endpoints.clone(),
            care,
            made_of,
        }))
    }

    /// Which of the host's groups it is for: the prefix of its path.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Whether its upstreams are asked regularly, or are worth showing in metrics.
    pub fn is_watched(&self) -> bool {
        self.care.is_asked_for
    }

    fn vital(&self, endpoint: &Endpoint) -> Option<&Arc<Vital>> {
        let at = self.endpoints.as_slice().iter().position(|one| one == endpoint)?;
        self.vitals.get(at)
    }

    /// What tells a client from others: an address, of IPv6 its network.
    pub(super) fn key(&self, client: IpAddr) -> u64 {
        match client.to_canonical() {
            _ if self.strategy.policy() != BalancePolicy::ClientHash => 0,
            IpAddr::V4(ip) => hashed(&ip.octets()),
            IpAddr::V6(ip) => hashed(&ip.octets()[..8]),
        }
    }

    /// Who can have a request that was at those `tried` already. Primaries come before backups; when none is well, all
    /// are taken as they are, since a bad chance is better than none; but nobody gets past a breaker.
    pub(super) fn candidates(&self, tried: Set) -> Candidates {
        let left = Set::all(self.vitals.len()).without(tried);
        let open =
            |panic| -> Set { left.iter().filter(|at| self.vitals[*at].is_open(panic)).collect() };
        for panic in [false, true] {
            let open = open(panic);
            for some in [open.and(self.primaries), open.without(self.primaries)] {
                if !some.is_empty() {
                    return Candidates::These(some, panic);
                }
            }
        }
        let opens_in = |at: &usize| self.vitals[*at].look(State::opens_in);
        match left.iter().min_by_key(opens_in) {
            Some(at) => Candidates::Open(at, opens_in(&at)),
            None => Candidates::None,
        }
    }

    /// Those that have room for one more.
    pub(super) fn with_room(&self, of: Set) -> Set {
        match self.care.limit {
            Some(Limit { requests, .. }) => {
                of.iter().filter(|at| self.vitals[*at].load() < requests).collect()
            }
            None => of,
        }
    }

    /// Counts a request where that is done; `None` when there is no room any more.
    pub(super) fn permit(&self, at: usize) -> Option<Option<Permit>> {
        let vital = self.vitals.get(at)?;
        let most = match self.care.limit {
            Some(limit) => limit.requests,
            None if self.strategy.counts() => u32::MAX,
            None => return Some(None),
        };
        vital.lift(most).then(|| Some(Permit { vital: vital.clone(), queue: self.queue.clone() }))
    }

    /// A request has ended.
    pub(super) fn ended(&self, at: usize, rights: Rights, ending: Ending, why: &str) {
        let Some(vital) = self.vitals.get(at) else { return };
        let is_plain = matches!(ending, Ending::Answered(false) | Ending::Abandoned);
        if is_plain && !vital.is_troubled() {
            return;
        }
        let events = vital.change(|state, now| state.ended(rights, ending, now, &self.care));
        events.into_iter().flatten().for_each(|event| self.tell(at, event, why));
    }

    /// Puts a change into the log.
    pub(super) fn tell(&self, at: usize, event: Event, why: &str) {
        let upstream = self.endpoints.as_slice().get(at).map_or("", Endpoint::as_str);
        let (host, path) = (&*self.host, &*self.scope);
        match event {
            Event::Ejected(ms) => {
                tracing::warn!(
                    host,
                    path,
                    upstream,
                    why,
                    ms,
                    "an upstream is left out for a while"
                );
            }
            Event::Readmitted => tracing::info!(host, path, upstream, "an upstream is back"),
            Event::Opened(ms) => {
                tracing::warn!(host, path, upstream, why, ms, "an upstream's breaker opens");
            }
            Event::Closed => tracing::info!(host, path, upstream, "an upstream's breaker closes"),
            Event::Unhealthy => {
                tracing::warn!(host, path, upstream, why, "an upstream is unhealthy");
            }
            Event::Healthy => tracing::info!(host, path, upstream, "an upstream is healthy"),
        }
    }

    /// Its upstreams, by index.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = (usize, &Endpoint)> {
        self.endpoints.as_slice().iter().take(self.vitals.len()).enumerate()
    }

    /// What stands against an upstream, in one word; `None`: nothing.
    pub(super) fn ails(&self, at: usize) -> Option<&'static str> {
        use super::state::Checked;
        let vital = self.vitals.get(at).filter(|vital| vital.is_troubled())?;
        vital.look(|state, _| match (state.phase(), state.check(), state.is_out()) {
            (Phase::Open(_), ..) => Some("breaker_open"),
            (Phase::Half(..), ..) => Some("breaker_half_open"),
            (_, Checked::Bad(_), _) => Some("unhealthy"),
            (_, Checked::Starting(_), _) => Some("starting"),
            (_, _, true) => Some("ejected"),
            _ => None,
        })
    }
}

/// Never the same twice.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
