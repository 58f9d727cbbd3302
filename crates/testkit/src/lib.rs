//! What the black-box tests stand on: the real programs, a real Redis, origins that do as they are told, and clients
//! that count exactly. Only for `tests/`; a unit test has its helpers in its own crate.
//!
//! Nothing here is built or mocked: [`System`] and [`Up`] start the binaries that lie beside the test executable, on
//! free ports and in a private directory, wait for readiness by asking, and stop by process id. When a test panics,
//! the tail of what each program wrote is printed.
//!
//! ```no_run
//! # async fn example() {
//! use testkit::{App, Curl, System};
//!
//! let app = App::start("app");
//! let system = System::start().await;
//! system.api.route("app.localhost", app.addr()).await;
//! let answer = Curl::new(&system.proxies[0]).get("https://app.localhost/hello").await;
//! assert_eq!(answer.status, 200);
//! # }
//! ```
//!
//! | want | take |
//! |---|---|
//! | redis + api + proxies | [`System`] (`System::builder().proxies(2)`) |
//! | `gatewright up` | [`Up`] |
//! | an app behind the proxy | [`App`]: echo, big bodies, slow bodies, WebSocket |
//! | an origin that misbehaves, or that keeps every byte | [`RawOrigin`] |
//! | one request as a person would | [`Curl`] |
//! | one request over a connection the test holds | [`client::h1`], [`client::h2`] |
//! | the API of a hosted DNS provider | [`dns_api::DnsApi`] |
//! | BIND or Knot with zones and keys of the test's | [`name_server::NameServer`] |
//! | a certificate authority that speaks ACME | [`Pebble`], with [`AcmeDns`] as the name server it asks |
//! | the same with profiles, renewal information or faults | [`CaFront`] before it |
//! | requests at a rate, each accounted for | [`load`] |
//!
//! Every wait has a deadline and every loop a bound; traffic goes to loopback only.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a harness that fails is a test that fails"
)]

mod acme_dns;
mod api;
mod app;
mod bodies;
mod ca_front;
mod caddy_ca;
pub mod client;
mod curl;
pub mod dns_api;
mod https;
pub mod load;
mod log;
pub mod name_server;
mod pebble;
mod ports;
mod process;
mod random;
mod raw_origin;
mod redis;
mod redis_node;
mod redis_setup;
mod relay;
mod server;
mod system;
mod tls_files;
mod turn;
mod up;
mod wait;

pub use acme_dns::AcmeDns;
pub use api::{Answer, Api};
pub use app::{App, Seen};
pub use bodies::{Digest, Pattern, drain, sha256};
pub use ca_front::{CaFront, Endpoint, Fault};
pub use caddy_ca::CaddyCa;
pub use curl::{Curl, Fetched};
pub use log::Log;
pub use pebble::{Pebble, PebbleOptions};
pub use ports::free_port;
pub use process::{Process, binary, node, seed, soak, stands};
pub use random::Random;
pub use raw_origin::{Conversation, RawOrigin};
pub use redis::TestRedis;
pub use redis_node::RedisNode;
pub use redis_setup::{RedisSetup, stranger_ca};
pub use relay::Relay;
pub use system::{Builder, Proxy, System};
pub use turn::{Turn, alone, shared};
pub use up::Up;
pub use wait::{until, within};
