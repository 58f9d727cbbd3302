//! Measures the table at growing numbers of hosts and prints what it saw: `cargo run --release --example lookups`.
//!
//! Memory is the growth of the process's resident set; freed memory is used again, so for exact figures run one size
//! and kind per process: `lookups 1000000 plain`, `lookups 1000000 wild`. The value of a host is a word, so that the
//! table itself is what is measured.
#![allow(clippy::print_stdout)] // printing is its whole job

use std::hint::black_box;
use std::time::{Duration, Instant};

use hosttree::HostTree;

/// As the daemons have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOOKUPS: usize = 200_000;
const CHANGES: usize = 2_000;

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|n| n.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { asked };
    println!(
        "| hosts | kind | bytes/host | hit p50 | hit p99 | miss p99 | change p50 | change p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let kind = std::env::args().find(|arg| matches!(arg.as_str(), "plain" | "wild"));
    let wanted = |this| kind.as_deref().is_none_or(|kind| kind == this);
    for hosts in sizes {
        // Names of one length, so that what is compared is the number of hosts.
        if wanted("plain") {
            let pattern = |n| format!("app{n:06}.customer{:03}.example.com", n % 997);
            measure(hosts, "plain", pattern, str::to_owned);
        }
        if wanted("wild") {
            measure(
                hosts,
                "wild",
                |n| format!("*.site{n:06}.example.com"),
                |p| p.replace('*', "www"),
            );
        }
    }
}

fn measure(
    hosts: usize,
    kind: &str,
    pattern: impl Fn(usize) -> String,
    name: impl Fn(&str) -> String,
) {
    let before = resident();
    let mut tree = HostTree::new();
    for n in 0..hosts {
        tree.insert(&pattern(n), n);
    }
    let bytes = resident().saturating_sub(before) / hosts;
    let hit = lookups(&tree, |n| name(&pattern(n)), hosts);
    let miss = lookups(&tree, |n| format!("no{n:06}.such{n:06}.example.org"), hosts);
    let change = changes(&mut tree, pattern, hosts);
    println!(
        "| {hosts} | {kind} | {bytes} | {:?} | {:?} | {:?} | {:?} | {:?} |",
        percentile(&hit, 50),
        percentile(&hit, 99),
        percentile(&miss, 99),
        percentile(&change, 50),
        percentile(&change, 99)
    );
}

/// One lookup each of names far apart, so that most find their cache lines cold; what the clock costs by itself is taken off.
fn lookups(tree: &HostTree<usize>, name: impl Fn(usize) -> String, hosts: usize) -> Vec<Duration> {
    let clock: Vec<_> = (0..LOOKUPS).map(|_| Instant::now().elapsed()).collect();
    let clock = percentile(&clock, 50);
    let names: Vec<_> = (0..LOOKUPS).map(|n| name(scattered(n) % hosts)).collect();
    let timed = names.iter().map(|name| {
        let start = Instant::now();
        lookup(tree, name);
        start.elapsed().saturating_sub(clock)
    });
    timed.collect()
}

/// Not inlined, so that `valgrind --tool=callgrind --toggle-collect='*lookups::lookup*'` counts its instructions alone.
#[inline(never)]
fn lookup(tree: &HostTree<usize>, name: &str) {
    black_box(tree.lookup(black_box(name)));
}

/// Changes as the proxy makes them: a clone, a new value, and the older version kept for a reader, then dropped.
fn changes(
    tree: &mut HostTree<usize>,
    pattern: impl Fn(usize) -> String,
    hosts: usize,
) -> Vec<Duration> {
    let timed = (0..CHANGES).map(|n| {
        let (pattern, old) = (pattern(scattered(n) % hosts), tree.clone());
        let start = Instant::now();
        tree.insert(&pattern, n);
        drop(old);
        start.elapsed()
    });
    timed.collect()
}

fn scattered(n: usize) -> usize {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

/// Bytes of this process in memory; 0 where there is no `/proc`.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
