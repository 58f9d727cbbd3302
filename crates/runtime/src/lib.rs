//! What every long-running part of Gatewright stands on: stopping, owning tasks, time and threads.
//!
//! - [`Shutdown`] tells everyone to stop, in two stages: *drain* (finish what is begun) and *abort* (drop the rest).
//! - [`Tasks`] owns what was spawned. Nothing is detached: an owner can count its tasks and wait for them, a
//!   panicking task is logged and counted, and a [service](Tasks::service) that ends early is reported.
//! - [`Clock`] is the only source of wall-clock time, so that a test can turn it by hand.
//! - [`Workers`] are the data plane's threads: one single-threaded runtime each, whose futures need not be `Send`.
//! - [`drive`] runs a [`BackgroundTask`]: on an event and on a timer, by one code path, never twice at once.
//! - [`signals`] translates Unix signals; [`inherited_listeners`] takes the sockets of a service manager;
//!   [`raise_open_files`] makes room for connections.
//!
//! It knows nothing of HTTP, hosts or the store.
//!
//! ```
//! use runtime::{Shutdown, Tasks};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (shutdown, tasks) = (Shutdown::new(), Tasks::new());
//! let stop = shutdown.clone();
//! tasks.service("ticker", &shutdown, async move { stop.draining().await });
//! assert_eq!(tasks.len(), 1);
//!
//! shutdown.drain();
//! tasks.wait().await;
//! assert!(tasks.is_empty());
//! # });
//! ```

mod background;
mod causes;
mod clock;
mod inherited;
mod open_files;
mod shutdown;
mod signals;
mod tasks;
mod workers;

pub use background::{Activator, BackgroundTask, BoxError, TaskStatus, drive};
pub use causes::with_causes;
pub use clock::{Clock, ManualClock};
pub use inherited::inherited_listeners;
pub use open_files::raise_open_files;
pub use shutdown::Shutdown;
pub use signals::{Signals, signals};
pub use tasks::{ServiceDied, Tasks};
pub use workers::{WorkerDied, Workers};
