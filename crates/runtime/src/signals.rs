use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Shutdown;

/// The signals a daemon listens to, registered but not yet acted on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Registers for SIGTERM, SIGINT and SIGHUP. From here on they no longer kill the process by themselves, so
/// [`Signals::obey`] must run.
///
/// # Errors
/// When the handlers can't be installed.
pub fn signals() -> io::Result<Signals> {
    Ok(Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
    })
}

impl Signals {
    /// Obeys them for ever: the first SIGTERM or SIGINT drains, a second one ends the process at once with the
    /// shell's code for it (128 + number), and each SIGHUP calls `on_hangup`.
    pub async fn obey(mut self, shutdown: Shutdown, mut on_hangup: impl FnMut() + Send) {
        loop {
            let number = tokio::select! {
                _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
                _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                _ = self.hangup.recv() => {
                    tracing::info!("SIGHUP: reopening files");
                    on_hangup();
                    continue;
                }
            };
            if shutdown.is_draining() {
                tracing::warn!(signal = number, "second signal: leaving now");
                std::process::exit(128 + number);
            }
            tracing::info!(signal = number, "draining; a second signal leaves at once");
            shutdown.drain();
        }
    }
}
