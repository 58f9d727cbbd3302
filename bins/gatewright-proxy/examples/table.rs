//! Measures a proxy's table on a real Redis with that many hosts, every tenth a wildcard, and prints what it saw: seconds to
//! load, seconds until a name read early is served, resident bytes per host, the time of a lookup, processor time of one
//! change, of one reading of everything spread out, and of writing the last-known-good file.
//!
//! `cargo run --release -p gatewright-proxy --example table -- 1000000`. For exact memory one size per process. It starts a
//! `redis-server` of its own on port 16390; a second number chooses another. With `rules` each host has some.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic)] // it is run by hand: it prints, and failing is an answer

use std::io::{BufWriter, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Env, Invocation};
use discovery::{Discovery, Settings, StateFile};
use proxy::Tables;
use runtime::{Clock, Shutdown, Tasks};
use store::{Collection, Expect, Fields, Key, Sealer, Store, Txn};

/// As the daemons have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What most who have rules at all have.
const RULES: &str = r#"{"security_headers":true,"hsts":{"max_age":31536000},"deny":["192.0.2.0/24"],
    "rate_limit":[{"requests":100,"per_seconds":1}],"limits":{"max_body":1000000}}"#;
const CHANGES: usize = 500;
const LOOKUPS: usize = 200_000;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|n| n.parse().ok()).collect();
    let hosts = numbers.first().copied().unwrap_or(10_000);
    let port = numbers.get(1).and_then(|port| u16::try_from(*port).ok()).unwrap_or(16390);
    let rules = std::env::args().any(|word| word == "rules").then_some(RULES);
    let dir = tempfile::tempdir().expect("a directory");
    let mut redis = start(port, dir.path());
    fill(port, hosts, rules);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(port, hosts, rules, dir.path()));
    let _ = redis.kill();
    let _ = redis.wait();
}

async fn measure(port: u16, hosts: usize, rules: Option<&str>, dir: &std::path::Path) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let store = format!("--store=redis://127.0.0.1:{port}");
    let arguments = ["gatewright-proxy", &store, "--http-listen=127.0.0.1:0"];
    let Ok(Invocation::Run(settings, _)) = config::proxy(arguments, &Env::default()) else {
        panic!("settings");
    };
    let shared = gatewright_proxy::open(&settings).await.expect("redis");
    let clock = Clock::system();
    let sealer = Sealer::new(None, None, true).expect("a sealer");
    let store = Store::new(shared.backend.clone(), sealer, clock.clone());
    let tables = Arc::new(Tables::empty(clock.now().into()).expect("tables"));
    let about = Settings {
        instance: "figures".to_owned(),
        state_file: Some(StateFile { path: dir.join("last-known-good"), plaintext: true }),
        ..Settings::default()
    };
    let (memory, processor, began) = (resident(), processor_time(), Instant::now());
    let discovery = Discovery::new(store.clone(), tables.clone(), about, clock);
    let (shutdown, tasks) = (Shutdown::new(), Tasks::new());
    tasks.spawn("discovery", discovery.run(shutdown.clone()));
    until(|| tables.hosts() >= hosts.min(500)).await;
    let first = began.elapsed();
    until(|| tables.state().loaded).await;
    let (load, load_processor) = (began.elapsed(), processor_time() - processor);
    assert_eq!(tables.hosts(), hosts);
    let bytes = (resident() - memory) / hosts;
    println!(
        "{hosts} hosts: first page {first:.2?}, load {load:.2?} ({load_processor:.2?} of a core), {bytes} bytes/host"
    );
    println!("  load average {}", load_average());
    lookups(&tables, hosts);

    let (processor, began) = (processor_time(), Instant::now());
    until(|| dir.join("last-known-good").exists()).await;
    let size = std::fs::metadata(dir.join("last-known-good")).expect("a file").len();
    println!(
        "  last-known-good: {:.2?} after the load, {:.2?} of a core, {} bytes/host; resident {} bytes/host",
        began.elapsed(),
        processor_time() - processor,
        size / hosts as u64,
        (resident() - memory) / hosts
    );

    let processor = processor_time();
    let mut delays = Vec::new();
    for number in 0..CHANGES {
        let name = name(number * 7919 % hosts);
        let txn = Txn::new().put(
            Key::new(Collection::Host, name.as_str()),
            fields(&name, 20_000 + number, rules),
            Expect::Any,
        );
        let began = Instant::now();
        let revision = store.backend().commit(txn).await.expect("a commit");
        until(|| tables.state().revision.as_ref().is_some_and(|at| at.includes(&revision))).await;
        delays.push(began.elapsed());
    }
    delays.sort_unstable();
    println!(
        "  change: {:.2?} of a core (commit included), applied p50 {:.2?} p99 {:.2?} after its begin",
        (processor_time() - processor) / u32::try_from(CHANGES).expect("few"),
        delays[CHANGES / 2],
        delays[CHANGES * 99 / 100]
    );

    let (processor, began) = (processor_time(), Instant::now());
    tokio::time::sleep(Duration::from_secs(90)).await;
    let share = (processor_time() - processor).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("  at rest for 90 s, reconcile included: {:.2} % of a core", share * 100.0);
    println!("  resident in the end {} bytes/host", (resident() - memory) / hosts);
    shutdown.drain();
    tasks.wait().await;
}

/// One lookup each of names far apart, so that most find their cache lines cold. What the clock costs by itself is taken off.
fn lookups(tables: &Tables, hosts: usize) {
    let clock: Vec<_> = (0..LOOKUPS).map(|_| Instant::now().elapsed()).collect();
    let clock = percentile(clock, 50);
    let table = tables.snapshot();
    for (kind, is_wild) in [("plain", false), ("wildcard", true)] {
        let numbers = (0_usize..).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % hosts);
        let asked = numbers.filter(|number| (number % 10 == 0) == is_wild).take(LOOKUPS);
        let asked: Vec<_> = asked.map(|number| name(number).replace('*', "www")).collect();
        let times = asked.iter().map(|name| {
            let began = Instant::now();
            std::hint::black_box(table.lookup(std::hint::black_box(name)));
            began.elapsed().saturating_sub(clock)
        });
        let times: Vec<_> = times.collect();
        assert!(asked.iter().all(|name| table.lookup(name).is_some()));
        let (p50, p99) = (percentile(times.clone(), 50), percentile(times, 99));
        println!(
            "  lookup, {kind}: p50 {p50:.2?} p99 {p99:.2?}, the clock's {clock:.0?} taken off"
        );
    }
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}

fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(600);
    while !is_so() {
        assert!(Instant::now() < end, "it never came");
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

fn start(port: u16, dir: &std::path::Path) -> Child {
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"])
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server");
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "redis-server does not come up");
        std::thread::yield_now();
    }
    child
}

/// Writes the hosts as a commit would have left them.
fn fill(port: u16, hosts: usize, rules: Option<&str>) {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("redis");
    let mut replies = stream.try_clone().expect("a socket");
    let reading = std::thread::spawn(move || {
        let (mut buffer, mut last) = ([0; 1 << 16], Vec::new());
        while !last.ends_with(b"+PONG\r\n") {
            let n = replies.read(&mut buffer).expect("replies");
            last = buffer[..n].to_vec();
        }
    });
    let mut out = BufWriter::new(stream);
    for number in 0..hosts {
        let name = name(number);
        let wildcard = name.contains('*').then(|| ["wildcard_matchAny", "true"].map(str::to_owned));
        let mut words = vec!["HSET".to_owned(), format!("proxy_Host_{name}")];
        words
            .extend(fields(&name, 9000, rules).into_iter().flat_map(|(name, value)| [name, value]));
        words.extend(wildcard.into_iter().flatten());
        send(&mut out, &words);
        send(&mut out, &["SADD".to_owned(), "proxy_Host".to_owned(), name]);
    }
    let revision = ["HSET", "proxy_gw_revision", "epoch", "figures", "n", "1"];
    send(&mut out, &revision.map(str::to_owned));
    send(&mut out, &["PING".to_owned()]);
    out.flush().expect("sent");
    reading.join().expect("replies");
}

fn send(out: &mut impl Write, words: &[String]) {
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n{word}\r\n", word.len());
    }
}

fn name(number: usize) -> String {
    match number % 10 {
        0 => format!("*.site{number}.customer{}.example.com", number % 997),
        _ => format!("app{number}.customer{}.example.com", number % 997),
    }
}

fn fields(name: &str, port: usize, rules: Option<&str>) -> Fields {
    let rules = rules.map(|rules| ("gw_rules".to_owned(), rules.to_owned()));
    let plain = [
        ("host", name),
        ("ip", "10.0.0.7"),
        ("targetPort", &port.to_string()),
        ("targets", "[]"),
        ("targetssl", "false"),
        ("forcessl", "true"),
        ("created_by", "admin"),
        ("created_on", "1790000000000"),
        ("updated_on", "1790000000000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    plain.into_iter().chain(rules).collect()
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// User and system time of this process so far.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
