//! Certificates from real authorities: Pebble, which validates for real, and Caddy's.

mod http01;
mod world;
