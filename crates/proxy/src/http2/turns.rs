//! Whose turn it is within a connection: what woke its task.
//!
//! The codec and the streams of an HTTP/2 connection run in one task. Each has a waker of its own that notes whose turn it
//! is, so that only those are polled that have something to do, and a wake-up from within the task costs no further
//! round through the scheduler.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// The codec's place; those of the streams follow.
pub(super) const CODEC: usize = 0;

/// Who was woken since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    woken: Vec<usize>,
    /// By place, whether it stands in `woken`.
    waits: Vec<bool>,
    /// The task, and whether it runs: it looks again before it rests, and needn't be woken.
    task: Option<Waker>,
    runs: bool,
}

impl Turns {
    /// The task has begun to run.
    pub(super) fn begin(&self, cx: &Context<'_>) {
        let mut state = self.lock();
        state.runs = true;
        match &mut state.task {
            Some(task) => task.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Puts those that were woken into `woken`, which must be empty.
    pub(super) fn take(&self, woken: &mut Vec<usize>) {
        let state = &mut *self.lock();
        std::mem::swap(&mut state.woken, woken);
        for place in woken.iter() {
            if let Some(waits) = state.waits.get_mut(*place) {
                *waits = false;
            }
        }
    }

    /// Whether nobody was woken.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().woken.is_empty()
    }

    /// The task is about to rest: unless somebody was woken in the meantime.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.runs = false;
        if !state.woken.is_empty()
            && let Some(task) = &state.task
        {
            task.wake_by_ref();
        }
    }

    /// Gives a place its turn.
    pub(super) fn wake(&self, place: usize) {
        let mut state = self.lock();
        if state.waits.len() <= place {
            state.waits.resize(place + 1, false);
        }
        if std::mem::replace(&mut state.waits[place], true) {
            return;
        }
        state.woken.push(place);
        let first = state.woken.len() == 1 && !state.runs;
        let task = if first { state.task.clone() } else { None };
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of a place.
pub(super) fn waker(turns: &Arc<Turns>, place: usize) -> Waker {
    Waker::from(Arc::new(Place { turns: turns.clone(), place }))
}

struct Place {
    turns: Arc<Turns>,
    place: usize,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.turns.wake(self.place);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.turns.wake(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_task_is_woken_once_and_only_while_it_rests() {
        let (turns, count) = (Arc::new(Turns::default()), Arc::new(Count::default()));
        let task = Waker::from(count.clone());
        let woken = || count.0.load(Ordering::Relaxed);
        let (codec, stream) = (waker(&turns, CODEC), waker(&turns, 3));
        turns.begin(&Context::from_waker(&task));
        codec.wake_by_ref();
        assert_eq!(woken(), 0);
        let mut places = Vec::new();
        turns.take(&mut places);
        assert_eq!(places, [CODEC]);
        turns.end();
        assert_eq!(woken(), 0);
        stream.wake_by_ref();
        codec.wake_by_ref();
        stream.wake_by_ref();
        assert_eq!(woken(), 1);
        turns.begin(&Context::from_waker(&task));
        places.clear();
        turns.take(&mut places);
        assert_eq!(places, [3, CODEC]);
        stream.wake_by_ref();
        turns.end();
        assert_eq!(woken(), 2, "what came up meanwhile is not lost");
    }
}
