//! Upstream connections: pools, TLS, and one request sent, its answer read.
#![forbid(unsafe_code)]
