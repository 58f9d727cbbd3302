use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::Shutdown;

/// The owner of spawned tasks. Clones share one set.
///
/// A task that panics costs itself, a log line and a count, nothing else; only a [service](Self::service) is more
/// than that.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    panics: Arc<AtomicU64>,
    death: watch::Sender<Option<ServiceDied>>,
}

/// A service ended although nobody asked it to. The program can't do its work any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("service {name} {how}")]
pub struct ServiceDied {
    /// The name it was spawned under.
    pub name: &'static str,
    /// What happened, for the log: `ended` or `panicked: <message>`.
    pub how: String,
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        let (death, _) = watch::channel(None);
        Self { tracker: TaskTracker::new(), panics: Arc::default(), death }
    }

    /// Spawns a task on the current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime, as tokio's own `spawn`.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(contained(name, self.panics.clone(), future));
    }

    /// Spawns a task that need not be `Send` on the current worker's runtime.
    ///
    /// # Panics
    /// Outside a local runtime ([`Workers`](crate::Workers)), as tokio's own `spawn_local`.
    pub fn spawn_local(&self, name: &'static str, future: impl Future<Output = ()> + 'static) {
        self.tracker.spawn_local(contained(name, self.panics.clone(), future));
    }

    /// Spawns a task without which the program can't do its work. If it ends or panics before `shutdown` drains,
    /// [`died`](Self::died) tells.
    ///
    /// # Panics
    /// As [`spawn`](Self::spawn).
    pub fn service(
        &self,
        name: &'static str,
        shutdown: &Shutdown,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let (death, shutdown, panics) = (self.death.clone(), shutdown.clone(), self.panics.clone());
        self.tracker.spawn(async move {
            let end = AssertUnwindSafe(future).catch_unwind().await;
            let how = match end {
                Ok(()) if shutdown.is_draining() => return,
                Ok(()) => "ended".to_owned(),
                Err(panic) => {
                    panics.fetch_add(1, Ordering::Relaxed);
                    format!("panicked: {}", panic_message(&*panic))
                }
            };
            tracing::error!(service = name, how, "a service died");
            death.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(ServiceDied { name, how });
                is_first
            });
        });
    }

    /// How many tasks are running.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether no task is running.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// How many tasks have panicked so far.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Waits until every task, those spawned meanwhile included, has ended. Cancel safe.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Waits for the first death of a service; for ever if none dies. Cancel safe.
    pub async fn died(&self) -> ServiceDied {
        let mut death = self.death.subscribe();
        let first = death.wait_for(Option::is_some).await.ok().and_then(|death| death.clone());
        match first {
            Some(death) => death,
            None => std::future::pending().await,
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

/// Made of combinators: an async block would hold the future twice, as it is given and as it runs, and a worker moves one
/// for every connection and every HTTP/2 request.
fn contained<F>(
    name: &'static str,
    panics: Arc<AtomicU64>,
    future: F,
) -> impl Future<Output = ()> + use<F>
where
    F: Future<Output = ()>,
{
    AssertUnwindSafe(future).catch_unwind().map(move |end| {
        if let Err(panic) = end {
            panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(task = name, message = panic_message(&*panic), "a task panicked");
        }
    })
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_task_is_counted_and_harms_nobody() {
        let tasks = Tasks::new();
        tasks.spawn("bad", async { panic!("on purpose") });
        tasks.spawn("good", async {});
        tasks.wait().await;
        assert_eq!(tasks.panics(), 1);
        assert!(tasks.died().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_service_that_ends_early_or_panics_has_died() {
        let (tasks, shutdown) = (Tasks::new(), Shutdown::new());
        tasks.service("early", &shutdown, async {});
        assert_eq!(tasks.died().await, ServiceDied { name: "early", how: "ended".into() });

        let tasks = Tasks::new();
        tasks.service("broken", &shutdown, async { panic!("no {}", "way") });
        assert_eq!(tasks.died().await.to_string(), "service broken panicked: no way");
    }

    #[tokio::test]
    async fn a_service_that_ends_on_drain_has_not_died() {
        let (tasks, shutdown) = (Tasks::new(), Shutdown::new());
        let stop = shutdown.clone();
        tasks.service("polite", &shutdown, async move { stop.draining().await });
        shutdown.drain();
        tasks.wait().await;
        assert!(tasks.died().now_or_never().is_none());
    }
}
