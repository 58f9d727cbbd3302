//! Limits and decisions as their callers see them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod decisions;
mod limits;
