//! The tree of wildcard patterns, label by label from the right.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::Entry;
use crate::hamt::{Hamt, Keyed};
use crate::text::Text;

/// What stands left of some labels. The empty tree is a node without children.
pub(crate) struct Node<T> {
    /// The label here, when it is an exact one.
    label: Text,
    /// The pattern that ends here.
    pub(crate) entry: Option<Arc<Entry<T>>>,
    /// The pattern that ends with one more `*`. Most patterns with a wildcard do: it saves them a node.
    pub(crate) star: Option<Arc<Entry<T>>>,
    /// By an exact label.
    pub(crate) exact: Hamt<Arc<Node<T>>>,
    /// By `*`, when it is not the end.
    pub(crate) one: Option<Arc<Node<T>>>,
    /// By `**`.
    pub(crate) many: Option<Arc<Node<T>>>,
}

impl<T> Node<T> {
    fn new(label: &str) -> Self {
        Self {
            label: label.into(),
            entry: None,
            star: None,
            exact: Hamt::default(),
            one: None,
            many: None,
        }
    }

    /// The entry of exactly this pattern.
    pub(crate) fn get(&self, hasher: &impl BuildHasher, pattern: &str) -> Option<&Arc<Entry<T>>> {
        let mut node = self;
        let mut left = Some(pattern);
        while let Some(pattern) = left {
            let (rest, label) = split_last(pattern);
            node = match label {
                "*" if rest.is_none() => return node.star.as_ref(),
                "*" => node.one.as_deref()?,
                "**" => node.many.as_deref()?,
                exact => node.exact.get(hasher.hash_one(exact), exact)?,
            };
            left = rest;
        }
        node.entry.as_ref()
    }

    /// Puts an entry where the labels of `pattern`, if any, lead from here; hands out the one it replaces.
    pub(crate) fn insert(
        &mut self,
        hasher: &impl BuildHasher,
        pattern: Option<&str>,
        entry: Arc<Entry<T>>,
    ) -> Option<Arc<Entry<T>>> {
        let Some(pattern) = pattern else { return self.entry.replace(entry) };
        let (rest, label) = split_last(pattern);
        let below = match label {
            "*" if rest.is_none() => return self.star.replace(entry),
            "*" => self.one.get_or_insert_default(),
            "**" => self.many.get_or_insert_default(),
            label => {
                let hash = hasher.hash_one(label);
                if self.exact.get(hash, label).is_none() {
                    self.exact.insert(hash, label, Arc::new(Self::new(label)));
                }
                self.exact.get_mut(hash, label)?
            }
        };
        Arc::make_mut(below).insert(hasher, rest, entry)
    }

    /// Takes out the entry where the labels of `pattern`, if any, lead from here, and every node that is empty then.
    ///
    /// Call it only when the entry is there: else it copies the way for nothing.
    pub(crate) fn remove(
        &mut self,
        hasher: &impl BuildHasher,
        pattern: Option<&str>,
    ) -> Option<Arc<Entry<T>>> {
        let Some(pattern) = pattern else { return self.entry.take() };
        let (rest, label) = split_last(pattern);
        let hash = hasher.hash_one(label);
        let below = match label {
            "*" if rest.is_none() => return self.star.take(),
            "*" => self.one.as_mut()?,
            "**" => self.many.as_mut()?,
            exact => self.exact.get_mut(hash, exact)?,
        };
        let below = Arc::make_mut(below);
        let found = below.remove(hasher, rest);
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
        let nodes = std::iter::from_fn(move || {
            let node = todo.pop()?;
            todo.extend(node.exact.iter().map(|child| &**child));
            todo.extend(node.one.as_deref().into_iter().chain(node.many.as_deref()));
            Some(node)
        });
        nodes.flat_map(|node| node.entry.iter().chain(&node.star))
    }

    fn is_empty(&self) -> bool {
        self.entry.is_none()
            && self.star.is_none()
            && self.exact.is_empty()
            && self.one.is_none()
            && self.many.is_none()
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
            star: self.star.clone(),
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

/// The last label, and what stands left of it; an address in brackets is one label.
fn split_last(pattern: &str) -> (Option<&str>, &str) {
    match pattern.rsplit_once('.') {
        Some((rest, label)) if !pattern.starts_with('[') => (Some(rest), label),
        _ => (None, pattern),
    }
}
