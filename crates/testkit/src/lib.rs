//! Origins, clients, Redis and whole systems for the tests.
#![forbid(unsafe_code)]
