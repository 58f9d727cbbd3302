//! The request path on real sockets: a gateway with literal tables, raw origins behind it, raw clients before it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail so")]

mod common;
mod drain;
mod hostile;
mod http1;
mod http2;
mod limits;
mod routing;
mod tls;
mod upgrade;
