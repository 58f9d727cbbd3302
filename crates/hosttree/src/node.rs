//! The tree of wildcard patterns, label by label from the right.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::hamt::{Hamt, Keyed};
use crate::text::Text;
use crate::{Entry, labels};

/// What stands left of some labels. The empty tree is a node without children.
pub(crate) struct Node<T> {
    /// The label here, when it is an exact one.
    label: Text,
    /// The pattern that ends here.
    pub(crate) entry: Option<Arc<Entry<T>>>,
    /// By an exact label.
    pub(crate) exact: Hamt<Arc<Node<T>>>,
    /// By `*`.
    pub(crate) one: Option<Arc<Node<T>>>,
    /// By `**`.
    pub(crate) many: Option<Arc<Node<T>>>,
}

impl<T> Node<T> {
    fn new(label: &str) -> Self {
        Self { label: label.into(), entry: None, exact: Hamt::default(), one: None, many: None }
    }

    /// The entry of exactly this pattern.
    pub(crate) fn get(&self, hasher: &impl BuildHasher, pattern: &str) -> Option<&Arc<Entry<T>>> {
        let mut node = self;
        for label in labels(pattern).rev() {
            node = match label {
                "*" => node.one.as_deref()?,
                "**" => node.many.as_deref()?,
                exact => node.exact.get(hasher.hash_one(exact), exact)?,
            };
        }
        node.entry.as_ref()
    }

    /// Puts an entry at the end of the labels, given from the right; hands out the one it replaces.
    pub(crate) fn insert<'a>(
        &mut self,
        hasher: &impl BuildHasher,
        mut labels: impl Iterator<Item = &'a str>,
        entry: Arc<Entry<T>>,
    ) -> Option<Arc<Entry<T>>> {
        let below = match labels.next() {
            None => return self.entry.replace(entry),
            Some("*") => self.one.get_or_insert_default(),
            Some("**") => self.many.get_or_insert_default(),
            Some(label) => {
                let hash = hasher.hash_one(label);
                if self.exact.get(hash, label).is_none() {
                    self.exact.insert(hash, label, Arc::new(Self::new(label)));
                }
                self.exact.get_mut(hash, label)?
            }
        };
        Arc::make_mut(below).insert(hasher, labels, entry)
    }

    /// Takes the entry at the end of the labels out, and every node that is empty then.
    ///
    /// Call it only when the entry is there: else it copies the way for nothing.
    pub(crate) fn remove<'a>(
        &mut self,
        hasher: &impl BuildHasher,
        mut labels: impl Iterator<Item = &'a str>,
    ) -> Option<Arc<Entry<T>>> {
        let Some(label) = labels.next() else { return self.entry.take() };
        let hash = hasher.hash_one(label);
        let below = match label {
            "*" => self.one.as_mut()?,
            "**" => self.many.as_mut()?,
            exact => self.exact.get_mut(hash, exact)?,
        };
        let below = Arc::make_mut(below);
        let found = below.remove(hasher, labels);
        if below.is_empty() {
            match label {
                "*" => self.one = None,
                "**" => self.many = None,
                exact => drop(self.exact.remove(hash, exact)),
            }
        }
        found
    }

    /// All entries at and below this node.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry<T>>> {
        let mut todo = vec![self];
        std::iter::from_fn(move || {
            loop {
                let node = todo.pop()?;
                todo.extend(node.exact.iter().map(|child| &**child));
                todo.extend(node.one.as_deref().into_iter().chain(node.many.as_deref()));
                if node.entry.is_some() {
                    return node.entry.as_ref();
                }
            }
        })
    }

    fn is_empty(&self) -> bool {
        self.entry.is_none() && self.exact.is_empty() && self.one.is_none() && self.many.is_none()
    }
}

// By hand: derived, they would ask the same of `T`.

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self::new("")
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        Self {
            label: self.label.clone(),
            entry: self.entry.clone(),
            exact: self.exact.clone(),
            one: self.one.clone(),
            many: self.many.clone(),
        }
    }
}

impl<T> Keyed for Arc<Node<T>> {
    fn has_key(&self, key: &str) -> bool {
        self.label.as_bytes() == key.as_bytes()
    }
}
