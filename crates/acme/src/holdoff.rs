use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use certs::{Failure, Stage};
use model::{HostPattern, Timestamp};
use runtime::Clock;

use crate::failure::At;

/// Which authorities said that they do not want to be asked again before some time.
///
/// Said of an order, it holds for the name; said before that, for every name. Whoever calls an issuer heeds the time of the whole
/// list; this is for the names and the authorities that it can't know of.
pub(crate) struct HoldOffs {
    clock: Clock,
    /// By directory, and name where it is of one.
    until: Mutex<HashMap<Whom, (Timestamp, Said)>>,
}

/// A directory, and the name where it is of one.
type Whom = (String, Option<HostPattern>);

/// What is told again meanwhile.
#[derive(Clone)]
struct Said {
    stage: Stage,
    code: String,
    detail: String,
    problem: Option<String>,
}

impl HoldOffs {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, until: Mutex::default() }
    }

    /// Remembers what a failure says about when to come back.
    pub(crate) fn note(&self, directory: &str, name: &HostPattern, failure: &Failure) {
        let of_directory = failure.directory.as_deref() == Some(directory);
        let Some(after) = failure.retry_after.filter(|after| of_directory && !after.is_zero())
        else {
            return;
        };
        let now = Timestamp::from(self.clock.now());
        let of = (failure.stage > Stage::Account).then(|| name.clone());
        let said = Said {
            stage: failure.stage,
            code: failure.code.clone(),
            detail: failure.detail.clone(),
            problem: failure.problem.clone(),
        };
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, (until, _)| *until > now);
        let entry = until.entry((directory.to_owned(), of)).or_insert((now, said.clone()));
        if entry.0 < now.plus(after) {
            *entry = (now.plus(after), said);
        }
    }

    /// Why an authority is not to be asked now.
    pub(crate) fn of(&self, directory: &str, name: &HostPattern) -> Option<Failure> {
        let now = Timestamp::from(self.clock.now());
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let known = [None, Some(name.clone())];
        let known = known.into_iter().filter_map(|of| until.get(&(directory.to_owned(), of)));
        let (until, said) =
            known.filter(|(until, _)| *until > now).max_by_key(|(until, _)| *until)?;
        let at = At { stage: said.stage, directory, name: name.as_str() };
        let mut failure = at.failure(&said.code, said.detail.clone());
        failure.problem = said.problem.clone();
        failure.retry_after = Some(until.since(now));
        Some(failure)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_was_said_holds_for_as_long_and_for_whom_it_was_said() {
        let (clock, hand) = Clock::manual(SystemTime::UNIX_EPOCH);
        let held = HoldOffs::new(clock);
        let name = |text: &str| text.parse::<HostPattern>().unwrap();
        let failure = |stage, seconds| {
            let at = At { stage, directory: "one", name: "a.test" };
            Failure {
                retry_after: Some(Duration::from_secs(seconds)),
                ..at.failure("rateLimited", "too much".to_owned())
            }
        };
        held.note("one", &name("a.test"), &failure(Stage::Order, 60));
        let is_held = |directory: &str, of: &str| held.of(directory, &name(of)).is_some();
        assert!(is_held("one", "a.test") && !is_held("one", "b.test") && !is_held("two", "a.test"));
        // A shorter time does not shorten a longer one.
        held.note("one", &name("a.test"), &failure(Stage::Order, 10));
        hand.advance(Duration::from_secs(59));
        let told = held.of("one", &name("a.test")).unwrap();
        assert_eq!(told.retry_after, Some(Duration::from_secs(1)));
        assert_eq!((told.code.as_str(), told.detail.as_str()), ("rateLimited", "too much"));
        hand.advance(Duration::from_secs(1));
        assert!(!is_held("one", "a.test"));
        held.note("one", &name("a.test"), &failure(Stage::Account, 5));
        assert!(is_held("one", "b.test"));
        held.note("two", &name("a.test"), &failure(Stage::Order, 0));
        assert!(!is_held("two", "a.test"));
    }
}
