//! Certificates from real authorities: Pebble, which validates for real, and Caddy's.
#![expect(clippy::unwrap_used, reason = "a test may fail this way, in its helpers too")]

mod crashes;
mod extensions;
mod faults;
mod journal;
mod proofs;
mod second;
mod world;
