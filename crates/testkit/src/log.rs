use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, dispatcher};

/// What this thread logs at `trace` while it lives: for tests of what a log holds, and of what it must never hold.
pub struct Log {
    written: Shared,
    _guard: DefaultGuard,
    _second: Dispatch,
}

impl Log {
    /// Starts to listen.
    #[must_use]
    pub fn start() -> Self {
        // With one dispatcher in the process, a place in the source that logs for the first time asks the dispatcher
        // of its *thread* whether anyone listens, and that holds for all threads and for good. Another test's thread
        // has none. With two, all of them are asked.
        let second = Dispatch::new(tracing::subscriber::NoSubscriber::new());
        let written = Shared::default();
        let writer = written.clone();
        let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
        let listener = Dispatch::new(everything.with_writer(move || writer.clone()).finish());
        Self { written, _guard: dispatcher::set_default(&listener), _second: second }
    }

    /// All of it up to now.
    #[must_use]
    pub fn text(&self) -> String {
        let written = self.written.0.lock().expect("no writer panics");
        String::from_utf8_lossy(&written).into_owned()
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
