//! The buffer that all connections of a worker read into, each for the moment of a read.

use std::cell::{RefCell, RefMut};

/// What a read has room for.
const ROOM: usize = 16 * 1024;

/// What is read is used or copied out before the next one reads: a connection that waits holds no memory for what may
/// come.
#[derive(Debug)]
pub(crate) struct Scratch(RefCell<Vec<u8>>);

impl Scratch {
    /// A smaller one than there is, to have things torn.
    #[cfg(test)]
    pub(crate) fn of(room: usize) -> Self {
        Self(RefCell::new(vec![0; room]))
    }

    /// It, for a read.
    pub(crate) fn lend(&self) -> RefMut<'_, Vec<u8>> {
        self.0.borrow_mut()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self(RefCell::new(vec![0; ROOM]))
    }
}
