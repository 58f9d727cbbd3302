//! What a reader is promised stands where it is promised.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The two commands are on the README's first screen.
#[test]
fn the_readme_opens_with_the_two_commands() {
    let readme = text("README.md");
    let screen: Vec<_> = readme.lines().take(40).collect();
    let screen = screen.join("\n");
    for command in ["cargo run --release -- up", "tests/run"] {
        assert!(screen.contains(command), "{command} is not in the first 40 lines of README.md");
    }
}

/// The pages the README and the sources speak of exist, and every relative link in them leads somewhere.
#[test]
fn pages_exist_and_their_links_lead_somewhere() {
    for page in ["docs/ARCHITECTURE.md", "docs/glossary.md", "docs/testing.md"] {
        text(page);
    }
    let mut pages = vec![root().join("README.md")];
    collect(&root().join("docs"), "md", &mut pages);
    let mut dead = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        for target in links(&text) {
            if !page.parent().expect("a folder").join(target).exists() {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// No source file outgrows what one can hold in mind.
#[test]
fn files_stay_readable() {
    let mut sources = Vec::new();
    for folder in ["crates", "bins", "tests"] {
        collect(&root().join(folder), "rs", &mut sources);
    }
    assert!(sources.len() > 20, "the sources were found");
    // Tables of cases beside a crate may be long.
    let long: Vec<_> = sources
        .iter()
        .filter(|path| {
            path.components().any(|it| it.as_os_str() == "src" || it.as_os_str() == "it")
        })
        .filter(|path| std::fs::read_to_string(path).expect("a source").lines().count() > 600)
        .collect();
    assert!(long.is_empty(), "more than 600 lines: {long:?}");
}

/// Targets of `[text](target)` that are paths.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#']).next()?;
        (!target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
            .then_some(target)
    })
}

fn collect(folder: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|it| panic!("{}: {it}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
            collect(&path, extension, into);
        } else if path.extension().is_some_and(|it| it == extension) {
            into.push(path);
        }
    }
}
