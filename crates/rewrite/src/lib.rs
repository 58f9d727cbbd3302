//! Header rules of a reverse proxy.
#![forbid(unsafe_code)]
