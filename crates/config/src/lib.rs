//! Flags, environment and TOML read into typed settings.
#![forbid(unsafe_code)]
