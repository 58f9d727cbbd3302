//! Every target over its corpus, then over mutations of it for some seconds. A failure prints the seed and the input; the
//! input goes into the corpus.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says what it tried"
)]

mod mutate;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fuzz::{TARGETS, Target};
use mutate::{Chance, mutated};

/// How long each target is given mutations; all run at the same time.
const MUTATE_FOR: Duration = Duration::from_secs(5);
/// The same with `tests/run --soak`.
const MUTATE_LONG_FOR: Duration = Duration::from_secs(60);

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed_and_has_a_corpus() {
            let tested = BTreeSet::from([$(stringify!($name).to_owned()),*]);
            let known = TARGETS.iter().map(|target| target.name.to_owned()).collect();
            assert_eq!(tested, known);
            let names = |folder: &str| -> BTreeSet<String> {
                entries(&here().join(folder)).map(|path| file_name(&path)).collect()
            };
            assert_eq!(names("corpus"), known);
            assert_eq!(names("words"), known);
        }
    };
}

targets!(answers, cookies, files, forwarded, hosts, http1, paths, proxy_protocol, upstream);

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpus: Vec<_> = entries(&here().join("corpus").join(name)).map(read).collect();
    assert!(!corpus.is_empty());
    for input in &corpus {
        holds(target, input);
    }
    let words = words(&here().join("words").join(name));
    let seed = seed();
    let (mut chance, start, mut tried) = (Chance::new(seed), Instant::now(), 0_u64);
    let soak = std::env::var_os("GATEWRIGHT_TESTS_SOAK").is_some();
    let mutate_for = if soak { MUTATE_LONG_FOR } else { MUTATE_FOR };
    while start.elapsed() < mutate_for {
        holds(target, &mutated(&mut chance, &corpus, &words));
        tried += 1;
    }
    println!("{name}: {} inputs, {tried} mutations, GATEWRIGHT_TESTS_SEED={seed}", corpus.len());
}

fn holds(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        eprintln!("{}: this input breaks it: b\"{}\"", target.name, input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Of this run, unless one is given.
fn seed() -> u64 {
    let given = std::env::var_os("GATEWRIGHT_TESTS_SEED");
    let given = given.and_then(|seed| seed.to_str()?.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(()));
    println!("GATEWRIGHT_TESTS_SEED={seed}");
    seed
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// In the same order on every machine.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.collect::<BTreeSet<_>>().into_iter()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn read(path: PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// A dictionary as AFL reads it: a line is a word in quotes, with `\xNN` for what can't be written.
fn words(path: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(path).unwrap();
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(unescaped).collect()
}

fn unescaped(word: &str) -> Vec<u8> {
    let mut parts = word.split('\\');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    while let Some(part) = parts.next() {
        match part.strip_prefix('x') {
            Some(rest) => {
                out.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                out.extend(rest[2..].bytes());
            }
            // An escaped quote; or an escaped backslash, between whose two there is nothing.
            None if part.is_empty() => {
                out.push(b'\\');
                out.extend(parts.next().unwrap_or_default().bytes());
            }
            None => out.extend(part.bytes()),
        }
    }
    out
}
