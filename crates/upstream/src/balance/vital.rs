use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::state::{Rights, State};

/// How many upstreams of the process something stands against: mostly none, and then nobody has to look for them.
static TROUBLED: AtomicUsize = AtomicUsize::new(0);

/// How one upstream of a group fares, for all workers.
///
/// While nothing is wrong a request reads one flag and writes nothing.
#[derive(Debug, Default)]
pub(crate) struct Vital {
    troubled: AtomicBool,
    /// Requests in flight, where they are counted.
    load: AtomicU32,
    /// Since when something stands against it, in milliseconds.
    since: AtomicU64,
    state: Mutex<State>,
}

impl Vital {
    /// Whether a request may go there now; the clock is read only when something is wrong.
    pub(crate) fn is_open(&self, panic: bool) -> bool {
        !self.troubled.load(Relaxed) || self.state().is_open(millis(), panic)
    }

    /// A request goes there, if it still may.
    pub(crate) fn enter(&self, panic: bool) -> Option<Rights> {
        if !self.troubled.load(Relaxed) {
            return Some(Rights::default());
        }
        self.change(|state, now| state.enter(now, panic))
    }

    /// Whether there is anything to look at when a request has ended well.
    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Relaxed)
    }

    /// Changes what is known of it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State, u64) -> T) -> T {
        let mut state = self.state();
        let now = millis();
        let done = change(&mut state, now);
        let is_troubled = !state.is_plain();
        if is_troubled != self.troubled.swap(is_troubled, Relaxed) {
            self.since.store(now, Relaxed);
            match is_troubled {
                true => TROUBLED.fetch_add(1, Relaxed),
                false => TROUBLED.fetch_sub(1, Relaxed),
            };
        }
        done
    }

    /// Looks at what is known of it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State, u64) -> T) -> T {
        look(&self.state(), millis())
    }

    /// Since when something stands against it, as [`millis`].
    pub(crate) fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }

    pub(crate) fn load(&self) -> u32 {
        self.load.load(Relaxed)
    }

    /// Counts a request in flight, unless that would be more than this.
    pub(crate) fn lift(&self, most: u32) -> bool {
        self.load.fetch_update(Relaxed, Relaxed, |load| (load < most).then(|| load + 1)).is_ok()
    }

    /// One fewer.
    pub(crate) fn lower(&self) {
        let _ = self.load.fetch_update(Relaxed, Relaxed, |load| load.checked_sub(1));
    }

    /// A poisoned lock is as good as a sound one: each change leaves a whole state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if *self.troubled.get_mut() {
            TROUBLED.fetch_sub(1, Relaxed);
        }
    }
}

/// Whether something stands against any upstream of the process.
pub(crate) fn is_any_troubled() -> bool {
    TROUBLED.load(Relaxed) > 0
}

/// Milliseconds since the first call in this process.
pub(crate) fn millis() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
