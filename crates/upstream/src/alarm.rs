use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Goes off when the other end has owed something for too long.
///
/// It costs a request next to nothing: the timer behind it is set once per limit and connection, and only moved
/// on when it fires early.
#[derive(Debug)]
pub(crate) struct Alarm {
    limit: Option<Duration>,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// None: never goes off.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self { limit, waiting_since: None, timer: None }
    }

    /// Something came, or nothing is owed: the time starts anew with the next [`poll`](Self::poll).
    pub(crate) fn rest(&mut self) {
        self.waiting_since = None;
    }

    /// Ready when the limit has passed since the first poll after the last [`rest`](Self::rest).
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let due = *self.waiting_since.get_or_insert_with(Instant::now) + limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn is_due(alarm: &mut Alarm) -> bool {
        alarm.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_after_the_limit_and_not_before() {
        let mut alarm = Alarm::new(Some(10 * SECOND));
        let start = Instant::now();
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn rest_makes_the_time_start_anew() {
        let mut alarm = Alarm::new(Some(10 * SECOND));
        for _ in 0..5 {
            assert!(!is_due(&mut alarm));
            advance(9 * SECOND).await;
            alarm.rest();
            // Idle time counts for nothing.
            advance(60 * SECOND).await;
        }
        assert!(!is_due(&mut alarm));
        let start = Instant::now();
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_it_never_goes_off() {
        let mut alarm = Alarm::new(None);
        advance(1_000_000 * SECOND).await;
        assert!(!is_due(&mut alarm));
    }
}
