//! Measures decisions and prints what it saw: `cargo run --release -p gatewright-policy --example limiter`.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // printing is its whole job

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use policy::limit::{By, Limiter, Rate, Rule, Who};
use policy::{Access, Facts, HostPolicy, Networks, Route, Routes, State, Verified, decide};

fn main() {
    println!("| what | ns |\n|---|---|");
    networks();
    limiter();
    decisions();
}

fn networks() {
    for count in [10u32, 1_000, 100_000] {
        let list: Vec<String> = (0..count)
            .map(|n| format!("{}/28", Ipv4Addr::from_bits(n.wrapping_mul(42_943) << 4)))
            .collect();
        let networks = Networks::parse(list.iter().map(|it| &**it)).unwrap();
        let mut ip = 0u32;
        let ns = time(|| {
            ip = ip.wrapping_add(2_654_435_769);
            networks.contains(IpAddr::V4(Ipv4Addr::from_bits(ip)))
        });
        println!("| one address in {count} networks | {ns} |");
    }
}

fn limiter() {
    let rate = Rate::new(100, Duration::from_secs(1), None).unwrap();
    let rule = Rule::new("example.com", "default", rate, By::Client).unwrap();
    for (keys, what) in
        [(1u32, "one client"), (1_000, "1,000 clients"), (4_000_000, "4,000,000 clients")]
    {
        let limiter = Limiter::new(1 << 20);
        let mut n = 0u32;
        let ns = time(|| {
            n = n.wrapping_add(1);
            let ip = IpAddr::V4(Ipv4Addr::from_bits(n % keys));
            limiter.take(&rule, Who::Client(ip), Duration::from_nanos(u64::from(n) * 100)).admitted
        });
        println!("| a token for {what}, room for a million (16 MiB) | {ns} |");
    }
}

fn decisions() {
    let (limiter, verified) = (Limiter::new(1 << 16), Verified::default());
    let headers = HeaderMap::new();
    let facts = Facts {
        method: &Method::GET,
        name: "example.com",
        port: None,
        path: "/api/v1/users/17",
        query: None,
        headers: &headers,
        client: "203.0.113.9".parse().unwrap(),
        by_https: true,
        https_port: 443,
    };
    let mut now = Duration::ZERO;
    let mut measure = |what: &str, policy: &HostPolicy<u32>| {
        let ns = time(|| {
            now += Duration::from_millis(20);
            let mut state = State { limiter: &limiter, verified: &verified, now, counts: true };
            black_box(decide(policy, &facts, &mut state, &mut ())).limit.is_some()
        });
        println!("| {what} | {ns} |");
    };
    let open = HostPolicy { force_https: true, ..HostPolicy::open_to(1) };
    measure("a host without gates", &open);
    let prefixes: Vec<String> = (0..50).map(|n| format!("/api/v{n}/users")).collect();
    let route = |(n, prefix): (u32, &'static str)| (prefix, Route { target: n, strip: true });
    let prefixes: Vec<&'static str> = prefixes.into_iter().map(|it| &*it.leak()).collect();
    let routes = Routes::new(0, (0..).zip(prefixes).map(route)).unwrap();
    let routed = HostPolicy { routes, ..open.clone() };
    measure("50 prefixes", &routed);
    let rate = Rate::new(100, Duration::from_secs(1), None).unwrap();
    let limits = vec![Rule::new("example.com", "default", rate, By::Client).unwrap()];
    let deny = Networks::parse(
        (0..200u8).map(|n| format!("10.{n}.0.0/16")).collect::<Vec<_>>().iter().map(|it| &**it),
    );
    let access = Access { deny: deny.unwrap(), ..Access::default() };
    measure(
        "and a deny list of 200, and a limit with its fields",
        &HostPolicy { limits, access, ..routed },
    );
}

/// Nanoseconds of one call, the best of several rounds.
fn time(mut call: impl FnMut() -> bool) -> u128 {
    const CALLS: u32 = 500_000;
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        best = best.min(start.elapsed());
    }
    best.as_nanos() / u128::from(CALLS)
}
