use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Host, Hostname};
use static_files::Roots;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::tables::Route;

/// As many names are remembered, answered or not; further ones are unknown until there is room again: names come from
/// strangers.
const CAPACITY: usize = 4096;
/// How long a request waits.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long an answer serves.
const KNOWN: Duration = Duration::from_secs(10);
/// How long a name without an answer is not asked for again.
const UNKNOWN: Duration = Duration::from_secs(2);
/// How often what is over is cleared away when there is no room.
const SWEEP: Duration = Duration::from_millis(100);

/// Names that requests came for and the tables, not in sync, don't have: asked of the control plane on this machine.
/// Bounded in number and time. Somebody (`discovery`) takes names out and puts answers in; before it says that it
/// does, nobody waits.
#[derive(Debug, Default)]
pub struct Lookups {
    served: AtomicBool,
    state: Mutex<State>,
    roots: Roots,
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Hostname>,
    names: HashMap<String, Entry>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    /// `None` until there is an answer.
    answer: watch::Sender<Option<Answer>>,
    until: Instant,
}

/// The route, or that there is none.
type Answer = Option<Arc<Route>>;

impl Lookups {
    /// Serving directories under these roots.
    pub(crate) fn set_roots(&mut self, roots: Roots) {
        self.roots = roots;
    }

    /// Says that somebody serves from now on.
    pub fn begin(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    /// Takes a name out that somebody waits for; waits for one when there is none. For a single reader.
    pub async fn next(&self) -> Hostname {
        loop {
            if let Some(name) = self.state().pop(Instant::now()) {
                return name;
            }
            self.added.notified().await;
        }
    }

    /// Says which host answers a name: none, or one whose record may be used for a while.
    pub fn answer(&self, name: &Hostname, host: Option<Host>) {
        let route =
            host.filter(|host| host.enabled).map(|host| Route::new(host, &self.roots, None));
        let answer = route.and_then(|route| match route {
            Ok(route) => Some(Arc::new(route)),
            Err(error) => {
                tracing::warn!(%name, %error, "a host that was looked up can't be served");
                None
            }
        });
        let until = Instant::now() + if answer.is_some() { KNOWN } else { UNKNOWN };
        if let Some(entry) = self.state().names.get_mut(name.as_str()) {
            entry.until = until;
            entry.answer.send_replace(Some(answer));
        }
    }

    /// The route of a normalised name, if it is known in time.
    pub(crate) async fn ask(&self, name: &str) -> Option<Arc<Route>> {
        if !self.served.load(Ordering::Relaxed) {
            return None;
        }
        let mut told = self.entry(name)?;
        let answer = timeout(PATIENCE, told.wait_for(Option::is_some)).await.ok()?.ok()?;
        answer.clone().flatten()
    }

    /// Forgets everything. Who waits is told nothing.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        if !state.names.is_empty() {
            *state = State::default();
        }
    }

    /// Where the answer for a name will stand, or stands; `None` when there is no room for it.
    fn entry(&self, name: &str) -> Option<watch::Receiver<Option<Answer>>> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(entry) = state.names.get(name).filter(|entry| entry.until > now) {
            return Some(entry.answer.subscribe());
        }
        if state.is_full(now) {
            return None;
        }
        let asked: Hostname = name.parse().ok()?;
        let (answer, told) = watch::channel(None);
        state.names.insert(name.to_owned(), Entry { answer, until: now + UNKNOWN });
        state.queue.push_back(asked);
        drop(state);
        self.added.notify_one();
        Some(told)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every state of it is a good one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self, now: Instant) -> Option<Hostname> {
        let (queue, names) = (&mut self.queue, &self.names);
        std::iter::from_fn(|| queue.pop_front()).find(|name| {
            // Others were given up, or asked twice and answered.
            names
                .get(name.as_str())
                .is_some_and(|it| it.until > now && it.answer.borrow().is_none())
        })
    }

    /// Whether there is no room; makes some, though not for every stranger anew.
    fn is_full(&mut self, now: Instant) -> bool {
        let full = |state: &Self| state.names.len().max(state.queue.len()) >= CAPACITY;
        if full(self) && self.swept.is_none_or(|at| now.duration_since(at) >= SWEEP) {
            self.swept = Some(now);
            self.names.retain(|_, entry| entry.until > now);
            let names = &self.names;
            self.queue.retain(|name| names.contains_key(name.as_str()));
        }
        full(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Hostname {
        format!("h{number}.test").parse().unwrap()
    }

    fn host() -> Host {
        Host::new("*.test".parse().unwrap())
    }

    /// What is known without waiting.
    async fn known(lookups: &Lookups, number: usize) -> bool {
        lookups.ask(name(number).as_str()).await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_reaches_all_who_wait_and_serves_for_a_while() {
        let lookups = Lookups::default();
        assert!(!known(&lookups, 0).await, "nobody serves yet");
        lookups.begin();
        let server = async {
            assert_eq!(lookups.next().await, name(0));
            lookups.answer(&name(0), Some(host()));
        };
        let (first, second, ()) = tokio::join!(known(&lookups, 0), known(&lookups, 0), server);
        assert!(first && second);
        tokio::time::advance(KNOWN - Duration::from_millis(1)).await;
        assert!(known(&lookups, 0).await);
        tokio::time::advance(Duration::from_millis(1)).await;
        let begun = Instant::now();
        assert!(!known(&lookups, 0).await, "it is asked for again, and nobody answers");
        // A timer goes by whole milliseconds.
        assert!((PATIENCE..PATIENCE * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_name_is_not_asked_for_again_at_once() {
        let lookups = Lookups::default();
        lookups.begin();
        let mut disabled = host();
        disabled.enabled = false;
        for (number, host) in [(0, None), (1, Some(disabled))] {
            let server = async {
                let asked = lookups.next().await;
                lookups.answer(&asked, host);
            };
            assert!(!tokio::join!(known(&lookups, number), server).0);
            let begun = Instant::now();
            assert!(!known(&lookups, number).await);
            assert_eq!(begun.elapsed(), Duration::ZERO);
        }
        lookups.forget();
        assert!(lookups.state().names.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_names_takes_bounded_room_and_what_is_over_makes_way() {
        let lookups = Lookups::default();
        lookups.begin();
        for number in 0..3 * CAPACITY {
            let asked = lookups.entry(name(number).as_str());
            assert_eq!(asked.is_some(), number < CAPACITY, "{number}");
        }
        tokio::time::advance(UNKNOWN).await;
        assert!(lookups.entry(name(CAPACITY).as_str()).is_some());
        assert_eq!(lookups.next().await, name(CAPACITY), "the others were given up");
        let state = lookups.state();
        assert_eq!((state.names.len(), state.queue.len()), (1, 0));
    }
}
