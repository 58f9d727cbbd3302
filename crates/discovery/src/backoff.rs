use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);

/// How long to wait after the next failure in a row: twice as long each time, less a random part so that proxies that
/// failed together don't return together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(10)).min(LAST);
        self.failures = self.failures.saturating_add(1);
        // Its keys are random.
        let random = RandomState::new().hash_one(self.failures) % 1024;
        (full / 2 + full / 2 * u32::try_from(random).unwrap_or(0) / 1024).max(FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_their_bounds() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..100).map(|_| backoff.next()).collect();
        assert!(waits.iter().all(|wait| (FIRST..=LAST).contains(wait)), "{waits:?}");
        assert!(waits[..3].iter().all(|wait| *wait <= FIRST * 4));
        assert!(waits[10..].iter().all(|wait| *wait >= LAST / 2));
    }
}
