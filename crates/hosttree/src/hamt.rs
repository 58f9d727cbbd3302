//! A persistent hash map of elements that carry their own text key: a hash array mapped trie, 64-way.
//!
//! A branch is one reference-counted slice, found by one pointer hop, with its occupancy bitmap beside the pointer in
//! the parent. Changing a map whose branches are shared copies the branches on one path; unshared branches change in
//! place. The caller hashes, so that a key is hashed once however many maps are asked.

use std::sync::Arc;

/// Bits of the hash used per level.
const BITS: u32 = 6;

/// What can be kept in a [`Hamt`].
pub(crate) trait Keyed: Clone {
    /// Whether this is the element's key; the answer stays the same for the element's whole life.
    fn has_key(&self, key: &str) -> bool;
}

/// The map. `Clone` is O(1) and shares everything.
#[derive(Clone)]
pub(crate) struct Hamt<E> {
    root: Branch<E>,
}

impl<E: Keyed> Hamt<E> {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.slots.is_empty()
    }

    pub(crate) fn get(&self, hash: u64, key: &str) -> Option<&E> {
        let mut branch = &self.root;
        let mut shift = 0;
        while shift < u64::BITS {
            match branch.slots.get(branch.position(hash, shift)?)? {
                Slot::Branch(below) => branch = below,
                Slot::Leaf(h, e) => return (*h == hash && e.has_key(key)).then_some(e),
            }
            shift += BITS;
        }
        branch.leaves().find(|e| e.has_key(key))
    }

    /// The element, unshared from older clones of the map on the way.
    pub(crate) fn get_mut(&mut self, hash: u64, key: &str) -> Option<&mut E> {
        // Looked up first so that a miss copies nothing.
        self.get(hash, key)?;
        self.root.get_mut(0, hash, key)
    }

    /// Puts an element in and hands out the one with the same key that it replaces.
    pub(crate) fn insert(&mut self, hash: u64, key: &str, element: E) -> Option<E> {
        self.root.insert(0, hash, key, element)
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &str) -> Option<E> {
        self.get(hash, key)?;
        self.root.remove(0, hash, key)
    }

    /// All elements, in no useful order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        let mut path = vec![self.root.slots.iter()];
        std::iter::from_fn(move || {
            loop {
                match path.last_mut()?.next() {
                    Some(Slot::Leaf(_, e)) => return Some(e),
                    Some(Slot::Branch(below)) => path.push(below.slots.iter()),
                    None => drop(path.pop()),
                }
            }
        })
    }
}

impl<E> Default for Hamt<E> {
    fn default() -> Self {
        Self { root: Branch::default() }
    }
}

/// The slots in use, in the order of their bits. Below the last bit of the hash: leaves in no order, all of one hash.
#[derive(Clone)]
struct Branch<E> {
    bitmap: u64,
    slots: Arc<[Slot<E>]>,
}

#[derive(Clone)]
enum Slot<E> {
    Leaf(u64, E),
    Branch(Branch<E>),
}

impl<E> Default for Branch<E> {
    fn default() -> Self {
        Self { bitmap: 0, slots: Arc::default() }
    }
}

impl<E: Keyed> Branch<E> {
    /// Where the slot for a hash stands, when there is one.
    fn position(&self, hash: u64, shift: u32) -> Option<usize> {
        let bit = bit(hash, shift);
        (self.bitmap & bit != 0).then(|| self.rank(bit))
    }

    /// How many slots stand before the one of `bit`.
    fn rank(&self, bit: u64) -> usize {
        (self.bitmap & (bit - 1)).count_ones() as usize
    }

    fn leaves(&self) -> impl Iterator<Item = &E> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Leaf(_, e) => Some(e),
            Slot::Branch(_) => None,
        })
    }

    /// Where the key stands among leaves of one hash.
    fn find_leaf(&self, key: &str) -> Option<usize> {
        self.leaves().position(|e| e.has_key(key))
    }

    fn get_mut(&mut self, shift: u32, hash: u64, key: &str) -> Option<&mut E> {
        let at = match shift {
            ..u64::BITS => self.position(hash, shift)?,
            _ => self.find_leaf(key)?,
        };
        match Arc::make_mut(&mut self.slots).get_mut(at)? {
            Slot::Branch(below) => below.get_mut(shift + BITS, hash, key),
            Slot::Leaf(_, e) => (e.has_key(key)).then_some(e),
        }
    }

    fn insert(&mut self, shift: u32, hash: u64, key: &str, element: E) -> Option<E> {
        let at = match shift {
            ..u64::BITS => self.position(hash, shift),
            _ => self.find_leaf(key),
        };
        let Some(at) = at else {
            self.add(shift, hash, element);
            return None;
        };
        match Arc::make_mut(&mut self.slots).get_mut(at)? {
            Slot::Branch(below) => below.insert(shift + BITS, hash, key, element),
            Slot::Leaf(h, old) if *h == hash && old.has_key(key) => {
                Some(std::mem::replace(old, element))
            }
            slot @ Slot::Leaf(..) => {
                let mut below = Self::default();
                if let Slot::Leaf(h, old) = slot {
                    below.add(shift + BITS, *h, old.clone());
                }
                let replaced = below.insert(shift + BITS, hash, key, element);
                *slot = Slot::Branch(below);
                replaced
            }
        }
    }

    /// Adds a leaf where no slot is.
    fn add(&mut self, shift: u32, hash: u64, element: E) {
        let mut at = self.slots.len();
        if shift < u64::BITS {
            let bit = bit(hash, shift);
            at = self.rank(bit);
            self.bitmap |= bit;
        }
        let (before, after) = self.slots.split_at(at);
        let leaf = std::iter::once(Slot::Leaf(hash, element));
        self.slots = before.iter().cloned().chain(leaf).chain(after.iter().cloned()).collect();
    }

    fn remove(&mut self, shift: u32, hash: u64, key: &str) -> Option<E> {
        let at = match shift {
            ..u64::BITS => self.position(hash, shift)?,
            _ => self.find_leaf(key)?,
        };
        if let Slot::Leaf(_, e) = self.slots.get(at)? {
            let found = e.clone();
            if shift < u64::BITS {
                self.bitmap &= !bit(hash, shift);
            }
            let (before, rest) = self.slots.split_at(at);
            self.slots = before.iter().chain(rest.iter().skip(1)).cloned().collect();
            return Some(found);
        }
        let slot = Arc::make_mut(&mut self.slots).get_mut(at)?;
        let Slot::Branch(below) = slot else { return None };
        let found = below.remove(shift + BITS, hash, key);
        // A lone leaf moves up, so that a map's shape depends on what is in it and not on its past.
        if let [leaf @ Slot::Leaf(..)] = &*below.slots {
            *slot = leaf.clone();
        }
        found
    }
}

/// The bit of a hash's slot at a level; `shift` is less than 64.
fn bit(hash: u64, shift: u32) -> u64 {
    1 << ((hash >> shift) & ((1 << BITS) - 1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Pair(String, u32);

    impl Keyed for Pair {
        fn has_key(&self, key: &str) -> bool {
            self.0 == key
        }
    }

    #[test]
    fn a_slot_is_three_words() {
        assert_eq!(size_of::<Slot<Arc<Pair>>>(), 24);
    }

    /// Few distinct hashes, some equal up to the last level and some wholly: every branch kind is met.
    fn hash(key: u8) -> u64 {
        match key % 4 {
            0 => 7,
            1 => 7 | 1 << 63,
            2 => u64::from(key) << 58,
            _ => u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((any::<u8>(), any::<Option<u32>>()), 0..120)) {
            let mut map = Hamt::default();
            let mut model = BTreeMap::new();
            let mut old = Vec::new();
            for (key, value) in steps {
                let (name, hash) = (key.to_string(), hash(key));
                old.push((map.clone(), model.clone()));
                let (was, should) = match value {
                    Some(v) => (map.insert(hash, &name, Pair(name.clone(), v)), model.insert(name.clone(), v)),
                    None => (map.remove(hash, &name), model.remove(&name)),
                };
                prop_assert_eq!(was.map(|p| p.1), should);
                if let Some(pair) = map.get_mut(hash, &name) {
                    pair.1 = pair.1.wrapping_add(1);
                    *model.get_mut(&name).unwrap() = pair.1;
                }
            }
            old.push((map, model));
            for (map, model) in old {
                let found: BTreeMap<_, _> = map.iter().map(|p| (p.0.clone(), p.1)).collect();
                prop_assert_eq!(&found, &model);
                prop_assert_eq!(map.is_empty(), model.is_empty());
                for key in 0..=255u8 {
                    let name = key.to_string();
                    prop_assert_eq!(map.get(hash(key), &name).map(|p| &p.1), model.get(&name));
                }
            }
        }
    }
}
