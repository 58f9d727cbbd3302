//! Fuzz targets: each takes bytes that a stranger may send and panics when something that must always hold does not.
//!
//! `replay.rs` runs them with the tests: every input of `corpus/<target>`, then some seconds of mutations. `run` has AFL
//! look for inputs that reach new code. What it finds goes into the corpus, with a test beside the code that was wrong.
//!
//! An input is text wherever the real thing is, most often lines: so it can be read, written by hand and mutated
//! piece by piece. What is no input for a target is left without a word.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target fails by panicking"
)]
#![forbid(unsafe_code)]

mod targets;

use targets::{answers, cookies, files, forwarded, hosts, http1, paths, proxy_protocol, upstream};

/// Something that takes bytes of strangers.
#[derive(Debug)]
pub struct Target {
    /// Also the name of its folder in `corpus` and of its file in `words`.
    pub name: &'static str,
    /// Panics when an input breaks what must hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "answers", run: answers::run },
    Target { name: "cookies", run: cookies::run },
    Target { name: "files", run: files::run },
    Target { name: "forwarded", run: forwarded::run },
    Target { name: "http1", run: http1::run },
    Target { name: "hosts", run: hosts::run },
    Target { name: "paths", run: paths::run },
    Target { name: "proxy_protocol", run: proxy_protocol::run },
    Target { name: "upstream", run: upstream::run },
];
