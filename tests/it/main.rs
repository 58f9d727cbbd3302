//! The whole product as a black box: real programs, real sockets, a file per behaviour.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says what it measured"
)]

mod architecture;
mod backup;
mod bad_config;
mod bad_input;
mod big_bodies;
mod certificates;
mod docs;
mod drain;
mod durability;
mod history;
mod http_semantics;
mod malformed;
mod observability;
mod propagation;
mod quickstart;
mod stale_pool;
mod store_down;
mod two_services;
