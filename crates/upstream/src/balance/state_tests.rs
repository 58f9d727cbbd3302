use model::{BreakerRules, HealthRules, HostRules, Span};
use proptest::collection::vec;
use proptest::prelude::*;

use super::care::Care;
use super::state::{Checked, Ending, Event, GATE, Phase, Rights, State};

const GOOD: Ending = Ending::Answered(false);

fn care(failures: u32) -> Care {
    let health =
        HealthRules { failures, eject_at_most: Span::seconds(8), ..HealthRules::default() };
    Care::new(&HostRules { health: Some(health), ..HostRules::default() }, 2)
}

fn with_breaker(failures: u32, successes: u32) -> Care {
    let breaker = BreakerRules { failures, successes, ..BreakerRules::default() };
    Care::new(&HostRules { breaker: Some(breaker), ..HostRules::default() }, 1)
}

fn go(state: &mut State, ending: Ending, now: u64, care: &Care) -> Option<Event> {
    let rights = state.enter(now, false).expect("it is open");
    let [passive, breaker] = state.ended(rights, ending, now, care);
    passive.or(breaker)
}

#[test]
fn one_that_refuses_is_left_out_at_once_and_longer_each_time() {
    let (mut state, care) = (State::default(), care(3));
    let mut now = 0;
    for hold in [1_000, 2_000, 4_000, 8_000, 8_000] {
        assert_eq!(go(&mut state, Ending::Unreached, now, &care), Some(Event::Ejected(hold)));
        assert!(!state.is_open(now + hold - 1, false), "{hold}");
        assert!(state.is_open(now + hold - 1, true), "there is no other");
        now += hold;
    }
    assert_eq!(go(&mut state, GOOD, now, &care), Some(Event::Readmitted));
    assert!(state.is_plain());
    let soon = now + 1_000;
    assert_eq!(go(&mut state, Ending::Unreached, soon, &care), Some(Event::Ejected(8_000)));
    assert_eq!(go(&mut state, GOOD, soon + 8_000, &care), Some(Event::Readmitted));
    let later = soon + 16_000;
    assert_eq!(go(&mut state, Ending::Unreached, later, &care), Some(Event::Ejected(1_000)));
    assert_eq!(state.ejections, 7);
}

#[test]
fn failures_count_in_a_row() {
    let (mut state, care) = (State::default(), care(3));
    for ending in [Ending::Failed, Ending::Failed, GOOD, Ending::Failed, Ending::Failed] {
        assert_eq!(go(&mut state, ending, 0, &care), None);
    }
    assert_eq!(go(&mut state, Ending::Failed, 0, &care), Some(Event::Ejected(1_000)));
}

#[test]
fn errors_of_a_gateway_count_when_asked_for() {
    let mut care = care(1);
    let mut state = State::default();
    assert_eq!(go(&mut state, Ending::Answered(true), 0, &care), None);
    care.passive.as_mut().unwrap().gateway_errors = true;
    assert_eq!(go(&mut state, Ending::Answered(true), 0, &care), Some(Event::Ejected(1_000)));
}

#[test]
fn one_request_tries_it_while_the_others_go_elsewhere() {
    let (mut state, care) = (State::default(), care(1));
    let under_way = state.enter(0, false).unwrap();
    go(&mut state, Ending::Failed, 0, &care);
    assert_eq!(state.ended(under_way, Ending::Failed, 10, &care), [None, None], "nothing new");
    let trial = state.enter(1_000, false).unwrap();
    assert_eq!(state.enter(1_001, false), None);
    // Its client gave up waiting.
    assert_eq!(state.ended(trial, Ending::Abandoned, 5_000, &care), [None, None]);
    assert!(!state.is_open(5_999, false) && state.is_open(6_000, false));
    let trial = state.enter(6_000, false).unwrap();
    assert_eq!(state.ended(trial, Ending::Failed, 6_500, &care)[0], Some(Event::Ejected(2_000)));
}

#[test]
fn a_breaker_opens_lets_one_through_and_closes() {
    let (mut state, care) = (State::default(), with_breaker(3, 2));
    for _ in 0..2 {
        assert_eq!(go(&mut state, Ending::Unreached, 0, &care), None);
    }
    assert_eq!(go(&mut state, Ending::Failed, 0, &care), Some(Event::Opened(10_000)));
    assert!(!state.is_open(9_999, true), "panic is no way round a breaker");
    assert_eq!(state.opens_in(4_000), 6_000);
    let probe = state.enter(10_000, false).unwrap();
    assert_eq!(state.enter(10_000, false), None);
    assert_eq!(state.ended(probe, Ending::Failed, 10_100, &care)[1], Some(Event::Opened(10_000)));
    assert_eq!(go(&mut state, GOOD, 20_100, &care), None);
    assert_eq!(state.phase(), Phase::Half(1, false));
    assert_eq!(go(&mut state, GOOD, 20_100, &care), Some(Event::Closed));
    assert!(state.is_plain());
}

#[test]
fn a_new_one_gets_nothing_before_its_first_good_answer_or_the_gate() {
    let rules = HealthRules { path: Some("/up".to_owned()), ..HealthRules::default() };
    let care = Care::new(&HostRules { health: Some(rules), ..HostRules::default() }, 2);
    let active = care.active.as_ref().unwrap();
    let mut state = State::default();
    state.watch(true, 0);
    assert!(!state.is_open(0, false) && state.is_open(0, true));
    assert_eq!(state.checked(false, GATE - 1, active), None);
    assert_eq!(state.check(), Checked::Starting(0));
    assert_eq!(state.checked(false, GATE, active), Some(Event::Unhealthy));
    assert_eq!(state.checked(true, GATE, active), None, "from now on it takes two");
    assert_eq!(state.checked(true, GATE, active), Some(Event::Healthy));
    for _ in 0..2 {
        assert_eq!(state.checked(false, GATE, active), None);
    }
    assert_eq!(state.checked(false, GATE, active), Some(Event::Unhealthy));

    let mut quick = State::default();
    quick.watch(true, 0);
    assert_eq!(quick.checked(true, 10, active), Some(Event::Healthy));
    assert!(quick.is_plain());
}

proptest! {
    /// Whatever happens in whatever order: never two probes at once; what is out comes back by one good request; and once all
    /// is well, nothing is left over.
    #[test]
    fn nothing_is_lost_by_any_order(steps in vec((0u8..6, 0u64..3_000), 1..200)) {
        let mut care = care(2);
        care.breaker = with_breaker(3, 2).breaker;
        let (mut state, mut now) = (State::default(), 0);
        let mut under_way: Vec<Rights> = Vec::new();
        for (what, pause) in steps {
            now += pause;
            let ending = match what {
                0 | 1 => {
                    if let Some(rights) = state.enter(now, what == 1) {
                        under_way.push(rights);
                    }
                    let probes =
                        under_way.iter().filter(|it| format!("{it:?}").contains("probe: true"));
                    prop_assert!(probes.count() <= 1, "{under_way:?}");
                    continue;
                }
                2 => Ending::Abandoned,
                3 => Ending::Failed,
                4 => Ending::Unreached,
                _ => GOOD,
            };
            if !under_way.is_empty() {
                let rights = under_way.remove(usize::try_from(now).unwrap() % under_way.len());
                state.ended(rights, ending, now, &care);
                prop_assert!(ending != GOOD || !state.is_out());
            }
        }
        // All end, and time heals: good requests alone lead back to a plain state.
        for rights in under_way {
            state.ended(rights, Ending::Abandoned, now, &care);
        }
        for _ in 0..3 {
            now += 100_000;
            if let Some(rights) = state.enter(now, false) {
                state.ended(rights, GOOD, now, &care);
            }
        }
        prop_assert!(state.is_plain(), "{state:?}");
    }
}
