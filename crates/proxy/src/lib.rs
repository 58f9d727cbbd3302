//! The data plane's request path.
#![forbid(unsafe_code)]

mod guard;
