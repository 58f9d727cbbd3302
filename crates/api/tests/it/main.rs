//! The API called as a function: no socket, the store in memory, time in the test's hand.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may fail this way, in its helpers too"
)]

mod accounts;
mod certificates;
mod description;
mod dns;
mod envelope;
mod history;
mod hosts;
mod inputs;
mod sessions;
mod store;
mod world;
mod writes;
