use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use crate::tasks::panic_message;

/// Threads with one single-threaded runtime each. What runs on a worker stays there, so nothing on it need be `Send`
/// and nothing it writes is shared.
#[derive(Debug)]
pub struct Workers {
    ends: Vec<oneshot::Receiver<Result<(), String>>>,
}

/// A worker's main future panicked: its share of the connections is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker {index} panicked: {message}")]
pub struct WorkerDied {
    /// Which one, from 0.
    pub index: usize,
    /// The panic's message.
    pub message: String,
}

impl Workers {
    /// Starts `count` threads called `<name>-<index>`. On each, `factory(index)` makes the worker's main future,
    /// which is then run to its end; tasks it left behind are dropped with the runtime.
    ///
    /// # Errors
    /// When a thread or its runtime can't be made (the limits on threads or open files); those already started get
    /// no future and end.
    pub fn spawn<F>(
        count: usize,
        name: &str,
        factory: impl Fn(usize) -> F + Send + Sync + Clone + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + 'static,
    {
        let mut started = Vec::with_capacity(count);
        for index in 0..count {
            started.push(start(index, format!("{name}-{index}"), factory.clone())?);
        }
        let mut ends = Vec::with_capacity(count);
        for (go, end) in started {
            // The receiver is there: the thread told it has a runtime and now waits for this word.
            let _ = go.send(());
            ends.push(end);
        }
        Ok(Self { ends })
    }

    /// How many were started.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// At the first panic, at once.
    pub async fn join(self) -> Result<(), WorkerDied> {
        let ends = self.ends.into_iter().enumerate().map(|(index, end)| async move {
            match end.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(message)) => Err(WorkerDied { index, message }),
                Err(_) => Err(WorkerDied { index, message: "its thread vanished".to_owned() }),
            }
        });
        futures_util::future::try_join_all(ends).await.map(|_| ())
    }
}

type Started = (mpsc::SyncSender<()>, oneshot::Receiver<Result<(), String>>);

fn start<F>(
    index: usize,
    name: String,
    factory: impl Fn(usize) -> F + Send + 'static,
) -> io::Result<Started>
where
    F: Future<Output = ()> + 'static,
{
    let (go, gone) = mpsc::sync_channel(1);
    let (built, is_built) = mpsc::sync_channel(1);
    let (ended, end) = oneshot::channel();
    thread::Builder::new().name(name).spawn(move || {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => {
                let _ = built.send(Ok(()));
                runtime
            }
            Err(error) => {
                let _ = built.send(Err(error));
                return;
            }
        };
        if gone.recv().is_ok() {
            let run = || runtime.block_on(async move { factory(index).await });
            let end = catch_unwind(AssertUnwindSafe(run));
            // Whoever joins may rely on it that the worker's tasks are dropped, and have said their last.
            drop(runtime);
            let _ = ended.send(end.map_err(|panic| panic_message(&*panic).to_owned()));
        }
    })?;
    is_built.recv().map_err(io::Error::other)??;
    Ok((go, end))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::Tasks;

    #[tokio::test]
    async fn workers_run_local_tasks_and_are_joined() {
        let sum = Arc::new(AtomicUsize::new(0));
        let shared = sum.clone();
        let workers = Workers::spawn(3, "w", move |index| {
            let sum = shared.clone();
            async move {
                let tasks = Tasks::new();
                let local = Rc::new(index);
                let name = thread::current().name().map(str::to_owned);
                assert_eq!(name, Some(format!("w-{index}")));
                tasks.spawn_local("add", async move {
                    sum.fetch_add(*local + 1, Ordering::Relaxed);
                });
                tasks.wait().await;
            }
        })
        .unwrap();
        assert_eq!(workers.count(), 3);
        workers.join().await.unwrap();
        assert_eq!(sum.load(Ordering::Relaxed), 6);
    }

    #[tokio::test]
    async fn a_panicking_worker_is_told_while_others_still_run() {
        let workers = Workers::spawn(2, "w", |index| async move {
            assert_eq!(index, 0, "on purpose");
            std::future::pending::<()>().await;
        })
        .unwrap();
        let died = workers.join().await.unwrap_err();
        assert_eq!(died.index, 1);
        assert!(died.message.contains("on purpose"));
    }
}
