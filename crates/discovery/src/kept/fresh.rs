use std::sync::{Arc, Mutex, PoisonError};

use store::{Fields, Key};

/// How many changes wait to be kept; of more than these the file tells, written anew.
const MOST: usize = 8_192;
/// And how many bytes of them, about: certificates are some kilobytes each.
const BYTES: usize = 16 << 20;

/// A record that the tables took over, or took out.
pub(crate) type Change = (Key, Option<Fields>);

/// What changed in the tables since it was last asked for, in order.
#[derive(Clone, Default)]
pub(crate) struct Fresh(Arc<Mutex<Gathered>>);

/// Changes in order; not all of them if there were `too_many`.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) changes: Vec<Change>,
    bytes: usize,
    pub(crate) too_many: bool,
}

impl Gathered {
    fn add(&mut self, change: Change) {
        let (key, fields) = &change;
        let sizes = fields.iter().flatten().map(|(name, value)| name.len() + value.len());
        self.bytes += key.id.len() + sizes.sum::<usize>();
        self.changes.push(change);
        if self.too_many || self.changes.len() > MOST || self.bytes > BYTES {
            *self = Self { too_many: true, ..Self::default() };
        }
    }

    /// Adds what was gathered later.
    pub(crate) fn append(&mut self, later: Self) {
        self.too_many |= later.too_many;
        later.changes.into_iter().for_each(|change| self.add(change));
    }
}

impl Fresh {
    pub(crate) fn add(&self, key: &Key, fields: Option<&Fields>) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !gathered.too_many {
            gathered.add((key.clone(), fields.cloned()));
        }
    }

    /// Hands it out; from now on the next is gathered.
    pub(crate) fn take(&self) -> Gathered {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
