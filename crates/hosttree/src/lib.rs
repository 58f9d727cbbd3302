//! A persistent tree of host patterns.
#![forbid(unsafe_code)]
