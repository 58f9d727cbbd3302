//! Names and patterns: how they are read, and which pattern answers for a name.
//!
//! The first line is what a client sends as `Host`, each further one a pattern.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use hosttree::HostTree;
use model::{HostPattern, Hostname, Label, normalise_host};

use super::first_line;

const MAX_PATTERNS: usize = 24;

pub(crate) fn run(data: &[u8]) {
    let (authority, lines) = first_line(data);
    let name = normalised(authority);
    let lines = lines.split(|byte| *byte == b'\n').take(MAX_PATTERNS);
    let patterns: BTreeSet<String> = lines.filter_map(pattern).collect();
    let mut tree = HostTree::new();
    for pattern in &patterns {
        assert_eq!(tree.insert(pattern, pattern.clone()), None);
    }
    if let Some(name) = &name {
        let want = ranked(&patterns, name);
        let got: Vec<_> = tree.candidates(name).iter().map(|it| it.pattern).collect();
        assert_eq!(got, want, "{name} among {patterns:?}");
        assert_eq!(tree.lookup(name).map(|it| it.pattern()), want.first().copied());
    }
    for pattern in &patterns {
        assert_eq!(tree.remove(pattern).as_ref(), Some(pattern));
    }
    assert!(tree.is_empty());
}

/// The name as the request path reads it. The slow reading, by which hosts are stored, must not differ.
fn normalised(authority: &[u8]) -> Option<String> {
    let mut buffer = [0; 256];
    let fast = normalise_host(authority, &mut buffer).map(str::to_owned);
    let slow = std::str::from_utf8(authority).ok().and_then(|it| Hostname::from_authority(it).ok());
    if let (Some(slow), true) = (&slow, authority.is_ascii()) {
        assert_eq!(
            fast.as_deref(),
            Some(slow.as_str()),
            "a name that can be stored can be asked for"
        );
    }
    if let Some(fast) = &fast {
        let mut buffer = [0; 256];
        assert_eq!(normalise_host(fast.as_bytes(), &mut buffer), Some(&**fast), "twice is as once");
    }
    fast
}

fn pattern(line: &[u8]) -> Option<String> {
    let pattern: HostPattern = std::str::from_utf8(line).ok()?.parse().ok()?;
    let again: HostPattern = pattern.as_str().parse().expect("what was read can be read again");
    assert_eq!(pattern, again);
    let text = |label| match label {
        Label::Exact(text) => text,
        Label::One => "*",
        Label::Many => "**",
    };
    let labels: Vec<_> = pattern.labels().map(text).collect();
    assert_eq!(labels.join("."), pattern.as_str());
    assert_eq!(pattern.is_wildcard(), pattern.as_str().contains('*'));
    Some(pattern.as_str().to_owned())
}

/// All patterns that match, best first, by the rules of `hosttree`'s documentation.
fn ranked<'p>(patterns: &'p BTreeSet<String>, name: &str) -> Vec<&'p str> {
    let name = labels(name);
    let standing = |pattern: &'p String| {
        let reversed = |text: &'p str| labels(text).into_iter().rev().collect::<Vec<_>>();
        if covers(&labels(pattern), &name) {
            return Some((reversed(pattern), false, pattern.as_str()));
        }
        let base = pattern.strip_prefix("*.")?;
        covers(&labels(base), &name).then(|| (reversed(base), true, pattern.as_str()))
    };
    let mut found: Vec<_> = patterns.iter().filter_map(standing).collect();
    found.sort_by(|(a, a_bare, _), (b, b_bare, _)| {
        let kinds = a.iter().zip(b).map(|(a, b)| kind(a).cmp(&kind(b))).find(|it| it.is_ne());
        kinds.unwrap_or(Ordering::Equal).then_with(|| {
            (Reverse(a.len()), a_bare, a.as_slice()).cmp(&(Reverse(b.len()), b_bare, b.as_slice()))
        })
    });
    found.into_iter().map(|(_, _, pattern)| pattern).collect()
}

fn labels(text: &str) -> Vec<&str> {
    if text.starts_with('[') { vec![text] } else { text.split('.').collect() }
}

fn kind(label: &str) -> u8 {
    match label {
        "*" => 1,
        "**" => 2,
        _ => 0,
    }
}

/// Whether a pattern covers a name, by a table of which beginnings cover which.
fn covers(pattern: &[&str], name: &[&str]) -> bool {
    let mut row = vec![false; name.len() + 1];
    row[0] = true;
    for label in pattern {
        let mut next = vec![false; name.len() + 1];
        for (at, part) in name.iter().enumerate() {
            next[at + 1] = match *label {
                "**" => row[at] || next[at],
                "*" => row[at],
                exact => row[at] && exact == *part,
            };
        }
        row = next;
    }
    row[name.len()]
}
