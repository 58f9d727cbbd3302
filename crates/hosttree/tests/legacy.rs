//! The truth table of the system that Gatewright grew out of, whose walk was greedy and did not turn back. Where this
//! tree answers otherwise on purpose, the row says so.

use hosttree::HostTree;

/// What the old system answered: the pattern, or none.
type Was = Option<&'static str>;

enum Row {
    /// Both answer this.
    Same(&'static str, Was),
    /// A deliberate difference: the reason, the old answer, ours.
    Differs(&'static str, &'static str, Was, Was),
}
use Row::{Differs, Same};

const ZERO: &str = "`**` takes one or more labels everywhere, never none";
const BACK: &str = "a label that leads nowhere is given back: if any pattern matches, one is found";
const EMPTY: &str = "an empty text or label is no name";

#[test]
fn the_old_truth_table() {
    let tables: &[(&[&str], &[Row])] = &[
        (
            &["*.a.com"],
            &[
                Same("x.a.com", Some("*.a.com")),
                Same("a.com", Some("*.a.com")),
                Same("y.x.a.com", None),
                Same("com", None),
                // Case, port and trailing dot are normalised away before the tree is asked; raw, they match nothing.
                Same("x.a.com.", None),
                Same("x.a.com:443", None),
                Same("X.A.COM", None),
                Differs(EMPTY, ".a.com", Some("*.a.com"), None),
            ],
        ),
        (
            &["**.a.com"],
            &[
                Same("x.a.com", Some("**.a.com")),
                Same("y.x.a.com", Some("**.a.com")),
                Same("a.com", None),
            ],
        ),
        (
            &["**"],
            &[
                Same("com", Some("**")),
                Same("a.b.c", Some("**")),
                Same("10.0.0.1", Some("**")),
                Differs(EMPTY, "", Some("**"), None),
            ],
        ),
        (
            &["*"],
            &[Same("com", Some("*")), Same("a.com", None), Differs(EMPTY, "", Some("*"), None)],
        ),
        (&["*.com"], &[Same("a.com", Some("*.com")), Same("com", Some("*.com"))]),
        (
            &["*.*"],
            &[
                Same("a.com", Some("*.*")),
                Same("com", Some("*.*")),
                Same("a", Some("*.*")),
                Same("x.a.com", None),
            ],
        ),
        (
            &["payments.**"],
            &[
                Same("payments.a.com", Some("payments.**")),
                Same("payments.a.b.c", Some("payments.**")),
                Differs(ZERO, "payments", Some("payments.**"), None),
                Same("pay.a.com", None),
                Same("x.payments.com", None),
            ],
        ),
        (
            &["a.**.com"],
            &[
                Differs(ZERO, "a.com", Some("a.**.com"), None),
                Same("a.x.com", Some("a.**.com")),
                Same("a.x.y.com", Some("a.**.com")),
                Same("b.x.com", None),
            ],
        ),
        (
            &["a.*.com"],
            &[Same("a.x.com", Some("a.*.com")), Same("a.com", None), Same("a.x.y.com", None)],
        ),
        (
            &["*.a.com", "**.a.com"],
            &[
                Same("x.a.com", Some("*.a.com")),
                Same("y.x.a.com", Some("**.a.com")),
                Same("a.com", Some("*.a.com")),
            ],
        ),
        (
            &["**.com", "**.a.com"],
            &[
                Same("x.a.com", Some("**.a.com")),
                Same("x.b.com", Some("**.com")),
                Differs(BACK, "a.com", None, Some("**.com")),
            ],
        ),
        (
            &["deep.x.a.com", "**.a.com"],
            &[
                Differs(BACK, "x.a.com", None, Some("**.a.com")),
                Same("y.x.a.com", Some("**.a.com")),
                Same("q.deep.x.a.com", Some("**.a.com")),
            ],
        ),
        (
            &["deep.x.a.com", "*.a.com"],
            &[Same("x.a.com", Some("*.a.com")), Same("y.x.a.com", None)],
        ),
        (
            &["x.a.com", "*.*.a.com"],
            &[
                Differs(BACK, "y.x.a.com", None, Some("*.*.a.com")),
                Same("y.z.a.com", Some("*.*.a.com")),
            ],
        ),
        (&["api.*.a.com", "*.v1.a.com"], &[Same("api.v1.a.com", Some("*.v1.a.com"))]),
        (
            &["foo.*.a.com", "bar.v1.a.com"],
            &[
                Differs(BACK, "foo.v1.a.com", None, Some("foo.*.a.com")),
                Same("foo.v2.a.com", Some("foo.*.a.com")),
            ],
        ),
        (&["info.**", "payments.**"], &[Same("info.payments.a.com", Some("info.**"))]),
        (
            &["**.b.**", "**.a.com"],
            &[Same("x.b.y", Some("**.b.**")), Same("x.b.y.z", Some("**.b.**"))],
        ),
        (
            &["payments.718it.biz", "payments.**"],
            &[Same("payments.718it.biz", Some("payments.718it.biz"))],
        ),
        (&["*.test.vm42.com"], &[Same("sd.blah.test.vm42.com", None)]),
        (&["info.*.users.718it.biz"], &[Same("infof.users.718it.biz", None)]),
        (
            &["test.*.*.718it.net"],
            &[
                Same("test.1.2.718it.net", Some("test.*.*.718it.net")),
                Same("localhost", None),
                Same("", None),
            ],
        ),
    ];
    for (patterns, rows) in tables {
        let mut tree = HostTree::new();
        for pattern in *patterns {
            tree.insert(pattern, ());
        }
        for row in *rows {
            let (name, expected) = match row {
                Same(name, found) => (name, found),
                Differs(why, name, old, ours) => {
                    assert_ne!(old, ours, "{name}: no difference: {why}");
                    (name, ours)
                }
            };
            let found = tree.lookup(name).map(|entry| entry.pattern());
            assert_eq!(found, *expected, "{name} among {patterns:?}");
        }
    }
}

/// A name written out and a `*` on a whole base have the last word there, whoever came first.
#[test]
fn a_base_is_beaten_by_itself_written_out_only() {
    let all = ["*.a.com", "**.com", "*.com", "**", "*.*"];
    let mut tree = HostTree::new();
    for pattern in all {
        tree.insert(pattern, ());
    }
    let best = |tree: &HostTree<()>| tree.lookup("a.com").map(|e| e.pattern().to_owned());
    assert_eq!(best(&tree).as_deref(), Some("*.a.com"));
    tree.insert("a.com", ());
    assert_eq!(best(&tree).as_deref(), Some("a.com"));
    tree.remove("a.com");
    assert_eq!(best(&tree).as_deref(), Some("*.a.com"));
}

#[test]
fn an_address_in_brackets_is_one_label() {
    let mut tree = HostTree::new();
    tree.insert("[::ffff:1.2.3.4]", 1);
    tree.insert("*", 2);
    tree.insert("*.3.4]", 3);
    assert_eq!(tree.lookup("[::ffff:1.2.3.4]").map(|e| *e.value()), Some(1));
    assert_eq!(tree.lookup("[::ffff:1.9.3.4]").map(|e| *e.value()), Some(2));
}

#[test]
fn explain_names_the_reason() {
    let mut tree = HostTree::new();
    for pattern in
        ["api.v1.a.com", "*.v1.a.com", "api.*.a.com", "**.a.com", "*.api.v1.a.com", "a.b"]
    {
        tree.insert(pattern, ());
    }
    let why: Vec<_> = tree
        .candidates("api.v1.a.com")
        .iter()
        .map(|c| format!("{}: {}", c.pattern, c.why))
        .collect();
    assert_eq!(
        why,
        [
            "api.v1.a.com: the most specific match",
            "*.api.v1.a.com: matches only as the base of its wildcard",
            "*.v1.a.com: label 4 from the right is *, the winner's is exact",
            "api.*.a.com: label 3 from the right is *, the winner's is exact",
            "**.a.com: label 3 from the right is **, the winner's is exact",
        ]
    );
}
