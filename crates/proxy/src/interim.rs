//! Interim answers (RFC 9110 §15.2) of an upstream, such as 103, on their way to an HTTP/1.1 client.
//!
//! While a request waits for its answer and everything before is flushed, whole interim answers are put on the wire. They end
//! here when the client is behind in reading. HTTP/2 has its own way (`http2/send.rs`).

use std::cell::{Cell, RefCell};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};

/// What is to be written before the server's own bytes.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    bytes: RefCell<Vec<u8>>,
    unflushed: Cell<bool>,
}

impl Interim {
    /// Queues an interim answer, if nothing of an earlier answer is on its way. `100` is left to the server, which
    /// says it when the body is asked for.
    pub(crate) fn put(&self, status: StatusCode, mut headers: HeaderMap) {
        if self.unflushed.get() || status == StatusCode::CONTINUE {
            return;
        }
        rewrite::response(&mut headers);
        // It has no body to be long (RFC 9110 §8.6), and a client that believes it would wait for one.
        headers.remove(CONTENT_LENGTH);
        let mut bytes = self.bytes.borrow_mut();
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(status.as_str().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in &headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
    }

    /// Queues what tells a client to send its body (RFC 9110 §10.1.1).
    pub(crate) fn ask_for_body(&self) {
        if !self.unflushed.get() {
            self.bytes.borrow_mut().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// The server wrote, or flushed all that it had.
    pub(crate) fn server_is_ahead(&self, unflushed: bool) {
        self.unflushed.set(unflushed);
    }

    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.borrow().is_empty()
    }

    /// Writes as much as `write` takes.
    pub(crate) fn write<E>(&self, write: impl FnOnce(&[u8]) -> Result<usize, E>) -> Result<(), E> {
        let mut bytes = self.bytes.borrow_mut();
        let written = write(&bytes)?.min(bytes.len());
        bytes.drain(..written);
        Ok(())
    }
}
