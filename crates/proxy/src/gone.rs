//! The patterns of hosts that were taken out, for workers that keep something for each host.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many are remembered; a worker that missed more looks through all that it has.
const KEPT: usize = 4096;

/// One writer adds; each worker reads on from where it was.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    count: AtomicU64,
    recent: Mutex<VecDeque<String>>,
}

/// What was taken out since a worker last asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// These, some of which may be there again.
    These(Vec<String>),
    /// More than is remembered.
    Many,
}

impl Gone {
    pub(crate) fn add(&self, pattern: &str) {
        let mut recent = self.recent();
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(pattern.to_owned());
        self.count.fetch_add(1, Ordering::Release);
    }

    /// What came since `seen`, which is set to now. Nothing new costs a load.
    pub(crate) fn since(&self, seen: &Cell<u64>) -> Option<Since> {
        if self.count.load(Ordering::Acquire) == seen.get() {
            return None;
        }
        let recent = self.recent();
        let now = self.count.load(Ordering::Acquire);
        let missed = usize::try_from(now - seen.replace(now)).unwrap_or(usize::MAX);
        Some(match recent.len().checked_sub(missed) {
            Some(known) => Since::These(recent.iter().skip(known).cloned().collect()),
            None => Since::Many,
        })
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<String>> {
        // Every state of a queue is a good one.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_gets_what_is_new_to_it() {
        let gone = Gone::default();
        let (one, other) = (Cell::new(0), Cell::new(0));
        assert_eq!(gone.since(&one), None);
        gone.add("a.test");
        gone.add("b.test");
        let these =
            |names: &[&str]| Some(Since::These(names.iter().copied().map(str::to_owned).collect()));
        assert_eq!(gone.since(&one), these(&["a.test", "b.test"]));
        gone.add("c.test");
        assert_eq!(gone.since(&one), these(&["c.test"]));
        assert_eq!(gone.since(&one), None);
        assert_eq!(gone.since(&other), these(&["a.test", "b.test", "c.test"]));
        (0..=KEPT).for_each(|_| gone.add("d.test"));
        assert_eq!(gone.since(&one), Some(Since::Many));
        assert_eq!(gone.since(&one), None);
    }
}
