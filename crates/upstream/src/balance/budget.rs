/// How many requests may be sent a second time, so that an outage does not double the load: a fifth of the requests of the
/// last ten seconds, and a few in any case. One worker's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    since: u64,
    requests: u64,
    repeats: u64,
}

/// In milliseconds.
const WINDOW: u64 = 10_000;
const FLOOR: u64 = 10;
const SHARE: u64 = 5;

impl Budget {
    /// A request begins. Reads no clock.
    pub(crate) fn request(&mut self) {
        self.requests += 1;
    }

    /// Whether one may be repeated at this time, in milliseconds since any fixed moment; counts it.
    pub(crate) fn take(&mut self, now: u64) -> bool {
        let age = now.saturating_sub(self.since);
        // Not at each call: what rounding takes away would add up.
        if age > WINDOW + WINDOW / 10 {
            // As if the rate had been even: of what was counted in this time only the last ten seconds stay.
            let scaled = |count: u64| count.saturating_mul(WINDOW) / age;
            (self.requests, self.repeats) = (scaled(self.requests), scaled(self.repeats));
            self.since = now - WINDOW;
        }
        let may = self.repeats < FLOOR + self.requests / SHARE;
        self.repeats += u64::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_and_a_few_may_be_repeated() {
        let mut budget = Budget::default();
        for second in 0..60u64 {
            let mut repeated = 0;
            for request in 0..100 {
                budget.request();
                repeated += u32::from(budget.take(second * 1_000 + request * 10));
            }
            println!("{second}: {repeated}");
            assert!(second < 1 || (15..=25).contains(&repeated), "{second}: {repeated}");
        }
    }

    #[test]
    fn a_quiet_hour_saves_nothing_up() {
        let mut budget = Budget::default();
        (0..3_600).for_each(|_| budget.request());
        let repeated = (0..1_000).filter(|_| budget.take(3_600_000)).count();
        assert_eq!(repeated, 12, "a fifth of ten seconds' requests, and ten");
    }
}
