//! The whole product as a black box: real programs, real sockets, a file per behaviour.
#![allow(missing_docs, reason = "tests")]

mod architecture;
mod docs;
