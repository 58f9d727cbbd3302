use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::with_causes;
use crate::{Clock, Shutdown};

/// Any error, for the status of a background task.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Work that brings the world to where it should be: idempotent, without input, run on an event and on a timer.
pub trait BackgroundTask: Send + 'static {
    /// Its name in status and logs.
    fn name(&self) -> &'static str;

    /// Does whatever is due now. `Ok` is a short sentence on what was done, `Err` keeps nothing from running again.
    ///
    /// Dropped half-way when the process aborts, so it must be safe to stop at any await.
    fn activate(&mut self) -> impl Future<Output = Result<String, BoxError>> + Send;
}

/// The handle on a background task: wakes it and knows how it fares. Made before the task, so that what wakes it
/// needn't wait for it to exist.
#[derive(Clone, Debug, Default)]
pub struct Activator(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    wake: Notify,
    status: Mutex<TaskStatus>,
}

/// How a background task fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskStatus {
    /// Its name; empty until it is driven.
    pub name: &'static str,
    /// How often it was activated.
    pub activations: u64,
    /// When the last activation began.
    pub last_started: Option<SystemTime>,
    /// When the last finished activation finished; before `last_started` while one is running.
    pub last_finished: Option<SystemTime>,
    /// What the last finished activation said: its sentence, or the error with its causes.
    pub last_result: Option<Result<String, String>>,
}

impl Activator {
    /// A handle for a task to come.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for an activation. Several wakes before it begins are one; a wake during one causes another after it.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Waits for a wake, for a task that is not run by [`drive`]. A wake that came before counts; one waiter gets it.
    pub async fn woken(&self) {
        self.0.wake.notified().await;
    }

    /// Says how the task fares, for one that is not run by [`drive`].
    pub fn set_status(&self, status: TaskStatus) {
        self.update(|kept| *kept = status);
    }

    /// How the task fares.
    pub fn status(&self) -> TaskStatus {
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut TaskStatus)) {
        change(&mut self.0.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Drives a task until the drain: at once, then whenever woken and at the latest `period` after its last end. An
/// activation under way when the drain begins is finished, unless the abort comes first.
pub async fn drive(
    mut task: impl BackgroundTask,
    period: Duration,
    activator: Activator,
    shutdown: Shutdown,
    clock: Clock,
) {
    let name = task.name();
    activator.update(|status| status.name = name);
    while !shutdown.is_draining() {
        // What woke us up to here is served by the activation that begins now.
        let _ = activator.0.wake.notified().now_or_never();
        activator.update(|status| {
            status.activations += 1;
            status.last_started = Some(clock.now());
        });
        let result = tokio::select! {
            result = task.activate() => result.map_err(|error| with_causes(&*error)),
            () = shutdown.aborted() => return,
        };
        match &result {
            Ok(done) => tracing::debug!(task = name, done, "background task"),
            Err(error) => tracing::warn!(task = name, error, "background task failed"),
        }
        activator.update(|status| {
            status.last_finished = Some(clock.now());
            status.last_result = Some(result);
        });
        tokio::select! {
            () = activator.0.wake.notified() => {}
            () = clock.sleep(period) => {}
            () = shutdown.draining() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::Tasks;

    struct Count(mpsc::Sender<u32>, u32);

    impl BackgroundTask for Count {
        fn name(&self) -> &'static str {
            "count"
        }

        async fn activate(&mut self) -> Result<String, BoxError> {
            self.1 += 1;
            self.0.send(self.1).await?;
            if self.1 == 2 { Err("second time unlucky".into()) } else { Ok(format!("{}", self.1)) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_at_once_on_wake_and_on_the_timer_until_drained() {
        let (tasks, shutdown, activator) = (Tasks::new(), Shutdown::new(), Activator::new());
        let (sender, mut runs) = mpsc::channel(1);
        let period = Duration::from_secs(3600);
        let task = Count(sender, 0);
        tasks.service(
            "count",
            &shutdown,
            drive(task, period, activator.clone(), shutdown.clone(), Clock::system()),
        );
        assert_eq!(runs.recv().await, Some(1));

        let before = tokio::time::Instant::now();
        activator.wake();
        activator.wake();
        assert_eq!(runs.recv().await, Some(2));
        assert_eq!(before.elapsed(), Duration::ZERO);

        assert_eq!(runs.recv().await, Some(3), "by the timer");
        assert!(before.elapsed() >= period);

        shutdown.drain();
        tasks.wait().await;
        let status = activator.status();
        assert_eq!((status.name, status.activations), ("count", 3));
        assert_eq!(status.last_result, Some(Ok("3".into())));
    }
}
