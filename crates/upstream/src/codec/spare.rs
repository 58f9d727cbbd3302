use std::cell::RefCell;
use std::mem;

use http::HeaderMap;

/// Fields and bytes that a map or a buffer may have room for and be kept.
const MOST_FIELDS: usize = 128;
const MOST_BYTES: usize = 16 * 1024;

/// What a request that is over has allocated, for the next one of the worker: its header fields' map, which is dear to
/// make, and the bytes of its head.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    fields: RefCell<HeaderMap>,
    bytes: RefCell<Vec<u8>>,
}

impl Spare {
    /// An empty map.
    pub(crate) fn fields(&self) -> HeaderMap {
        mem::take(&mut self.fields.borrow_mut())
    }

    /// Keeps a map's memory, not what is in it.
    pub(crate) fn keep_fields(&self, mut fields: HeaderMap) {
        fields.clear();
        if fields.capacity() <= MOST_FIELDS {
            self.fields.replace(fields);
        }
    }

    /// An empty buffer.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        mem::take(&mut self.bytes.borrow_mut())
    }

    /// Keeps a buffer's memory, not what is in it.
    pub(crate) fn keep_bytes(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        if bytes.capacity() <= MOST_BYTES {
            self.bytes.replace(bytes);
        }
    }
}
