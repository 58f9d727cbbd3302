use std::time::Duration;

/// How long a reading that has time may take.
const BUDGET: Duration = Duration::from_secs(600);
/// How long it rests after a page, as a multiple of what the page took: a page is a twentieth of the time, 5 % of a core.
const REST: u32 = 19;

/// Spreads a reading of everything over time.
///
/// After each page comes a rest: long enough that the pages are 5 % of the time, and short enough that the pages to come
/// fit into what is left of ten minutes. How many they are is told by the reading before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    spent: Duration,
}

impl Pace {
    /// How long to rest after a page that `took` so long, with so many pages to come.
    pub(crate) fn rest(&mut self, took: Duration, to_come: usize) -> Duration {
        self.spent = self.spent.saturating_add(took);
        let to_come = u32::try_from(to_come).unwrap_or(u32::MAX).max(1);
        // What the pages take is not there to rest.
        let work = took.saturating_mul(to_come);
        let left = BUDGET.saturating_sub(self.spent.saturating_add(work)) / to_come;
        let rest = left.min(took.saturating_mul(REST));
        self.spent = self.spent.saturating_add(rest);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each case: pages, what one takes, and whether 5 % of ten minutes are enough for them.
    #[test]
    fn a_round_takes_a_twentieth_of_the_time_and_ten_minutes_at_most() {
        for (pages, millis, enough) in [
            (1, 3, true),
            (5, 3, true),
            (50, 4, true),
            (420, 30, true),
            (840, 35, true),
            (1_000, 30, true),
            (1_000, 60, false),
            (840, 300, false),
        ] {
            let took = Duration::from_millis(millis);
            let (mut pace, mut passed) = (Pace::default(), Duration::ZERO);
            for page in 1..=pages {
                passed += took + pace.rest(took, pages - page);
            }
            let work = took * u32::try_from(pages).unwrap();
            assert!(passed <= BUDGET + took, "{pages} pages of {took:?} took {passed:?}");
            if enough {
                assert!(work * 20 <= passed + took * 20, "{pages} pages of {took:?}: {passed:?}");
            } else {
                assert!(passed + Duration::from_secs(10) > BUDGET, "all of the time is used");
            }
        }
    }

    #[test]
    fn one_slow_page_does_not_make_the_round_longer() {
        let mut pace = Pace::default();
        let mut passed = Duration::ZERO;
        for page in 1..=800_usize {
            let took = Duration::from_millis(if page == 10 { 60_000 } else { 20 });
            passed += took + pace.rest(took, 800 - page);
        }
        assert!(passed < BUDGET, "{passed:?}");
    }

    /// More pages than were foretold: nothing is divided by none.
    #[test]
    fn a_table_that_grew_is_read_to_its_end() {
        let mut pace = Pace::default();
        for _ in 0..10_000 {
            let rest = pace.rest(Duration::from_millis(10), 0);
            assert!(rest <= Duration::from_millis(190));
        }
    }
}
