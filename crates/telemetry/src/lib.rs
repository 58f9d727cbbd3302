//! Diagnostics, metrics and the access log.
#![forbid(unsafe_code)]
