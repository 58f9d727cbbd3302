//! Which patterns match a name, best first, at a cost that no name can blow up.
//!
//! A step holds *all* ways in which the labels so far can have been matched: for each node of the tree the set of
//! positions in the name at which its part of the pattern can end, as a bit set. So each node is met at most once,
//! however many ways a `**` can stretch; and nodes of one step have the same kinds of labels (exact, `*`, `**`)
//! behind them, so that trying exact, then `*`, then `**`, then the end, meets the matches in the order of the
//! crate's documentation.

use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::Entry;
use crate::node::Node;

/// The most labels that a name of 253 bytes can have.
const MAX_LABELS: usize = 127;

/// A name cut at its dots, counted from the right; label 0 is the last.
pub(crate) struct Name<'n> {
    text: &'n str,
    starts: [u8; MAX_LABELS],
    count: usize,
}

impl<'n> Name<'n> {
    /// `None` when the text is longer than a name can be or has an empty label: no pattern matches it.
    pub(crate) fn new(text: &'n str) -> Option<Self> {
        let mut name = Self { text, starts: [0; MAX_LABELS], count: 0 };
        let mut end = text.len();
        u8::try_from(end).ok()?;
        loop {
            let start = match text.as_bytes().first()? {
                b'[' => 0,
                _ => text.get(..end)?.rfind('.').map_or(0, |dot| dot + 1),
            };
            if start == end {
                return None;
            }
            *name.starts.get_mut(name.count)? = u8::try_from(start).ok()?;
            name.count += 1;
            match start {
                0 => return Some(name),
                _ => end = start - 1,
            }
        }
    }

    fn label(&self, index: usize) -> &'n str {
        let end = match index {
            0 => self.text.len(),
            _ => usize::from(self.starts[index - 1]) - 1,
        };
        &self.text[usize::from(self.starts[index])..end]
    }
}

/// A match: the entry, and whether it stands for the name as the bare base of its `*.base`.
pub(crate) struct Match<'t, T> {
    pub(crate) entry: &'t Arc<Entry<T>>,
    pub(crate) bare: bool,
}

/// Shows `visit` every match in order, best first, until it breaks.
pub(crate) fn matches<'t, T, B>(
    root: &'t Node<T>,
    hasher: &impl BuildHasher,
    name: &Name<'_>,
    visit: &mut impl FnMut(Match<'t, T>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut states = Vec::with_capacity(16);
    states.push(State { node: Some(root), entry: None, ends: 1, label: 0 });
    Walk { hasher, name, states }.step(0, visit)
}

/// A node, and where in the name the labels down to it can end.
struct State<'t, T> {
    /// None where nothing can follow.
    node: Option<&'t Node<T>>,
    /// The pattern that ends here.
    entry: Option<&'t Arc<Entry<T>>>,
    /// Bit n: after n labels.
    ends: u128,
    /// Where the exact label of this node stands in the name: one of several places with the same text.
    label: usize,
}

struct Walk<'t, 'n, T, S> {
    hasher: &'n S,
    name: &'n Name<'n>,
    /// The steps of the way here, one after the other; a step is a range.
    states: Vec<State<'t, T>>,
}

impl<'t, T, S: BuildHasher> Walk<'t, '_, T, S> {
    /// Tries all that continues the step of the states from `from` on.
    fn step<B>(
        &mut self,
        from: usize,
        visit: &mut impl FnMut(Match<'t, T>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let to = self.states.len();
        for push in [Self::push_exact, Self::push_one, Self::push_many] {
            for state in from..to {
                push(self, state);
            }
            if self.states.len() > to {
                self.step(to, visit)?;
                self.states.truncate(to);
            }
        }
        self.finish(from, visit)
    }

    /// The patterns that end in this step, those written out before those that only stand for their base.
    fn finish<B>(
        &self,
        from: usize,
        visit: &mut impl FnMut(Match<'t, T>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let whole = 1 << self.name.count;
        let ended = || self.states[from..].iter().filter(|state| state.ends & whole != 0);
        for entry in ended().filter_map(|state| state.entry) {
            visit(Match { entry, bare: false })?;
        }
        for state in ended() {
            // Where the `*` can also take a label of the name, the pattern was met as itself before.
            let taken = (state.ends << 1) & whole != 0;
            if let (false, Some(Node { star: Some(entry), .. })) = (taken, state.node) {
                visit(Match { entry, bare: true })?;
            }
        }
        ControlFlow::Continue(())
    }

    fn push_exact(&mut self, index: usize) {
        let State { node: Some(node), mut ends, .. } = self.states[index] else { return };
        if node.exact.is_empty() {
            return;
        }
        let first = self.states.len();
        ends &= self.inside();
        while ends != 0 {
            let label = ends.trailing_zeros() as usize;
            ends &= ends - 1;
            let text = self.name.label(label);
            let Some(child) = node.exact.get(self.hasher.hash_one(text), text) else { continue };
            let end = 1 << (label + 1);
            let siblings = &mut self.states[first..];
            let is_child = |node: &Node<T>| std::ptr::eq(node, &**child);
            match siblings.iter_mut().find(|state| state.node.is_some_and(is_child)) {
                Some(known) => known.ends |= end,
                None => self.states.push(State {
                    node: Some(child),
                    entry: child.entry.as_ref(),
                    ends: end,
                    label,
                }),
            }
        }
        let name = self.name;
        self.states[first..].sort_unstable_by_key(|state| name.label(state.label));
    }

    fn push_one(&mut self, index: usize) {
        let State { node: Some(node), ends, .. } = self.states[index] else { return };
        let ends = (ends & self.inside()) << 1;
        let (below, entry) = (node.one.as_deref(), node.star.as_ref());
        if ends != 0 && (below.is_some() || entry.is_some()) {
            self.states.push(State { node: below, entry, ends, label: 0 });
        }
    }

    fn push_many(&mut self, index: usize) {
        let State { node: Some(Node { many: Some(below), .. }), ends, .. } = self.states[index]
        else {
            return;
        };
        let ends = ends & self.inside();
        if ends != 0 {
            // Every position after the first that is possible, up to the end of the name.
            let after = !0 << (ends.trailing_zeros() + 1);
            let ends = after & (self.inside() << 1);
            let entry = below.entry.as_ref();
            self.states.push(State { node: Some(below), entry, ends, label: 0 });
        }
    }

    /// The positions before the end of the name, at which a label follows.
    fn inside(&self) -> u128 {
        (1 << self.name.count) - 1
    }
}
