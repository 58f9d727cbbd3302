//! The whole product as a black box: real programs, real sockets, a file per behaviour.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says what it measured"
)]

mod acme;
mod acme_faults;
mod acme_renewal;
mod activation;
mod apps;
mod architecture;
mod authority;
mod backup;
mod bad_config;
mod bad_input;
mod big_bodies;
mod certificates;
mod chaos;
mod cli_certificates;
mod docs;
mod drain;
mod durability;
mod edge;
mod explain;
mod fleet;
mod gateway;
mod grpc;
mod history;
mod http_semantics;
mod isolation;
mod legacy_lua;
mod legacy_redis;
mod malformed;
mod many_sockets;
mod name_flood;
mod observability;
mod outages;
mod propagation;
mod quickstart;
mod random_rules;
mod ready;
mod redis_topologies;
mod redis_users;
mod secrets;
mod stale_pool;
mod store_down;
mod store_guard;
mod two_services;
mod upstreams;
