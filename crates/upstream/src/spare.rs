use std::cell::RefCell;

use http::HeaderMap;

/// How much room a map or a buffer may have and be kept.
const MOST_FIELDS: usize = 128;
const MOST_BYTES: usize = 16 * 1024;
/// How many of each are kept: as many messages may be under way at once before memory is asked for again.
const MOST: usize = 64;

/// What a message that is over has allocated, for the next one of the thread: its header fields' map, which is dear to
/// make, and the bytes of its head.
#[derive(Debug, Default)]
pub struct Spare {
    fields: RefCell<Vec<HeaderMap>>,
    bytes: RefCell<Vec<Vec<u8>>>,
}

impl Spare {
    /// An empty map.
    pub fn fields(&self) -> HeaderMap {
        self.fields.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a map's memory, not what is in it.
    pub fn keep_fields(&self, mut fields: HeaderMap) {
        fields.clear();
        let mut kept = self.fields.borrow_mut();
        if kept.len() < MOST && (1..=MOST_FIELDS).contains(&fields.capacity()) {
            kept.push(fields);
        }
    }

    /// An empty buffer.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer's memory, not what is in it.
    pub fn keep_bytes(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut kept = self.bytes.borrow_mut();
        if kept.len() < MOST && (1..=MOST_BYTES).contains(&bytes.capacity()) {
            kept.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{COOKIE, HeaderName};

    use super::*;

    #[test]
    fn memory_is_kept_and_nothing_that_was_in_it() {
        let spare = Spare::default();
        let mut fields = HeaderMap::with_capacity(20);
        fields.append(COOKIE, HeaderValue::from_static("secret"));
        fields.append(COOKIE, HeaderValue::from_static("another"));
        spare.keep_fields(fields);
        spare.keep_bytes(b"GET /secret".to_vec());
        let (fields, bytes) = (spare.fields(), spare.bytes());
        assert!(fields.is_empty() && fields.capacity() >= 20);
        assert!(bytes.is_empty() && bytes.capacity() >= 11);
        assert_eq!((spare.fields().capacity(), spare.bytes().capacity()), (0, 0));
    }

    #[test]
    fn an_unusual_request_leaves_no_memory_behind() {
        let spare = Spare::default();
        let names = (0..1000).map(|at| HeaderName::try_from(format!("x-{at}")).unwrap());
        spare.keep_fields(names.map(|name| (name, HeaderValue::from_static(""))).collect());
        spare.keep_bytes(vec![0; 1 << 20]);
        assert_eq!((spare.fields().capacity(), spare.bytes().capacity()), (0, 0));
    }
}
