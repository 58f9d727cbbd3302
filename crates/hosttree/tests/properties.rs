//! Properties against a matcher that is plainly right and plainly slow.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hosttree::{HostTree, Why};
use proptest::prelude::*;

/// Whether the pattern's labels cover the name's, by trying everything.
fn covers(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), Some((_, tail))) => covers(rest, tail) || covers(pattern, tail),
        (Some((&"*", rest)), Some((_, tail))) => covers(rest, tail),
        (Some((label, rest)), Some((first, tail))) => label == first && covers(rest, tail),
        _ => false,
    }
}

/// The labels from the right that a pattern competes with for a name, and whether it only stands for its base.
fn standing<'p>(pattern: &'p str, name: &str) -> Option<(Vec<&'p str>, bool)> {
    let name: Vec<_> = name.split('.').collect();
    let reversed = |text: &'p str| text.rsplit('.').collect::<Vec<_>>();
    let split = |text: &'p str| text.split('.').collect::<Vec<_>>();
    if covers(&split(pattern), &name) {
        return Some((reversed(pattern), false));
    }
    let base = pattern.strip_prefix("*.")?;
    covers(&split(base), &name).then(|| (reversed(base), true))
}

fn kind(label: &str) -> u8 {
    match label {
        "*" => 1,
        "**" => 2,
        _ => 0,
    }
}

/// All that match, best first.
fn ranked<'p>(patterns: impl Iterator<Item = &'p String>, name: &str) -> Vec<&'p str> {
    let mut found: Vec<_> =
        patterns.filter_map(|p| standing(p, name).map(|s| (s, p.as_str()))).collect();
    found.sort_by(|((a, a_bare), _), ((b, b_bare), _)| {
        let mut pairs = a.iter().zip(b);
        let kinds = pairs.by_ref().map(|(a, b)| kind(a).cmp(&kind(b))).find(|o| o.is_ne());
        kinds.unwrap_or(Ordering::Equal).then_with(|| {
            (Reverse(a.len()), a_bare, a.as_slice()).cmp(&(Reverse(b.len()), b_bare, b.as_slice()))
        })
    });
    found.into_iter().map(|(_, pattern)| pattern).collect()
}

fn tree<'p>(patterns: impl Iterator<Item = &'p String>) -> HostTree<usize> {
    let mut tree = HostTree::new();
    for (value, pattern) in patterns.enumerate() {
        tree.insert(pattern, value);
    }
    tree
}

fn dotted(labels: &[&str]) -> String {
    labels.join(".")
}

fn pattern(depth: usize) -> impl Strategy<Value = String> {
    let label = prop_oneof![Just("a"), Just("b"), Just("*"), Just("**"), Just("**")];
    prop::collection::vec(label, 1..=depth).prop_map(|labels| dotted(&labels))
}

fn name(depth: usize) -> impl Strategy<Value = String> {
    let label = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("c")];
    prop::collection::vec(label, 1..=depth).prop_map(|labels| dotted(&labels))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_choice_is_the_brute_force_choice(
        patterns in prop::collection::btree_set(pattern(6), 0..40),
        names in prop::collection::vec(name(9), 1..12),
    ) {
        let tree = tree(patterns.iter());
        for name in names {
            let expected = ranked(patterns.iter(), &name);
            let found: Vec<_> = tree.candidates(&name).iter().map(|c| c.pattern).collect();
            prop_assert_eq!(&found, &expected, "{} among {:?}", name, patterns);
            let best = tree.lookup(&name).map(|e| e.pattern());
            prop_assert_eq!(best, expected.first().copied());
        }
    }

    #[test]
    fn every_candidate_says_why(
        patterns in prop::collection::btree_set(pattern(5), 0..40), name in name(6),
    ) {
        let tree = tree(patterns.iter());
        for (index, candidate) in tree.candidates(&name).iter().enumerate() {
            prop_assert_eq!(candidate.why == Why::Best, index == 0, "{:?}", candidate);
            prop_assert_eq!(tree.get(candidate.pattern).map(|e| e.value()), Some(candidate.value));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Deep names and many `**`: still the brute-force answer (which is given few labels of choice to stay finite).
    #[test]
    fn deep_names_are_matched_too(
        patterns in prop::collection::btree_set(pattern(4), 0..12), name in name(30),
    ) {
        let tree = tree(patterns.iter());
        let found: Vec<_> = tree.candidates(&name).iter().map(|c| c.pattern).collect();
        prop_assert_eq!(found, ranked(patterns.iter(), &name));
    }

    #[test]
    fn any_history_gives_the_map_of_what_is_left_and_old_clones_stay(
        steps in prop::collection::vec((pattern(4), any::<Option<u16>>()), 0..150),
    ) {
        let mut tree = HostTree::new();
        let mut model = BTreeMap::new();
        let mut past = Vec::new();
        for (pattern, value) in steps {
            past.push((tree.clone(), model.clone()));
            match value {
                Some(v) => prop_assert_eq!(tree.insert(&pattern, v), model.insert(pattern, v)),
                None => prop_assert_eq!(tree.remove(&pattern), model.remove(&pattern)),
            }
        }
        past.push((tree, model));
        for (tree, model) in past {
            let found: BTreeMap<_, _> =
                tree.iter().map(|e| (e.pattern().to_owned(), *e.value())).collect();
            prop_assert_eq!(&found, &model);
            prop_assert_eq!(tree.len(), model.len());
            for (pattern, value) in &model {
                prop_assert_eq!(tree.get(pattern).map(|e| e.value()), Some(value));
            }
            for name in ["a", "b.a", "a.a.b", "a.b.a.b.a"] {
                let best = tree.lookup(name).map(|e| e.pattern());
                prop_assert_eq!(best, ranked(model.keys(), name).first().copied());
            }
        }
    }

    #[test]
    fn no_text_panics(patterns in prop::collection::vec("[a*.\\[]{0,9}", 0..20), name in ".{0,300}") {
        let mut tree = tree(patterns.iter());
        let _ = (tree.lookup(&name), tree.candidates(&name));
        for pattern in &patterns {
            tree.remove(pattern);
        }
        prop_assert!(tree.is_empty());
    }
}

/// A walk that tries every way in which several `**` can share 127 labels takes longer than the universe has.
#[test]
fn hard_names_take_microseconds() {
    let name = dotted(&["a"; 127]);
    let stars = dotted(&["**"; 126]);
    let sets: [&[&str]; 4] = [
        &["**.a.**.a.**.b"],
        &["b.**.a.**.a.**", "**.b.**.a.**.a.**"],
        &["b.**.a.*.a.**.a.**.a.*.a.**", "*.b.**", "**.c.*.**.a.**"],
        &[&format!("b.{stars}"), &format!("c.{stars}")],
    ];
    for set in sets {
        let mut tree = HostTree::new();
        for pattern in set {
            tree.insert(pattern, ());
        }
        let start = Instant::now();
        assert!(tree.lookup(&name).is_none());
        let took = start.elapsed();
        println!("{} labels against {:.30}…: {} µs", 127, set[0], took.as_micros());
        assert!(took < Duration::from_millis(50), "{took:?} for {set:?}");
    }
}
