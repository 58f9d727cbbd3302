//! The store on Redis.
#![forbid(unsafe_code)]
