//! Discovery between real stores and real tables.
#![expect(clippy::unwrap_used, reason = "a test may fail this way, in its helpers too")]

mod converging;
mod following;
mod guarding;
mod keeping;
mod support;
