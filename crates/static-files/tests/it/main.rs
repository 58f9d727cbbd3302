//! A directory on a real disk, asked as clients ask.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod behaviour;
mod differential;
mod encodings;
mod escape;
mod site;
