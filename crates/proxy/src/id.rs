//! Request ids.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;

/// Tells a request from all others, of this process and of others: 32 hexadecimal digits, half of them a worker's
/// random number, half its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId([u8; 32]);

impl RequestId {
    /// Its digits.
    pub(crate) fn digits(self) -> [u8; 32] {
        self.0
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A worker's ids.
pub(crate) struct Ids {
    worker: [u8; 16],
    random: RandomState,
    count: Cell<u64>,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        Self { worker: hex(random.hash_one(())), random, count: Cell::new(0) }
    }

    /// 16 hexadecimal digits that nobody can foretell, not all of them 0.
    pub(crate) fn random(&self) -> [u8; 16] {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        hex(self.random.hash_one(count).max(1))
    }

    /// One that was not given out before.
    pub(crate) fn next(&self) -> RequestId {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&self.worker);
        digits[16..].copy_from_slice(&hex(count));
        RequestId(digits)
    }
}

fn hex(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = [digit(byte >> 4), digit(byte)];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_behind_a_number_of_their_worker() {
        let ids = Ids::new();
        let (first, second) = (ids.next(), ids.next());
        assert_eq!(first[..16], second[..16]);
        assert_eq!((&first[16..], &second[16..]), ("0000000000000000", "0000000000000001"));
        assert_ne!(first[..16], Ids::new().next()[..16]);
    }

    #[test]
    fn digits_are_as_everywhere() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX] {
            assert_eq!(hex(number), *format!("{number:016x}").as_bytes());
        }
    }
}
