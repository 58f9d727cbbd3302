//! One target under AFL: `tests/fuzz/run` builds it with `cargo afl` and names the target as its argument.

use fuzz::TARGETS;

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("\"{name}\" is no target; there are {}", names.join(", "));
        std::process::exit(64);
    };
    afl::fuzz!(|data: &[u8]| (target.run)(data));
}
