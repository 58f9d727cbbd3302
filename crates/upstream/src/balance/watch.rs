//! All groups of a process: what is known of their upstreams, and who is asked regularly how it is.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use http_body_util::Empty;
use runtime::Tasks;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::balancer::Balancer;
use super::care::Active;
use super::state::{Checked, Phase};
use super::vital::{is_any_troubled, millis};
use crate::{Answer, Endpoint, Outgoing, Settings, Upstreams};
use runtime::with_causes;

/// How many are asked at once.
const AT_ONCE: usize = 128;
/// How often one that starts is asked.
const EAGER: Duration = Duration::from_millis(500);
/// As many upstreams are shown.
const SHOWN: usize = 1_000;

/// The groups of a process that need care.
#[derive(Debug, Default)]
pub struct Watch {
    groups: Mutex<Groups>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Groups {
    all: Vec<Weak<Balancer>>,
    /// Those that the one who asks has not heard of.
    fresh: Vec<Weak<Balancer>>,
    /// Beyond as many, those that are gone are cleared away.
    room: usize,
}

/// An upstream that something stands against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailing {
    /// The pattern of the host.
    pub host: String,
    /// The address.
    pub upstream: String,
    /// What, in one word: `breaker_open`, `breaker_half_open`, `unhealthy`, `starting` or `ejected`.
    pub state: &'static str,
    /// For how long.
    pub age: Duration,
}

/// How an upstream fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// The pattern of the host.
    pub host: Box<str>,
    /// The prefix of the group's path.
    pub path: Box<str>,
    /// The address.
    pub upstream: Box<str>,
    /// Whether it is used as usual.
    pub healthy: bool,
    /// How often it was left out.
    pub ejections: u64,
    /// Where its breaker stands, if it has one: 0 closed, 1 half open, 2 open.
    pub breaker: Option<u8>,
}

impl Watch {
    /// A group from now on, until its last owner drops it.
    pub fn add(&self, balancer: &Arc<Balancer>) {
        let mut groups = self.groups();
        if groups.all.len() >= groups.room {
            groups.all.retain(|group| group.strong_count() > 0);
            groups.fresh.retain(|group| group.strong_count() > 0);
            groups.room = groups.all.len() * 2 + 64;
        }
        groups.all.push(Arc::downgrade(balancer));
        if balancer.care.active.is_some() {
            groups.fresh.push(Arc::downgrade(balancer));
            self.news.notify_one();
        }
    }

    /// The upstreams that something stands against, so many at most.
    pub fn ailing(&self, most: usize) -> Vec<Ailing> {
        let mut all = Vec::new();
        if !is_any_troubled() {
            return all;
        }
        for group in self.living() {
            for (at, endpoint) in group.upstreams() {
                if all.len() == most {
                    return all;
                }
                let Some(state) = group.ails(at) else { continue };
                let age = millis().saturating_sub(group.vitals[at].since());
                all.push(Ailing {
                    host: group.host.to_string(),
                    upstream: endpoint.to_string(),
                    age: Duration::from_millis(age),
                    state,
                });
            }
        }
        all
    }

    /// How the upstreams fare for which an operator asked for health or a breaker; the first thousand.
    pub fn vitals(&self) -> Vec<Vitals> {
        let watched = self.living().into_iter().filter(|group| group.is_watched());
        let groups: Vec<_> = watched.take(SHOWN).collect();
        groups
            .iter()
            .flat_map(|group| group.upstreams().map(|it| vitals(group, it)))
            .take(SHOWN)
            .collect()
    }

    /// Asks upstreams how they are, for ever. To be run on one worker of the process.
    pub async fn run(&self, settings: Settings) {
        // A connection that is kept says nothing of whether another one comes about.
        let upstreams = Upstreams::new(Settings { max_idle: 0, ..settings }, Tasks::new());
        let mut asker = Asker {
            upstreams,
            tasks: Tasks::new(),
            turns: Rc::new(Semaphore::new(AT_ONCE)),
            due: BinaryHeap::new(),
            random: RandomState::new(),
            asked: 0,
        };
        loop {
            let next = asker.due.peek().map(|Reverse(due)| due.at);
            tokio::select! {
                () = self.news.notified() => {}
                () = async { sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {}
            }
            let fresh = std::mem::take(&mut self.groups().fresh);
            fresh.iter().filter_map(Weak::upgrade).for_each(|group| asker.takes(&group));
            asker.ask_those_due();
        }
    }

    fn living(&self) -> Vec<Arc<Balancer>> {
        self.groups().all.iter().filter_map(Weak::upgrade).collect()
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn vitals(group: &Balancer, (at, endpoint): (usize, &Endpoint)) -> Vitals {
    let vital = &group.vitals[at];
    let (ejections, phase) = vital.look(|state, _| (state.ejections, state.phase()));
    Vitals {
        host: group.host.clone(),
        path: group.scope().into(),
        upstream: endpoint.as_str().into(),
        healthy: group.ails(at).is_none(),
        ejections,
        breaker: group.care.breaker.map(|_| match phase {
            Phase::Closed => 0,
            Phase::Half(..) => 1,
            Phase::Open(_) => 2,
        }),
    }
}

/// Who asks.
struct Asker {
    upstreams: Rc<Upstreams>,
    tasks: Tasks,
    turns: Rc<Semaphore>,
    due: BinaryHeap<Reverse<Due>>,
    random: RandomState,
    asked: u64,
}

/// An upstream that is to be asked.
struct Due {
    at: Instant,
    group: Weak<Balancer>,
    index: usize,
    /// Whether it has not answered yet.
    busy: Rc<Cell<bool>>,
}

impl Asker {
    /// Asks the upstreams of a group from now on: new ones at once, others within the usual time.
    fn takes(&mut self, group: &Arc<Balancer>) {
        let Some(active) = &group.care.active else { return };
        for (index, vital) in group.vitals.iter().enumerate() {
            let is_new = vital.look(|state, _| matches!(state.check(), Checked::Starting(_)));
            let wait = if is_new { Duration::ZERO } else { active.interval.mul_f64(self.random()) };
            let (group, busy) = (Arc::downgrade(group), Rc::default());
            self.due.push(Reverse(Due { at: Instant::now() + wait, group, index, busy }));
        }
    }

    fn ask_those_due(&mut self) {
        let now = Instant::now();
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(due)) = self.due.pop() else { return };
            // A group that is gone is not asked any more.
            let Some(group) = due.group.upgrade() else { continue };
            let Some(active) = &group.care.active else { continue };
            let vital = &group.vitals[due.index];
            let is_new = vital.look(|state, _| matches!(state.check(), Checked::Starting(_)));
            let pause = if is_new { active.interval.min(EAGER) } else { active.interval };
            // Not all at the same moment, for all time.
            let pause = pause.mul_f64(0.9 + 0.2 * self.random());
            if !due.busy.replace(true) {
                let ask = ask(self.upstreams.clone(), self.turns.clone(), group.clone(), due.index);
                let busy = due.busy.clone();
                self.tasks.spawn_local("upstream health", async move {
                    ask.await;
                    busy.set(false);
                });
            }
            self.due.push(Reverse(Due { at: now + pause, ..due }));
        }
    }

    /// Between 0 and 1.
    #[expect(clippy::cast_precision_loss, reason = "32 bits are kept")]
    fn random(&mut self) -> f64 {
        self.asked += 1;
        (self.random.hash_one(self.asked) >> 32) as f64 / (1u64 << 32) as f64
    }
}

async fn ask(upstreams: Rc<Upstreams>, turns: Rc<Semaphore>, group: Arc<Balancer>, index: usize) {
    let Some(active) = &group.care.active else { return };
    let Some(endpoint) = group.endpoints.as_slice().get(index) else { return };
    let Ok(_turn) = turns.acquire().await else { return };
    let asking = answer(&upstreams, &group, endpoint, active);
    let answer = timeout(active.timeout, Box::pin(asking)).await;
    let wrong = match answer {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(_) => Some(format!("{endpoint} did not answer {} in time", active.path)),
    };
    let vital = &group.vitals[index];
    let event = vital.change(|state, now| state.checked(wrong.is_none(), now, active));
    if let Some(event) = event {
        group.tell(index, event, wrong.as_deref().unwrap_or_default());
    }
}

async fn answer(
    upstreams: &Upstreams,
    group: &Balancer,
    endpoint: &Endpoint,
    active: &Active,
) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("gatewright-health"));
    let body = Empty::<Bytes>::new();
    let mut request = Outgoing::new(Method::GET, active.path.clone(), headers, body);
    request.host = group.check_host.clone();
    match upstreams.send(endpoint, &mut request, |_, _| {}).await {
        Ok(Answer::Response(response)) => {
            let status = response.status().as_u16();
            let is_good = active.expect.iter().any(|range| range.contains(status));
            if is_good {
                Ok(())
            } else {
                Err(format!("{endpoint} answered {} with {status}", active.path))
            }
        }
        Ok(Answer::Upgraded(..)) => Err(format!("{endpoint} switched protocols unasked")),
        Err(error) => Err(with_causes(&error)),
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
