//! Worker threads, shutdown, owned tasks and the clock.
#![forbid(unsafe_code)]
