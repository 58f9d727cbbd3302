use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use policy::limit::{By, Limiter, Rate, Rule, Who};
use proptest::prelude::*;

fn rule(limit: u32, window: Duration, burst: Option<u32>) -> Rule {
    Rule::new("example.com", "test", Rate::new(limit, window, burst).unwrap(), By::Client).unwrap()
}

fn client(n: u32) -> Who<'static> {
    Who::Client(IpAddr::V4(Ipv4Addr::from_bits(n)))
}

fn ip(text: &str) -> Who<'static> {
    Who::Client(text.parse().unwrap())
}

#[test]
fn a_burst_and_then_one_by_one() {
    let limiter = Limiter::new(1024);
    let rule = rule(60, Duration::from_secs(60), Some(3));
    let take = |millis| limiter.take(&rule, client(1), Duration::from_millis(millis));
    let seen: Vec<_> = [0, 0, 0, 0, 999, 1000, 1001, 10_000, 10_000, 10_000, 10_000]
        .map(take)
        .iter()
        .map(|it| (it.admitted, it.remaining, it.retry_after_seconds()))
        .collect();
    let want = [
        (true, 2, 1),
        (true, 1, 2),
        (true, 0, 3),
        (false, 0, 1),
        (false, 0, 1),
        (true, 0, 3),
        (false, 0, 1),
        (true, 2, 1),
        (true, 1, 2),
        (true, 0, 3),
        (false, 0, 1),
    ];
    assert_eq!(seen, want);
}

#[test]
fn buckets_are_of_one_host_one_rule_and_one_customer() {
    let limiter = Limiter::new(1024);
    let rate = Rate::new(1, Duration::from_secs(1), None).unwrap();
    let rule = |host, name| Rule::new(host, name, rate, By::Client).unwrap();
    let (first, now) = (rule("a", "x"), Duration::ZERO);
    let admitted = |rule: &Rule, who| limiter.take(rule, who, now).admitted;
    assert!(admitted(&first, ip("192.0.2.1")));
    assert!(!admitted(&first, ip("192.0.2.1")));
    assert!(!admitted(&first, ip("::ffff:192.0.2.1")), "the same client");
    assert!(!admitted(&rule("a", "x"), ip("192.0.2.1")), "the same rule, made anew");
    assert!(admitted(&first, ip("192.0.2.2")));
    assert!(admitted(&rule("b", "x"), ip("192.0.2.1")));
    assert!(admitted(&rule("a", "y"), ip("192.0.2.1")));
    assert!(admitted(&first, Who::Everybody));
    assert!(admitted(&first, Who::Bearer(b"key")));
    assert!(!admitted(&first, Who::Bearer(b"key")));
    // One customer has a whole network of 64 bits.
    assert!(admitted(&first, ip("2001:db8::1")));
    assert!(!admitted(&first, ip("2001:db8::ffff:0:2")));
    assert!(admitted(&first, ip("2001:db8:0:1::1")));
}

#[test]
fn a_look_takes_nothing() {
    let limiter = Limiter::new(1024);
    let rule = rule(2, Duration::from_secs(2), None);
    for _ in 0..5 {
        assert_eq!(limiter.peek(&rule, client(1), Duration::ZERO).remaining, 1);
    }
    let peeked = limiter.peek(&rule, client(1), Duration::ZERO);
    assert_eq!(limiter.take(&rule, client(1), Duration::ZERO), peeked);
}

#[test]
fn fields_as_the_draft_has_them() {
    let limiter = Limiter::new(1024);
    let rate = Rate::new(10, Duration::from_secs(1), Some(50)).unwrap();
    let rule = Rule::new("a", "per-client", rate, By::Client).unwrap();
    let fields = rule.fields(&limiter.take(&rule, client(1), Duration::ZERO));
    // The bucket's own size and the time it takes to come back, so that what is left is never more than the quota.
    assert_eq!(fields.policy, "\"per-client\";q=50;w=5");
    assert_eq!(fields.remaining, "\"per-client\";r=49;t=1");
}

#[test]
fn rates_that_cannot_be() {
    let second = Duration::from_secs(1);
    for (limit, window, burst) in [
        (0, second, None),
        (1, Duration::ZERO, None),
        (1, Duration::from_micros(999), None),
        (1, second * 86_401, None),
        (1, second, Some(0)),
        (1_000_001, second, None),
        (1, second, Some(1_000_001)),
        (1, second * 86_400, Some(11)),
    ] {
        assert!(Rate::new(limit, window, burst).is_err(), "{limit} {window:?} {burst:?}");
    }
    let rate = Rate::new(1_000_000, Duration::from_millis(1), Some(1_000_000)).unwrap();
    for name in ["", "A", "a b", "a\"", "ü", &"x".repeat(41)] {
        assert!(Rule::new("a", name, rate, By::Client).is_err(), "{name}");
    }
}

/// The bucket as it is told to children: so many tokens, and time brings them back. In exact whole numbers.
struct Bucket {
    interval: u128,
    burst: u128,
    /// Tokens times interval.
    level: u128,
    last: u128,
}

impl Bucket {
    fn take(&mut self, now: u128) -> (bool, u32) {
        let full = self.burst * self.interval;
        self.level = full.min(self.level + now.saturating_sub(self.last));
        self.last = self.last.max(now);
        let admitted = self.level >= self.interval;
        if admitted {
            self.level -= self.interval;
        }
        let left = if admitted { self.level / self.interval } else { 0 };
        (admitted, u32::try_from(left).unwrap())
    }
}

proptest! {
    #[test]
    fn buckets_do_as_the_oracle_does(
        limit in 1u32..20,
        window in 1u64..5_000,
        burst in 1u32..20,
        pauses in proptest::collection::vec((0u64..3_000, 0u64..1_000_000), 1..80),
    ) {
        let window = Duration::from_millis(window);
        let rule = rule(limit, window, Some(burst));
        let limiter = Limiter::new(64);
        let interval = window.as_nanos() / u128::from(limit);
        let burst = u128::from(burst);
        let mut bucket = Bucket { interval, burst, level: interval * burst, last: 0 };
        let mut now = Duration::ZERO;
        for (millis, nanos) in pauses {
            now += Duration::from_millis(millis) + Duration::from_nanos(nanos);
            let standing = limiter.take(&rule, client(7), now);
            prop_assert_eq!((standing.admitted, standing.remaining), bucket.take(now.as_nanos()));
            if !standing.admitted {
                // Told to wait just so long, and not one nanosecond more.
                let early = now + standing.wait - Duration::from_nanos(1);
                prop_assert!(!limiter.peek(&rule, client(7), early).admitted);
                prop_assert!(limiter.peek(&rule, client(7), now + standing.wait).admitted);
            }
        }
    }
}

/// Workers share a bucket: together they get what one would.
#[test]
fn threads_share_a_bucket() {
    let limiter = Limiter::new(1024);
    let rule = rule(1_000, Duration::from_secs(1), None);
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    if limiter.take(&rule, client(1), Duration::from_secs(5)).admitted {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1_000);
}

/// Millions of addresses in room for fewer: memory stays as it is, and who is at the limit stays there.
#[test]
fn a_flood_of_addresses_frees_nobody() {
    let limiter = Limiter::new(1 << 16);
    let rule = rule(10, Duration::from_secs(60), None);
    let now = Duration::from_secs(1);
    let greedy: Vec<_> = (0..100).map(|n| client(0xc000_0200 + n)).collect();
    for who in &greedy {
        while limiter.take(&rule, *who, now).admitted {}
    }
    let before = resident();
    let started = Instant::now();
    let flood = 3_000_000;
    for n in 0..flood {
        assert!(limiter.take(&rule, client(n), now).admitted, "nobody is refused wrongly");
    }
    let per_call = started.elapsed() / flood;
    let grown = resident().saturating_sub(before);
    let room = limiter.capacity() * 16;
    println!("{per_call:?} a call, {grown} bytes more of {room}, {} gave way", limiter.evicted());
    let still = greedy.iter().filter(|who| !limiter.peek(&rule, **who, now).admitted).count();
    assert_eq!(still, greedy.len());
    assert!(limiter.evicted() > 2_000_000);
    // Full again, they give way to anybody and count no more.
    let (later, counted) = (now + Duration::from_secs(600), limiter.evicted());
    for n in 0..1_000 {
        limiter.take(&rule, client(n + flood), later);
    }
    assert_eq!(limiter.evicted(), counted);
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
