//! Certificates from real authorities: Pebble, which validates for real, and Caddy's.

mod crashes;
mod extensions;
mod faults;
mod journal;
mod proofs;
mod second;
mod world;
