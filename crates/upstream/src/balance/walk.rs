//! One request's way along the upstreams of its group.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body;
use tokio::time::timeout;

use super::balancer::{Balancer, Candidates, Permit};
use super::budget::Budget;
use super::care::Limit;
use super::set::Set;
use super::state::{Ending, Rights};
use super::strategy::Turn;
use super::vital::millis;
use crate::{BoxError, Endpoint, Error, Outgoing};
use runtime::with_causes;

/// Beyond this many groups it is forgotten where each stood.
const MANY: usize = 4096;
/// How often a request may be sent again after an upstream may have seen it.
const REPEATS: u8 = 1;

/// Where one worker stands with each group.
#[derive(Debug, Default)]
pub(crate) struct Turns(RefCell<HashMap<u64, Standing>>);

#[derive(Debug)]
struct Standing {
    turn: Turn,
    budget: Budget,
}

impl Turns {
    fn with<T>(&self, balancer: &Balancer, act: impl FnOnce(&mut Standing) -> T) -> T {
        let mut all = self.0.borrow_mut();
        // Groups come and go with the host table; forgetting where each stood is harmless.
        if all.len() >= MANY && !all.contains_key(&balancer.id) {
            all.clear();
        }
        act(all.entry(balancer.id).or_insert_with(|| Standing {
            turn: Turn::new(balancer.vitals.len(), balancer.id),
            budget: Budget::default(),
        }))
    }
}

/// One request's way: where it was, and where it wants to go.
#[derive(Debug)]
pub struct Walk<'a> {
    balancer: &'a Balancer,
    turns: &'a Turns,
    tried: Set,
    /// The upstream that its cookie names.
    named: Option<usize>,
    key: u64,
    repeats: u8,
}

/// Why no upstream gets a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// None is left that was not tried.
    Exhausted,
    /// The breakers are open: of this one among others, and for so many seconds.
    Open(Endpoint, u64),
    /// All have as many requests as they may, and so many wait already that it makes no sense.
    Full,
    /// It waited for room in vain.
    Waited,
}

/// A request on its way to one upstream. Dropped without a word, it was given up by its client.
#[derive(Debug)]
pub struct Attempt<'a> {
    balancer: &'a Balancer,
    at: usize,
    rights: Rights,
    permit: Option<Permit>,
    is_over: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        turns: &'a Turns,
        balancer: &'a Balancer,
        client: IpAddr,
        headers: &HeaderMap,
    ) -> Self {
        turns.with(balancer, |standing| standing.budget.request());
        let cookies = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
        Self {
            named: balancer.cookie.as_ref().and_then(|cookie| cookie.find(cookies)),
            key: balancer.key(client),
            tried: Set::default(),
            repeats: 0,
            balancer,
            turns,
        }
    }

    /// The next upstream to try; waits for room where the host has a limit.
    ///
    /// # Errors
    /// When none gets it.
    pub async fn next(&mut self) -> Result<Attempt<'a>, Refused> {
        match (self.choose(), self.balancer.care.limit) {
            (Err(Refused::Full), Some(limit)) => Box::pin(self.wait(limit)).await,
            (chosen, _) => chosen,
        }
    }

    async fn wait(&mut self, limit: Limit) -> Result<Attempt<'a>, Refused> {
        let queue = &self.balancer.queue;
        let place = Place::take(&queue.pending, limit.pending).ok_or(Refused::Full)?;
        let room = async {
            loop {
                // Before looking, so that no room made meanwhile is missed.
                let mut notified = std::pin::pin!(queue.room.notified());
                notified.as_mut().enable();
                match self.choose() {
                    Err(Refused::Full) => notified.await,
                    chosen => return chosen,
                }
            }
        };
        let chosen = timeout(limit.timeout, room).await.unwrap_or(Err(Refused::Waited));
        drop(place);
        chosen
    }

    fn choose(&mut self) -> Result<Attempt<'a>, Refused> {
        let balancer = self.balancer;
        // Another worker may be quicker each time.
        for _ in 0..Set::ROOM {
            let (some, panic) = match balancer.candidates(self.tried) {
                Candidates::These(some, panic) => (some, panic),
                Candidates::None => return Err(Refused::Exhausted),
                Candidates::Open(at, ms) => return Err(self.open(at, ms)),
            };
            let Some(at) = self.pick(balancer.with_room(some)) else { break };
            let Some(permit) = balancer.permit(at) else { continue };
            let Some(rights) = balancer.vitals[at].enter(panic) else { continue };
            self.tried = self.tried.with(at);
            return Ok(Attempt { balancer, at, rights, permit, is_over: false });
        }
        Err(if balancer.care.limit.is_some() { Refused::Full } else { Refused::Exhausted })
    }

    fn pick(&self, among: Set) -> Option<usize> {
        let balancer = self.balancer;
        match self.named.filter(|at| among.contains(*at)) {
            Some(at) => Some(at),
            None => self.turns.with(balancer, |standing| {
                let load = |at: usize| balancer.vitals[at].load();
                balancer.strategy.pick(&mut standing.turn, among, load, self.key)
            }),
        }
    }

    fn open(&self, at: usize, ms: u64) -> Refused {
        match self.balancer.endpoints.as_slice().get(at) {
            Some(endpoint) => Refused::Open(endpoint.clone(), ms.div_ceil(1_000).max(1)),
            None => Refused::Exhausted,
        }
    }

    /// Whether a request that failed so may go to another upstream. What an upstream can't have seen always may; what it
    /// may have seen only if a repetition does nothing twice, once, and within the budget of the group.
    pub fn goes_on<B>(&mut self, error: &Error, outgoing: &Outgoing<B>) -> bool
    where
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        if error.may_try_elsewhere() {
            return true;
        }
        if !outgoing.is_whole() {
            return false;
        }
        let was_seen = match error {
            Error::ClosedBeforeAnswer { sent, .. } => *sent,
            Error::ResponseTimeout { .. } => true,
            _ => return false,
        };
        if !was_seen {
            return true;
        }
        if !outgoing.method.is_idempotent() || self.repeats == REPEATS {
            return false;
        }
        self.repeats += 1;
        self.turns.with(self.balancer, |standing| standing.budget.take(millis()))
    }

    /// What `Set-Cookie` is to say when this one answered; nothing for a browser that knows already.
    pub fn cookie(&self, attempt: &Attempt<'_>, by_https: bool) -> Option<HeaderValue> {
        let cookie = self.balancer.cookie.as_ref().filter(|_| self.named != Some(attempt.at))?;
        cookie.set(attempt.at, by_https)
    }
}

impl<'a> Attempt<'a> {
    /// Where it goes.
    pub fn endpoint(&self) -> &'a Endpoint {
        &self.balancer.endpoints.as_slice()[self.at]
    }

    /// The head of the answer has come. What is given back is to be kept until the answer is over.
    pub fn answered(mut self, status: StatusCode) -> Option<Permit> {
        let is_gateways = matches!(status.as_u16(), 502..=504);
        self.end(Ending::Answered(is_gateways), if is_gateways { status.as_str() } else { "" });
        self.permit.take()
    }

    /// There is no answer.
    pub fn failed(mut self, error: &Error) {
        let ending = match error {
            // The client's doing.
            Error::RequestBody { .. } => Ending::Abandoned,
            error if error.may_try_elsewhere() => Ending::Unreached,
            _ => Ending::Failed,
        };
        self.end(ending, &with_causes(error));
    }

    fn end(&mut self, ending: Ending, why: &str) {
        self.is_over = true;
        self.balancer.ended(self.at, self.rights, ending, why);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Ending::Abandoned, "");
        }
    }
}

/// A place among those that wait.
struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn take(pending: &'a AtomicU32, most: u32) -> Option<Self> {
        let more = |waiting: u32| (waiting < most).then(|| waiting + 1);
        pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(pending))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
