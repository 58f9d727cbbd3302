//! Measures what rewriting costs an answer and prints it: `cargo run --release -p gatewright-rewrite --example rewriting`.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // printing is its whole job

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use rewrite::{Change, Hsts, Internal, Operations, Public, Scheme, Security};

fn main() {
    let internal = Internal::new([("10.0.0.5", 9000), ("10.0.0.6", 9000)], false);
    let public = Public { scheme: Scheme::Https, authority: "shop.example" };
    let rewrite = |headers: &mut HeaderMap| rewrite::answer(headers, &internal, &public);
    let common = head(&[]);
    println!("| answer | ns |\n|---|---|");
    println!("| ten ordinary fields | {} |", time(&common, rewrite));
    let cookie =
        head(&[("set-cookie", "id=0123456789abcdef; Path=/; HttpOnly"), ("location", "/login")]);
    println!("| and a cookie and a relative Location | {} |", time(&cookie, rewrite));
    let own = head(&[("location", "http://10.0.0.5:9000/login?next=%2F"), ("server", "nginx")]);
    let clone = time(&own, |headers| drop(black_box(headers.clone())));
    let rewritten = |headers: &mut HeaderMap| {
        let mut headers = headers.clone();
        rewrite::answer(&mut headers, &internal, &public);
        black_box(headers);
    };
    let cost = time(&own, rewritten).saturating_sub(clone);
    println!("| and an own Location and Server | {cost} |");
    let none = Operations::default();
    println!("| no operations | {} |", time(&common, |headers| none.apply(headers)));
    let one = Operations::new([(Change::Set, "x-one", "1")]).unwrap();
    println!("| one set | {} |", time(&common, |headers| one.apply(headers)));
    let hsts = Hsts { max_age: 31_536_000, include_subdomains: false, preload: false };
    let security = Security::new().hsts(hsts).unwrap().no_sniff();
    let secured = |headers: &mut HeaderMap| security.apply(headers, Scheme::Https);
    println!("| HSTS and nosniff | {} |", time(&common, secured));
}

fn head(more: &[(&'static str, &'static str)]) -> HeaderMap {
    let usual = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "1024"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("cache-control", "no-cache"),
        ("etag", "\"0123456789\""),
        ("vary", "accept-encoding"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("x-request-id", "0123456789abcdef"),
        ("accept-ranges", "bytes"),
        ("x-custom", "1"),
    ];
    let fields = usual.iter().chain(more);
    fields.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

/// Nanoseconds of one call, the best of several rounds.
fn time(headers: &HeaderMap, mut call: impl FnMut(&mut HeaderMap)) -> u128 {
    const CALLS: u32 = 100_000;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let mut headers = headers.clone();
        let start = Instant::now();
        for _ in 0..CALLS {
            call(black_box(&mut headers));
        }
        best = best.min(start.elapsed());
    }
    best.as_nanos() / u128::from(CALLS)
}
