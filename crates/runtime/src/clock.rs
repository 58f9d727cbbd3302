use std::time::{Duration, SystemTime};

use tokio::sync::watch;

/// Where wall-clock time comes from: the system, or a test's hand.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (clock, hand) = runtime::Clock::manual(SystemTime::UNIX_EPOCH);
/// let sleeping = clock.sleep(Duration::from_secs(60));
/// hand.advance(Duration::from_secs(60));
/// sleeping.await;
/// assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(60));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(watch::Receiver<SystemTime>),
}

impl Clock {
    /// The system's clock; it sleeps by tokio's timer.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until its hand is moved.
    pub fn manual(start: SystemTime) -> (Self, ManualClock) {
        let (sender, receiver) = watch::channel(start);
        (Self(Source::Manual(receiver)), ManualClock(sender))
    }

    /// The time now.
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the system's clock"
            )]
            Source::System => SystemTime::now(),
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Waits until this much time has passed, counted from the call and not from the first poll. Cancel safe.
    ///
    /// On a manual clock whose hand was dropped it never returns.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        let wait = match &self.0 {
            Source::System => Wait::System(tokio::time::Instant::now().checked_add(duration)),
            Source::Manual(time) => Wait::Manual(time.clone(), time.borrow().checked_add(duration)),
        };
        async move {
            match wait {
                Wait::System(Some(deadline)) => tokio::time::sleep_until(deadline).await,
                Wait::Manual(mut time, Some(deadline)) => {
                    if time.wait_for(|now| *now >= deadline).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                Wait::System(None) | Wait::Manual(_, None) => std::future::pending().await,
            }
        }
    }
}

/// Until when; no deadline is one that no clock can show.
enum Wait {
    System(Option<tokio::time::Instant>),
    Manual(watch::Receiver<SystemTime>, Option<SystemTime>),
}

/// The hand of a manual [`Clock`].
#[derive(Debug)]
pub struct ManualClock(watch::Sender<SystemTime>);

impl ManualClock {
    /// Moves time forward and wakes the sleepers it reaches.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }

    /// Sets the time, backwards too: clocks do that.
    pub fn set(&self, to: SystemTime) {
        self.0.send_replace(to);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_manual_sleep_ends_exactly_at_its_deadline() {
        let (clock, hand) = Clock::manual(SystemTime::UNIX_EPOCH);
        let mut sleep = Box::pin(clock.sleep(Duration::from_secs(10)));
        hand.advance(Duration::from_secs(9));
        assert!(sleep.as_mut().now_or_never().is_none());
        hand.advance(Duration::from_secs(1));
        sleep.await;
    }

    #[tokio::test]
    async fn a_sleep_beyond_all_time_is_for_ever() {
        let (manual, _hand) = Clock::manual(SystemTime::UNIX_EPOCH);
        for clock in [manual, Clock::system()] {
            assert!(clock.sleep(Duration::MAX).now_or_never().is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_system_sleep_uses_the_timer() {
        let before = tokio::time::Instant::now();
        Clock::system().sleep(Duration::from_secs(3600)).await;
        assert!(before.elapsed() >= Duration::from_secs(3600));
    }
}
