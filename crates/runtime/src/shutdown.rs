use tokio_util::sync::CancellationToken;

/// The order to stop, in two stages. Clones share one state; stages are only ever entered, never left.
///
/// 1. **Drain**: stop accepting, finish what is begun.
/// 2. **Abort**: the deadline has passed, drop what is left. Abort implies drain.
///
/// ```
/// let shutdown = runtime::Shutdown::new();
/// shutdown.abort();
/// assert!(shutdown.is_draining() && shutdown.is_aborted());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
}

impl Shutdown {
    /// A fresh one: nothing is stopping.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters the first stage.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Enters the second stage (and the first, when that was skipped).
    pub fn abort(&self) {
        self.drain.cancel();
        self.abort.cancel();
    }

    /// Whether the first stage has begun.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether the second stage has begun.
    pub fn is_aborted(&self) -> bool {
        self.abort.is_cancelled()
    }

    /// Waits for the first stage; returns at once when it has begun. Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Waits for the second stage; returns at once when it has begun. Cancel safe.
    pub async fn aborted(&self) {
        self.abort.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drain_alone_does_not_abort() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_draining());
        let twin = shutdown.clone();
        twin.drain();
        assert!(shutdown.is_draining());
        assert!(!shutdown.is_aborted());
    }

    #[tokio::test]
    async fn waiters_wake_and_late_waiters_return_at_once() {
        let shutdown = Shutdown::new();
        let waiter = shutdown.clone();
        let (_, ()) = tokio::join!(waiter.aborted(), async { shutdown.abort() });
        shutdown.draining().await;
        shutdown.aborted().await;
    }
}
