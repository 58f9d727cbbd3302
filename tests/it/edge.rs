//! What stands between a client and a host besides its rules of entry: compressed answers, error pages, trace context, the
//! PROXY protocol, limits of connections, upstreams that nobody may be led to.

mod compression;
mod connections;
mod pages;
mod proxy_protocol;
mod reach;
mod tracing;
