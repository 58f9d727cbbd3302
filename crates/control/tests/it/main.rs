//! The use cases over the in-memory store, with time in the test's hand.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail this way, in its helpers too"
)]

mod accounts;
mod applied;
mod backup;
mod certificates;
mod history;
mod hosts;
mod issuing;
mod sessions;
mod world;
