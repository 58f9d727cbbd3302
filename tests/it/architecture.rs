//! The arrows of `docs/ARCHITECTURE.md`, as a table that `cargo metadata` is held against.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A crate's folder and what it may depend on of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("acme", &["model", "certs", "dns", "runtime", "telemetry", "testkit"]),
    ("api", &["model", "control", "telemetry"]),
    ("auth", &["model"]),
    ("bench", &[]),
    ("certs", &["model", "hosttree"]),
    ("config", &["model"]),
    (
        "control",
        &["model", "hosttree", "policy", "store", "certs", "dns", "auth", "runtime", "telemetry"],
    ),
    ("discovery", &["model", "store", "certs", "proxy", "runtime", "telemetry"]),
    ("dns", &["model", "testkit"]),
    // What strangers' bytes come to first.
    (
        "fuzz",
        &[
            "hosttree",
            "model",
            "policy",
            "proxy-protocol",
            "rewrite",
            "runtime",
            "static-files",
            "upstream",
        ],
    ),
    (
        "gatewright",
        &[
            "config",
            "model",
            "runtime",
            "telemetry",
            "store",
            "store-redis",
            "api",
            "gatewright-proxy",
            "gatewright-api",
        ],
    ),
    (
        "gatewright-api",
        &[
            "config",
            "runtime",
            "telemetry",
            "store",
            "store-redis",
            "control",
            "certs",
            "acme",
            "dns",
            "auth",
            "api",
            "ui",
        ],
    ),
    (
        "gatewright-proxy",
        &[
            "config",
            "runtime",
            "telemetry",
            "store",
            "store-redis",
            "discovery",
            "proxy",
            "supervisor",
        ],
    ),
    ("hosttree", &[]),
    ("model", &[]),
    ("policy", &["model", "rewrite"]),
    (
        "proxy",
        &[
            "model",
            "hosttree",
            "policy",
            "proxy-protocol",
            "rewrite",
            "static-files",
            "certs",
            "upstream",
            "runtime",
            "telemetry",
        ],
    ),
    ("proxy-protocol", &[]),
    ("rewrite", &[]),
    ("runtime", &[]),
    ("static-files", &[]),
    ("store", &["model", "runtime"]),
    ("store-redis", &["store", "model", "telemetry", "testkit"]),
    ("telemetry", &[]),
    ("testkit", &["model", "store", "runtime"]),
    // All but the first to compute from the store itself what a proxy should have.
    ("tests", &["testkit", "model", "proxy", "runtime", "store", "store-redis"]),
    ("upstream", &["model", "runtime", "telemetry"]),
];

/// Every crate of the workspace is in the table and depends on nothing of ours but what the table allows, tests and
/// build scripts included.
#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    for (name, dependencies) in workspace() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(folder, _)| *folder == name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        let bad = dependencies.iter().filter(|it| !allowed.contains(&it.as_str()));
        wrong.extend(bad.map(|it| format!("{name} must not depend on {it}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table forbids a circle.
#[test]
fn the_table_has_no_circle() {
    let mut left: BTreeMap<&str, Vec<&str>> =
        ALLOWED.iter().map(|(name, allowed)| (*name, allowed.to_vec())).collect();
    while !left.is_empty() {
        let known: Vec<_> = left.keys().copied().collect();
        let free: Vec<_> = known
            .iter()
            .filter(|name| !left[*name].iter().any(|it| known.contains(it)))
            .copied()
            .collect();
        assert!(!free.is_empty(), "a circle among {known:?}");
        free.iter().for_each(|name| drop(left.remove(name)));
    }
}

/// Our crates by folder name, with the folder names of those of ours they depend on.
fn workspace() -> BTreeMap<String, Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let crates: BTreeMap<_, _> = packages.iter().map(of_ours).collect();
    assert!(crates.len() > 10, "the workspace was read: {crates:?}");
    crates
}

fn of_ours(package: &Value) -> (String, Vec<String>) {
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
    let paths = dependencies.filter_map(|it| it["path"].as_str());
    (folder(manifest.parent().expect("a folder")), paths.map(|it| folder(Path::new(it))).collect())
}

fn folder(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}
