use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex};

/// Ports below the range from which the kernel takes those of outgoing connections, so that a busy client can't sit
/// on a port between its choice here and its use by the program that is told it.
const RANGE: std::ops::Range<u16> = 10_300..32_000;

struct Registry {
    next: u16,
    given: HashSet<u16>,
}

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(|| {
    // Two test processes at the same time start far apart.
    let spread = u32::from(RANGE.end - RANGE.start);
    let offset = std::process::id().wrapping_mul(2_654_435_761) % spread;
    let next = RANGE.start + u16::try_from(offset).expect("smaller than the range");
    Mutex::new(Registry { next, given: HashSet::new() })
});

/// A port of 127.0.0.1 on which nothing listens and that this process was not given before.
///
/// Another process may still take it first: whoever starts a program on it tries again with other ports.
pub fn free_port() -> u16 {
    let mut registry = REGISTRY.lock().expect("no holder panics");
    for _ in RANGE {
        let port = registry.next;
        registry.next = if port + 1 == RANGE.end { RANGE.start } else { port + 1 };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && registry.given.insert(port) {
            return port;
        }
    }
    panic!("no free port in {RANGE:?}");
}

#[cfg(test)]
mod tests {
    use super::free_port;

    #[test]
    fn a_port_is_given_once() {
        let mut ports: Vec<u16> = (0..200).map(|_| free_port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
    }
}
