//! The use cases over the in-memory store, with time in the test's hand.

mod accounts;
mod applied;
mod certificates;
mod hosts;
mod sessions;
mod world;
