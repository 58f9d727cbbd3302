//! A directory as an HTTP service.
//!
//! [`Directory::serve`] turns a request's head into an answer whose [`Body`] reads the file as the client takes it.
//! The crate knows no host, no connection and no log; it opens files beneath one directory handle and nothing else.
//!
//! ```
//! use http::{HeaderMap, Method};
//! use static_files::{Directory, Head, Options};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! std::fs::write(path.join("index.html"), "<h1>Hello</h1>")?;
//! let options = Options { fallback: Some("index.html".to_owned()), ..Options::default() };
//! let directory = Directory::open(path, options)?;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let plain = HeaderMap::new();
//! let get = |path| Head { method: &Method::GET, path, query: None, headers: &plain };
//! let answer = directory.serve(get("/")).await?;
//! assert_eq!(answer.status(), 200);
//! assert_eq!(answer.headers()["cache-control"], "no-cache");
//!
//! // The fallback is for pages of an app, not for what a page fetches.
//! assert_eq!(directory.serve(get("/missing.js")).await?.status(), 404);
//! let page = HeaderMap::from_iter([("sec-fetch-mode".parse()?, "navigate".parse()?)]);
//! let answer = directory.serve(Head { headers: &page, ..get("/orders/17") }).await?;
//! assert_eq!(answer.status(), 200);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it answers
//!
//! * GET and HEAD; others 405 with `Allow`.
//! * A file: 200 with its type by extension, `Last-Modified`, a strong `ETag` of its time, size and coding, and
//!   `Cache-Control`: a year for names with a content hash ([`Options::immutable`]), else `no-cache`.
//! * Conditions (RFC 9110 §13): 304 and 412. `If-Range` decides whether `Range` counts. One range: 206 or 416;
//!   several: the whole file.
//! * `a.js.zst`, `a.js.br`, `a.js.gz` in place of `a.js`, by the weights of `Accept-Encoding`.
//! * A directory: its index; without the slash at the end a 307 to it, relative, with the query.
//! * 404 for all else, which [`Options::fallback`] turns into 200 for navigations alone.
//!
//! # What it doesn't
//!
//! Paths are decoded once. A segment that begins with a dot (but `/.well-known`), an encoded slash, a backslash, a
//! control character or bytes that are no UTF-8 are not found. What is left is opened by `openat2` with
//! `RESOLVE_BENEATH`: the kernel lets no symbolic link lead out of the root, not even one made meanwhile. Devices, pipes
//! and sockets are not found.
//!
//! # Waiting
//!
//! A worker of the proxy has one thread, which must not wait for a disk. Opening with `RESOLVE_CACHED` and reading
//! with `RWF_NOWAIT` fail where they would wait, and only then a thread of tokio's blocking pool does it. Files up to
//! 64 KiB are read with the head, larger ones 64 KiB at a time. `examples/serving.rs` measures it beside tower-http's
//! `ServeDir`.
#![forbid(unsafe_code)]

mod body;
mod coding;
mod directory;
mod freshness;
mod open;
mod path;
mod range;
mod root;
mod validator;

use std::io;
use std::path::PathBuf;

pub use body::Body;
pub use coding::{Coding, preferred};
pub use directory::{Directory, Head, Options};
pub use root::Roots;

/// Why a directory can't be served, or a file of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Mend the path.
    #[error("\"{}\" must be an absolute path without \"..\"", path.display())]
    NotAbsolute {
        /// As given.
        path: PathBuf,
    },
    /// Add it to the roots on this machine, or name another.
    #[error("{} lies under none of this proxy's STATIC_ROOTS", path.display())]
    Outside {
        /// As given.
        path: PathBuf,
    },
    /// Mend the option: index, fallback or folder.
    #[error(
        "\"{name}\" must name a file or folder from the root, without a slash around it and nothing hidden"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// Make it, or let this process read it.
    #[error("cannot open the directory {}", path.display())]
    Open {
        /// As given.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Use a newer kernel, or a container runtime that lets the call through.
    #[error(
        "serving a directory needs the system call openat2 (Linux 5.6), which is not allowed here"
    )]
    Unsupported,
    /// The machine's trouble: answer 500 and log it.
    #[error("cannot read a file for \"{request}\" in {}", path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// The path of the request.
        request: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}
