//! A persistent tree of host patterns: which pattern answers for a name, and why.
//!
//! It stands alone: what the patterns lead to is the caller's. Names and patterns are given normalised (lower case,
//! no port, no trailing dot); an IPv6 address in brackets is one label.
//!
//! ```
//! use hosttree::HostTree;
//!
//! let mut tree = HostTree::new();
//! tree.insert("*.example.com", 1);
//! tree.insert("api.**.com", 2);
//! let before = tree.clone(); // O(1), and never changes
//! tree.insert("www.example.com", 3);
//!
//! let pattern = |name| tree.lookup(name).map(|found| found.pattern());
//! assert_eq!(pattern("www.example.com"), Some("www.example.com"));
//! assert_eq!(pattern("example.com"), Some("*.example.com"));
//! assert_eq!(pattern("api.example.com"), Some("*.example.com"));
//! assert_eq!(pattern("api.eu.example.com"), Some("api.**.com"));
//! assert_eq!(pattern("example.org"), None);
//! assert_eq!(before.len(), 2);
//!
//! for candidate in tree.candidates("api.example.com") {
//!     println!("{}: {}", candidate.pattern, candidate.why);
//! }
//! ```
//!
//! # Patterns
//!
//! A label is itself, `*` (any one label) or `**` (one or more labels); wildcards stand anywhere, several are
//! allowed. A pattern `*.base` also stands for its bare `base`, as though that were written, one step deep.
//!
//! # Choice
//!
//! Of all patterns that match, that one wins which comes first in this order. It depends on the patterns alone, not
//! on the name or on who came first:
//!
//! 1. compare kinds of labels from the right; at the first difference exact beats `*` beats `**`;
//! 2. more labels beat fewer (`*.base` standing for its base counts as `base`);
//! 3. a pattern written out beats one that stands for its base;
//! 4. at the first different label from the right the alphabet decides.
//!
//! # Cost
//!
//! A lookup takes no lock and costs the same at a thousand hosts and at a million, up to cache misses; names made to
//! be hard cost microseconds. A change copies the nodes on the way to one pattern. See `examples/lookups.rs`.
#![forbid(unsafe_code)]

mod hamt;
mod node;
mod text;
mod walk;
mod why;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;

use hamt::{Hamt, Keyed};
use node::Node;
use text::Text;
use walk::{Match, Name};
use why::Standing;
pub use why::{Candidate, LabelKind, Why};

/// A map from host patterns to values, asked by name.
///
/// `Clone` is O(1); clones share what they have in common and change independently.
pub struct HostTree<T> {
    hasher: RandomState,
    /// Patterns without a wildcard, by their whole text.
    exact: Hamt<Arc<Entry<T>>>,
    /// All others.
    wild: Arc<Node<T>>,
    len: usize,
}

/// A pattern and its value.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    pattern: Text,
    value: T,
}

impl<T> Entry<T> {
    /// The pattern as it was inserted.
    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }
}

impl<T> HostTree<T> {
    /// A tree without patterns.
    pub fn new() -> Self {
        Self { hasher: RandomState::new(), exact: Hamt::default(), wild: Arc::default(), len: 0 }
    }

    /// The best match for a name.
    pub fn lookup(&self, name: &str) -> Option<&Entry<T>> {
        // Nothing beats the name itself.
        if let Some(entry) = self.exact.get(self.hasher.hash_one(name), name) {
            return Some(entry);
        }
        let name = Name::new(name)?;
        let found = walk::matches(&self.wild, &self.hasher, &name, &mut ControlFlow::Break);
        found.break_value().map(|found| &**found.entry)
    }

    /// Every match for a name, the best first, each with the reason it won or lost.
    pub fn candidates(&self, name: &str) -> Vec<Candidate<'_, T>> {
        let exact = self.exact.get(self.hasher.hash_one(name), name);
        let mut found: Vec<_> =
            exact.map(|entry| Match { entry, bare: false }).into_iter().collect();
        if let Some(name) = Name::new(name) {
            let all = walk::matches(&self.wild, &self.hasher, &name, &mut |one| {
                found.push(one);
                ControlFlow::<()>::Continue(())
            });
            debug_assert!(all.is_continue());
        }
        found
            .iter()
            .map(|one| Candidate {
                pattern: one.entry.pattern(),
                value: one.entry.value(),
                why: found
                    .first()
                    .map_or(Why::Best, |best| Standing::of(one).loses_to(Standing::of(best))),
            })
            .collect()
    }

    /// The entry of exactly this pattern.
    pub fn get(&self, pattern: &str) -> Option<&Entry<T>> {
        self.find(pattern).map(|entry| &**entry)
    }

    /// Every entry, in no useful order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.exact.iter().chain(self.wild.iter()).map(|entry| &**entry)
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn find(&self, pattern: &str) -> Option<&Arc<Entry<T>>> {
        if is_wildcard(pattern) {
            self.wild.get(&self.hasher, pattern)
        } else {
            self.exact.get(self.hasher.hash_one(pattern), pattern)
        }
    }
}

impl<T: Clone> HostTree<T> {
    /// Sets the value of a pattern; hands out the one it had.
    pub fn insert(&mut self, pattern: &str, value: T) -> Option<T> {
        let entry = Arc::new(Entry { pattern: pattern.into(), value });
        let old = if is_wildcard(pattern) {
            Arc::make_mut(&mut self.wild).insert(&self.hasher, Some(pattern), entry)
        } else {
            self.exact.insert(self.hasher.hash_one(pattern), pattern, entry)
        };
        self.len += usize::from(old.is_none());
        old.map(|entry| Arc::unwrap_or_clone(entry).value)
    }

    /// Takes a pattern out; hands out the value it had.
    pub fn remove(&mut self, pattern: &str) -> Option<T> {
        self.find(pattern)?;
        let old = if is_wildcard(pattern) {
            Arc::make_mut(&mut self.wild).remove(&self.hasher, Some(pattern))
        } else {
            self.exact.remove(self.hasher.hash_one(pattern), pattern)
        }?;
        self.len -= 1;
        Some(Arc::unwrap_or_clone(old).value)
    }
}

impl<T> Clone for HostTree<T> {
    fn clone(&self) -> Self {
        Self {
            hasher: self.hasher.clone(),
            exact: self.exact.clone(),
            wild: self.wild.clone(),
            len: self.len,
        }
    }
}

impl<T> Default for HostTree<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for HostTree<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|e| (e.pattern(), e.value()))).finish()
    }
}

impl<T> Keyed for Arc<Entry<T>> {
    fn has_key(&self, key: &str) -> bool {
        self.pattern.as_bytes() == key.as_bytes()
    }
}

fn is_wildcard(pattern: &str) -> bool {
    pattern.contains('*')
}

/// The labels from left to right; an address in brackets is one label.
fn labels(pattern: &str) -> impl DoubleEndedIterator<Item = &str> {
    let whole = pattern.starts_with('[');
    pattern.split(move |c| c == '.' && !whole)
}
