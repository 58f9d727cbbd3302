//! Why one match is preferred to another.

use std::cmp::Ordering;
use std::fmt;

use crate::labels;
use crate::walk::Match;

/// A pattern that matches a name, as [`HostTree::candidates`](crate::HostTree::candidates) lists them.
#[derive(Debug)]
pub struct Candidate<'t, T> {
    /// The pattern as it was inserted.
    pub pattern: &'t str,
    /// Its value.
    pub value: &'t T,
    /// Why it won, or what it lost by.
    pub why: Why,
}

/// Why a candidate won, or what it lost to the winner by. Labels are counted from the right, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It won.
    Best,
    /// At this label the winner is of a better kind: exact before `*` before `**`.
    Label {
        /// Which label.
        number: usize,
        /// What the winner has there.
        winner: LabelKind,
        /// What this pattern has there.
        own: LabelKind,
    },
    /// Its labels are of the winner's kinds as far as they go, but the winner has more.
    FewerLabels,
    /// It matches as the bare base of its `*.base`, and the winner is written out.
    BareBase,
    /// All labels are of the same kinds; at this one the winner's text comes first in the alphabet.
    Alphabet {
        /// Which label.
        number: usize,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("the most specific match"),
            Self::Label { number, winner, own } => {
                write!(f, "label {number} from the right is {own}, the winner's is {winner}")
            }
            Self::FewerLabels => f.write_str("the winner agrees and has more labels"),
            Self::BareBase => f.write_str("matches only as the base of its wildcard"),
            Self::Alphabet { number } => {
                write!(f, "as specific; label {number} from the right comes later in the alphabet")
            }
        }
    }
}

/// The kind of a pattern's label, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelKind {
    /// The label itself.
    Exact,
    /// `*`
    One,
    /// `**`
    Many,
}

impl LabelKind {
    fn of(label: &str) -> Self {
        match label {
            "*" => Self::One,
            "**" => Self::Many,
            _ => Self::Exact,
        }
    }
}

impl fmt::Display for LabelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::One => "*",
            Self::Many => "**",
        })
    }
}

/// A match as it competes: a pattern, or the base that it stands for.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'t> {
    pattern: &'t str,
    bare: bool,
}

impl<'t> Standing<'t> {
    pub(crate) fn of<T>(found: &Match<'t, T>) -> Self {
        Self { pattern: found.entry.pattern(), bare: found.bare }
    }

    fn labels(self) -> impl Iterator<Item = &'t str> {
        let pattern = if self.bare { self.pattern.strip_prefix("*.") } else { None };
        labels(pattern.unwrap_or(self.pattern)).rev()
    }

    /// What this match loses by to the one that won.
    pub(crate) fn loses_to(self, winner: Self) -> Why {
        let pairs = || winner.labels().zip(self.labels()).zip(1..);
        let kinds = pairs().map(|((w, o), number)| (LabelKind::of(w), LabelKind::of(o), number));
        if let Some((winner, own, number)) = kinds.into_iter().find(|(w, o, _)| w != o) {
            return Why::Label { number, winner, own };
        }
        if winner.labels().count().cmp(&self.labels().count()) != Ordering::Equal {
            return Why::FewerLabels;
        }
        if self.bare && !winner.bare {
            return Why::BareBase;
        }
        match pairs().find(|((w, o), _)| w != o) {
            Some((_, number)) => Why::Alphabet { number },
            None => Why::Best,
        }
    }
}
