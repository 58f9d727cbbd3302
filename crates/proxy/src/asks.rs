use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// As many questions are remembered, answered or not; further ones have no answer until there is room again: they come from
/// strangers.
const CAPACITY: usize = 4096;
/// How many are being answered at once.
const AT_ONCE: usize = 16;
/// How long a request waits, and how long an answer may take.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long an answer serves.
const KNOWN: Duration = Duration::from_secs(10);
/// How long what has no answer is not asked for again.
const UNKNOWN: Duration = Duration::from_secs(2);
/// How often what is over is cleared away when there is no room.
const SWEEP: Duration = Duration::from_millis(100);

/// What requests came for and the tables don't have: asked elsewhere, bounded in number and time. Before somebody (`discovery`)
/// serves them, nobody waits.
#[derive(Debug)]
pub struct Asks<A> {
    served: AtomicBool,
    state: Mutex<State<A>>,
    added: Notify,
}

#[derive(Debug)]
struct State<A> {
    queue: VecDeque<String>,
    questions: HashMap<String, Question<A>>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Question<A> {
    /// `None` until it is known whether there is an answer.
    answer: watch::Sender<Option<Option<A>>>,
    until: Instant,
}

impl<A> Default for State<A> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), questions: HashMap::new(), swept: None }
    }
}

impl<A> Default for Asks<A> {
    fn default() -> Self {
        Self { served: AtomicBool::new(false), state: Mutex::default(), added: Notify::new() }
    }
}

impl<A: Clone> Asks<A> {
    /// Answers what is asked by `find`. Never ends; for one at a time.
    pub async fn serve<F>(&self, find: impl Fn(String) -> F)
    where
        F: Future<Output = Option<A>>,
    {
        self.served.store(true, Ordering::Relaxed);
        let questions = stream::unfold((), |()| async { Some((self.next().await, ())) });
        questions
            .for_each_concurrent(AT_ONCE, |question| {
                let finding = find(question.clone());
                async move {
                    let found = timeout(PATIENCE, finding).await.ok().flatten();
                    self.answer(&question, found);
                }
            })
            .await;
    }

    /// Takes a question out that somebody waits for; waits for one when there is none.
    async fn next(&self) -> String {
        loop {
            if let Some(question) = self.state().pop(Instant::now()) {
                return question;
            }
            self.added.notified().await;
        }
    }

    /// Says what the answer is, or that there is none.
    fn answer(&self, question: &str, answer: Option<A>) {
        let until = Instant::now() + if answer.is_some() { KNOWN } else { UNKNOWN };
        if let Some(asked) = self.state().questions.get_mut(question) {
            asked.until = until;
            asked.answer.send_replace(Some(answer));
        }
    }

    /// The answer, if it is known in time.
    pub(crate) async fn ask(&self, question: &str) -> Option<A> {
        if !self.served.load(Ordering::Relaxed) {
            return None;
        }
        let mut told = self.question(question)?;
        let answer = timeout(PATIENCE, told.wait_for(Option::is_some)).await.ok()?.ok()?;
        answer.clone().flatten()
    }

    /// Forgets everything. Who waits is told nothing.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        if !state.questions.is_empty() {
            *state = State::default();
        }
    }

    /// Where the answer will stand, or stands; `None` when there is no room for it.
    fn question(&self, question: &str) -> Option<watch::Receiver<Option<Option<A>>>> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(asked) = state.questions.get(question).filter(|asked| asked.until > now) {
            return Some(asked.answer.subscribe());
        }
        if state.is_full(now) {
            return None;
        }
        let (answer, told) = watch::channel(None);
        state.questions.insert(question.to_owned(), Question { answer, until: now + UNKNOWN });
        state.queue.push_back(question.to_owned());
        drop(state);
        self.added.notify_one();
        Some(told)
    }

    fn state(&self) -> MutexGuard<'_, State<A>> {
        // Every state of it is a good one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> State<A> {
    fn pop(&mut self, now: Instant) -> Option<String> {
        let (queue, questions) = (&mut self.queue, &self.questions);
        std::iter::from_fn(|| queue.pop_front()).find(|question| {
            // Others were given up, or asked twice and answered.
            questions.get(question).is_some_and(|it| it.until > now && it.answer.borrow().is_none())
        })
    }

    /// Whether there is no room; makes some, though not for every stranger anew.
    fn is_full(&mut self, now: Instant) -> bool {
        let full = |state: &Self| state.questions.len().max(state.queue.len()) >= CAPACITY;
        if full(self) && self.swept.is_none_or(|at| now.duration_since(at) >= SWEEP) {
            self.swept = Some(now);
            self.questions.retain(|_, asked| asked.until > now);
            let questions = &self.questions;
            self.queue.retain(|question| questions.contains_key(question));
        }
        full(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> String {
        format!("h{number}.test")
    }

    /// What is known without waiting.
    async fn known(asks: &Asks<u8>, number: usize) -> bool {
        asks.ask(&name(number)).await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_reaches_all_who_wait_and_serves_for_a_while() {
        let asks = Asks::default();
        assert!(!known(&asks, 0).await, "nobody serves yet");
        tokio::select! {
            biased;
            () = asks.serve(async |question| (question == name(0)).then_some(1)) => {}
            (first, second) = async { tokio::join!(known(&asks, 0), known(&asks, 0)) } => {
                assert!(first && second);
            }
        }
        tokio::time::advance(KNOWN - Duration::from_millis(1)).await;
        assert!(known(&asks, 0).await);
        tokio::time::advance(Duration::from_millis(1)).await;
        let begun = Instant::now();
        assert!(!known(&asks, 0).await, "it is asked for again, and nobody answers");
        // A timer goes by whole milliseconds.
        assert!((PATIENCE..PATIENCE * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_answer_is_not_asked_for_again_at_once() {
        let asks = Asks::default();
        asks.served.store(true, Ordering::Relaxed);
        let server = async {
            let asked = asks.next().await;
            asks.answer(&asked, None);
        };
        assert!(!tokio::join!(known(&asks, 0), server).0);
        let begun = Instant::now();
        assert!(!known(&asks, 0).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        asks.forget();
        assert!(asks.state().questions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_questions_takes_bounded_room_and_what_is_over_makes_way() {
        let asks = Asks::<u8>::default();
        asks.served.store(true, Ordering::Relaxed);
        for number in 0..3 * CAPACITY {
            let asked = asks.question(&name(number));
            assert_eq!(asked.is_some(), number < CAPACITY, "{number}");
        }
        tokio::time::advance(UNKNOWN).await;
        assert!(asks.question(&name(CAPACITY)).is_some());
        assert_eq!(asks.next().await, name(CAPACITY), "the others were given up");
        let state = asks.state();
        assert_eq!((state.questions.len(), state.queue.len()), (1, 0));
    }
}
