//! Passwords, tokens, roles.
#![forbid(unsafe_code)]
