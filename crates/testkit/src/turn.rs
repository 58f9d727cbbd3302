use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Tests that measure time or memory under load run alone, the others beside each other.
static TURN: RwLock<()> = RwLock::const_new(());

/// Held by a test while it runs.
pub enum Turn {
    /// Beside others.
    Shared(RwLockReadGuard<'static, ()>),
    /// Alone.
    Alone(RwLockWriteGuard<'static, ()>),
}

/// For a test that may run beside others.
pub async fn shared() -> Turn {
    Turn::Shared(TURN.read().await)
}

/// For a test whose figures a neighbour would spoil.
pub async fn alone() -> Turn {
    Turn::Alone(TURN.write().await)
}
