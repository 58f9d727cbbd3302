//! Hosts with rules by chance.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use testkit::{Random, System};

const NETWORKS: [&str; 6] =
    ["192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32", "private_ranges", "127.0.0.0/8", "192.0.2.7"];
const PREFIXES: [&str; 6] = ["/api", "/api/v2", "/a:b", "/files", "/%61bc/d", "/x"];

/// What rules are made of.
pub(crate) struct Parts<'a> {
    /// Apps that requests may be sent to.
    pub(crate) upstreams: &'a [SocketAddr],
    /// A directory that may be served.
    pub(crate) root: &'a Path,
}

/// A record that the control plane accepts.
pub(crate) fn record(random: &mut Random, parts: &Parts<'_>, pattern: &str) -> Value {
    let mut record = json!({
        "host": pattern,
        "certificate": "none",
        "force_https": random.once_in(4),
        "enabled": !random.once_in(10),
        "preserve_host": !random.once_in(4),
    });
    let members = record.as_object_mut().unwrap();
    match random.below(8) {
        0 => {}
        1 | 2 => drop(members.insert("static".into(), json!({ "root": parts.root }))),
        _ => drop(members.insert("upstreams".into(), upstreams(random, parts))),
    }
    let mut add = |random: &mut Random, times, name: &str, make: &dyn Fn(&mut Random) -> Value| {
        if random.once_in(times) {
            members.insert(name.to_owned(), make(random));
        }
    };
    add(random, 8, "allow", &networks);
    add(random, 8, "deny", &networks);
    add(
        random,
        8,
        "maintenance",
        &|random| json!({ "retry_after": 60, "except": networks(random) }),
    );
    add(
        random,
        10,
        "rate_limit",
        &|random| json!([{ "requests": 1 + random.below(5), "per_seconds": 3600 }]),
    );
    add(random, 20, "basic_auth", &|_| json!({ "users": { "ann": "correct horse" } }));
    add(random, 10, "canonical", &|_| json!("app.localhost"));
    add(random, 10, "redirect", &|random| {
        let status = random.one(&[301, 302, 307, 308]);
        json!({ "to": "https://new.example/base", "status": status, "keep_path": random.once_in(2) })
    });
    add(random, 2, "routes", &|random| routes(random, parts));
    add(random, 6, "request_headers", &|_| json!({ "set": { "x-from": "gateway" } }));
    add(random, 6, "response_headers", &|_| json!({ "add": { "x-gateway": "ours" } }));
    add(random, 6, "hsts", &|_| json!({ "max_age": 60 }));
    add(random, 6, "security_headers", &|_| json!(true));
    add(random, 6, "limits", &|random| json!({ "max_body": random.below(1000) }));
    add(random, 6, "rewrite_responses", &|_| json!(false));
    add(random, 6, "compress", &|_| json!(true));
    add(
        random,
        6,
        "error_pages",
        &|random| json!({ "pages": { "4xx": "<p>{status} {host}</p>", "503": "closed" }, "intercept": random.once_in(2) }),
    );
    add(random, 6, "breaker", &|_| json!({ "failures": 5, "open_for": "1s" }));
    add(random, 6, "health", &|_| json!({ "failures": 5, "eject_for": "1s" }));
    add(
        random,
        8,
        "balance",
        &|random| json!({ "policy": random.one(&["round_robin", "least_requests", "client_hash", "cookie"]) }),
    );
    record
}

/// Makes a host or replaces it, and waits until every proxy runs it.
pub(crate) async fn set(system: &System, record: &Value) {
    let pattern = record["host"].as_str().unwrap();
    let put = system.api.put(&format!("/api/host/{pattern}?wait=applied"), record).await;
    let answer = match put.status.as_u16() {
        404 => system.api.post("/api/host?wait=applied", record).await.expect(201),
        _ => put.expect(200),
    };
    assert_eq!(answer["applied"], true, "{answer}");
}

fn networks(random: &mut Random) -> Value {
    let count = 1 + random.below(2);
    (0..count).map(|_| *random.one(&NETWORKS)).collect::<Vec<_>>().into()
}

fn upstreams(random: &mut Random, parts: &Parts<'_>) -> Value {
    let first = random.below(parts.upstreams.len());
    let count = 1 + random.below(2);
    let chosen = parts.upstreams.iter().cycle().skip(first).take(count);
    chosen.map(SocketAddr::to_string).collect::<Vec<_>>().into()
}

fn routes(random: &mut Random, parts: &Parts<'_>) -> Value {
    let first = random.below(PREFIXES.len());
    let count = 1 + random.below(3);
    let mut routes = Vec::new();
    for prefix in PREFIXES.iter().cycle().skip(first).take(count) {
        let mut route = json!({ "path": prefix, "strip_prefix": random.once_in(2) });
        match random.once_in(3) {
            true => route["static"] = json!({ "root": parts.root }),
            false => route["upstreams"] = upstreams(random, parts),
        }
        routes.push(route);
    }
    routes.into()
}
