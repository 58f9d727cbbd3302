//! From the store to the tables the data plane reads.
#![forbid(unsafe_code)]
