//! How one upstream of a group fares: pure, with the time given in milliseconds since any fixed moment.

use super::care::{Active, Breaker, Care, Passive};

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Failed requests in a row.
    failures: u32,
    out: Option<Out>,
    /// How long it was out last, and when it came back.
    former: Option<(u64, u64)>,
    /// How often it was left out.
    pub(crate) ejections: u64,
    checked: Checked,
    breaker: Phase,
}

/// It is left out for a while, and then until a request that tries it succeeds.
#[derive(Clone, Copy, Debug)]
struct Out {
    until: u64,
    hold: u64,
    /// Whether a request is trying it.
    tried: bool,
}

/// What regular questions have shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It is not asked.
    #[default]
    Never,
    /// Since then it has been asked, and has not given one good answer.
    Starting(u64),
    /// Good, but for so many bad answers in a row.
    Good(u32),
    /// Bad, but for so many good answers in a row.
    Bad(u32),
}

/// Where the breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// All pass; so many failed in a row.
    #[default]
    Closed,
    /// None pass until then.
    Open(u64),
    /// One at a time passes; so many were good in a row, and whether one is under way.
    Half(u32, bool),
}

/// How a request ended, as far as the upstream is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It answered; whether that was 502, 503 or 504.
    Answered(bool),
    /// There was no connection.
    Unreached,
    /// It did not answer, or no sense.
    Failed,
    /// The client went away, or its body failed: that says nothing.
    Abandoned,
}

/// A change that is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Left out for so many milliseconds.
    Ejected(u64),
    Readmitted,
    Opened(u64),
    Closed,
    Healthy,
    Unhealthy,
}

/// What a request has the sole right to; given back by [`State::ended`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// It tries one that was left out.
    trial: bool,
    /// It probes behind a breaker.
    probe: bool,
}

/// How long an upstream may take to start.
pub(crate) const GATE: u64 = 15_000;

impl State {
    /// Whether nothing stands against it, and nothing that it does has to be looked at.
    pub(crate) fn is_plain(&self) -> bool {
        self.failures == 0
            && self.out.is_none()
            && self.breaker == Phase::Closed
            && matches!(self.checked, Checked::Never | Checked::Good(_))
    }

    /// Whether a request may go there now. `panic`: there is no other, so that only the breaker counts.
    pub(crate) fn is_open(&self, now: u64, panic: bool) -> bool {
        let breaker = match self.breaker {
            Phase::Closed => true,
            Phase::Open(until) => now >= until,
            Phase::Half(_, probed) => !probed,
        };
        let fit = !matches!(self.checked, Checked::Starting(_) | Checked::Bad(_));
        let back = self.out.is_none_or(|out| now >= out.until && !out.tried);
        breaker && (panic || (fit && back))
    }

    /// A request goes there, if it may.
    pub(crate) fn enter(&mut self, now: u64, panic: bool) -> Option<Rights> {
        if !self.is_open(now, panic) {
            return None;
        }
        let mut rights = Rights::default();
        if self.breaker != Phase::Closed {
            let good = if let Phase::Half(good, _) = self.breaker { good } else { 0 };
            self.breaker = Phase::Half(good, true);
            rights.probe = true;
        }
        if let Some(out) = &mut self.out
            && !panic
        {
            out.tried = true;
            rights.trial = true;
        }
        Some(rights)
    }

    /// A request that went there has ended.
    pub(crate) fn ended(
        &mut self,
        rights: Rights,
        ending: Ending,
        now: u64,
        care: &Care,
    ) -> [Option<Event>; 2] {
        if ending == Ending::Abandoned {
            self.abandoned(rights, now);
            return [None, None];
        }
        let counts = |gateway_errors: bool| ending == Ending::Answered(true) && gateway_errors;
        let is_bad = |gateway_errors: Option<bool>| {
            gateway_errors
                .is_some_and(|errors| !matches!(ending, Ending::Answered(_)) || counts(errors))
        };
        let bad = is_bad(care.passive.map(|it| it.gateway_errors));
        let tripping = is_bad(care.breaker.map(|it| it.gateway_errors));
        self.failures = if bad || tripping { self.failures.saturating_add(1) } else { 0 };
        let passive = match care.passive {
            Some(passive) if bad => self.eject(rights, ending, now, passive),
            _ => self.readmit(now),
        };
        let breaker = match care.breaker {
            Some(breaker) if tripping => self.trip(rights, now, breaker),
            Some(breaker) => self.mend(rights, breaker),
            None => {
                self.breaker = Phase::Closed;
                None
            }
        };
        [passive, breaker]
    }

    /// Neither good nor bad; yet whoever kept a client waiting until it left is not tried again at once.
    fn abandoned(&mut self, rights: Rights, now: u64) {
        if let (Some(out), true) = (&mut self.out, rights.trial) {
            (out.until, out.tried) = (now.saturating_add(out.hold), false);
        }
        if let (Phase::Half(good, _), true) = (self.breaker, rights.probe) {
            self.breaker = Phase::Half(good, false);
        }
    }

    fn eject(
        &mut self,
        rights: Rights,
        ending: Ending,
        now: u64,
        passive: Passive,
    ) -> Option<Event> {
        let is_enough = ending == Ending::Unreached || self.failures >= passive.failures;
        // Those that were under way when it was left out say nothing new.
        if !rights.trial && (self.out.is_some() || !is_enough) {
            return None;
        }
        let grown = |hold: u64| hold.saturating_mul(2).clamp(passive.hold, passive.longest);
        let hold = match (self.out, self.former) {
            (Some(out), _) => grown(out.hold),
            // Well for less time than it was out: it is the same trouble still.
            (None, Some((hold, back))) if now.saturating_sub(back) < hold => grown(hold),
            _ => passive.hold.min(passive.longest),
        };
        self.out = Some(Out { until: now.saturating_add(hold), hold, tried: false });
        self.ejections += 1;
        Some(Event::Ejected(hold))
    }

    fn readmit(&mut self, now: u64) -> Option<Event> {
        let out = self.out.take()?;
        self.former = Some((out.hold, now));
        Some(Event::Readmitted)
    }

    fn trip(&mut self, rights: Rights, now: u64, breaker: Breaker) -> Option<Event> {
        let opens = match self.breaker {
            Phase::Closed => self.failures >= breaker.failures,
            Phase::Half(..) => rights.probe,
            Phase::Open(_) => false,
        };
        if !opens {
            return None;
        }
        self.breaker = Phase::Open(now.saturating_add(breaker.open_for));
        Some(Event::Opened(breaker.open_for))
    }

    fn mend(&mut self, rights: Rights, breaker: Breaker) -> Option<Event> {
        let Phase::Half(good, _) = self.breaker else { return None };
        if !rights.probe {
            return None;
        }
        if good + 1 < breaker.successes {
            self.breaker = Phase::Half(good + 1, false);
            return None;
        }
        self.breaker = Phase::Closed;
        Some(Event::Closed)
    }

    /// From now on it is asked regularly, or no more.
    pub(crate) fn watch(&mut self, is_asked: bool, now: u64) {
        match (is_asked, self.checked) {
            (true, Checked::Never) => self.checked = Checked::Starting(now),
            (true, _) => {}
            (false, _) => self.checked = Checked::Never,
        }
    }

    /// It was asked.
    pub(crate) fn checked(&mut self, is_good: bool, now: u64, active: &Active) -> Option<Event> {
        let (next, event) = match (self.checked, is_good) {
            (Checked::Never, _) => (Checked::Never, None),
            (Checked::Starting(_), true) => (Checked::Good(0), Some(Event::Healthy)),
            (Checked::Starting(since), false) if now.saturating_sub(since) < GATE => {
                (self.checked, None)
            }
            (Checked::Starting(_), false) => (Checked::Bad(0), Some(Event::Unhealthy)),
            (Checked::Good(_), true) => (Checked::Good(0), None),
            (Checked::Good(bad), false) if bad + 1 < active.unhealthy_after => {
                (Checked::Good(bad + 1), None)
            }
            (Checked::Good(_), false) => (Checked::Bad(0), Some(Event::Unhealthy)),
            (Checked::Bad(_), false) => (Checked::Bad(0), None),
            (Checked::Bad(good), true) if good + 1 < active.healthy_after => {
                (Checked::Bad(good + 1), None)
            }
            (Checked::Bad(_), true) => (Checked::Good(0), Some(Event::Healthy)),
        };
        self.checked = next;
        event
    }

    /// What regular questions have shown.
    pub(crate) fn check(&self) -> Checked {
        self.checked
    }

    /// Where its breaker stands.
    pub(crate) fn phase(&self) -> Phase {
        self.breaker
    }

    /// Whether it is left out for what became of requests.
    pub(crate) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// How long its breaker stays open, in milliseconds.
    pub(crate) fn opens_in(&self, now: u64) -> u64 {
        if let Phase::Open(until) = self.breaker { until.saturating_sub(now) } else { 0 }
    }
}
