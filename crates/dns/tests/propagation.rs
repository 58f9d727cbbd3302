//! The end of CNAMEs, the authoritative servers and what they show: on real name servers.
#![cfg(test)]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use dns::{Error, Propagation, Report, Resolver, challenge_target};
use testkit::name_server::{NameServer, Software, TsigKey, ZoneFile};
use tokio::time::Instant;

const ZONE: &str = "example.test";
const NAME: &str = "_acme-challenge.example.test";
/// Set in the process that runs in a network namespace of its own.
const INSIDE: &str = "GATEWRIGHT_TESTS_INSIDE";

async fn start(software: Software) -> NameServer {
    let key = TsigKey::new("key", "hmac-sha256");
    NameServer::start(software, &[ZoneFile::new(ZONE, "")], &[key]).await
}

fn set(server: &NameServer, values: &[&str]) {
    let values: Vec<_> = values.iter().map(|it| (*it).to_owned()).collect();
    server.set_txt(ZONE, NAME, &values);
}

async fn wait(servers: &[SocketAddr], values: &[&str], patience: u64) -> Report {
    let propagation = Propagation::new(Resolver::of(servers).unwrap());
    let deadline = Instant::now() + Duration::from_secs(patience);
    propagation.wait(ZONE, servers, NAME, values, deadline).await.unwrap()
}

#[tokio::test]
async fn every_server_must_show_every_value() {
    let (bind, knot) = tokio::join!(start(Software::Bind), start(Software::Knot));
    let servers = [bind.addr(), knot.addr()];
    set(&bind, &["for-x", "for-wildcard"]);
    set(&knot, &["for-x"]);
    let report = wait(&servers, &["for-x", "for-wildcard"], 2).await;
    assert!(!report.arrived());
    let addrs = |list: &[dns::NameServer]| list.iter().map(|it| it.addr).collect::<Vec<_>>();
    assert_eq!(
        (addrs(&report.showing), addrs(&report.lacking)),
        (vec![bind.addr()], vec![knot.addr()])
    );
    println!("{report}");
    assert!(wait(&servers, &["for-x"], 20).await.arrived());
    // It comes while it is waited for.
    let change = async { set(&knot, &["for-wildcard", "for-x"]) };
    let (report, ()) = tokio::join!(wait(&servers, &["for-x", "for-wildcard"], 20), change);
    assert!(report.arrived(), "{report}");
}

#[tokio::test]
async fn an_answer_that_is_cut_is_fetched_by_tcp() {
    for software in [Software::Bind, Software::Knot] {
        let server = start(software).await;
        let values: Vec<_> = (0..40).map(|n| format!("value-{n:02}-{}", "x".repeat(34))).collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        set(&server, &values);
        let report = wait(&[server.addr()], &values, 20).await;
        assert!(report.arrived(), "{software:?}: {report}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_passed_over_and_named() {
    let (good, mut still) = tokio::join!(start(Software::Knot), start(Software::Bind));
    set(&good, &["v"]);
    still.process().pause();
    let servers = [good.addr(), still.addr()];
    let start = Instant::now();
    let report = wait(&servers, &["v"], 60).await;
    println!("passed over after {:?}: {report}", start.elapsed());
    assert!(report.arrived());
    assert_eq!(report.silent.iter().map(|(it, _)| it.addr).collect::<Vec<_>>(), [still.addr()]);
    // Alone it is nobody's word.
    assert!(!wait(&[still.addr()], &["v"], 1).await.arrived());
    still.process().resume();
}

#[tokio::test]
async fn a_server_of_another_zone_is_of_no_use() {
    let other = [ZoneFile::new("other.test", "")];
    let (good, lame) =
        tokio::join!(start(Software::Bind), NameServer::start(Software::Knot, &other, &[]));
    set(&good, &["v"]);
    let report = wait(&[good.addr(), lame.addr()], &["v"], 60).await;
    assert!(report.arrived());
    println!("{report}");
    assert_eq!(report.silent.len(), 1);
}

#[tokio::test]
async fn a_delegated_challenge_is_followed_to_its_end() {
    let records = "_acme-challenge CNAME one\none CNAME _acme-challenge.two\n_acme-challenge.loop CNAME a\na CNAME b\nb CNAME a\n\
                   _acme-challenge.away CNAME x.elsewhere.example.\n";
    let server = NameServer::start(Software::Knot, &[ZoneFile::new(ZONE, records)], &[]).await;
    let resolver = Resolver::of(&[server.addr()]).unwrap();
    let target = async |name: &str| challenge_target(&resolver, name).await;
    assert_eq!(target("example.test").await.unwrap(), "_acme-challenge.two.example.test");
    assert_eq!(target("*.example.test").await.unwrap(), "_acme-challenge.two.example.test");
    assert_eq!(target("plain.example.test").await.unwrap(), "_acme-challenge.plain.example.test");
    let error = target("loop.example.test").await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    // This server does not resolve for others: there is no answer, so nothing is guessed.
    let error = target("away.example.test").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

/// NS records carry no port, so the servers that they name are asked on port 53: in a network namespace of its own, where that is
/// free.
#[tokio::test]
async fn name_servers_are_found_by_ns_records() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make a network namespace");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let script = "ip link set lo up && ip address add 127.0.0.2/8 dev lo && exec \"$0\" --exact --nocapture --ignored inside_the_namespace";
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script]).arg(this).env(INSIDE, "1");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("test result: ok. 1 passed"));
}

#[tokio::test]
#[ignore = "run by name_servers_are_found_by_ns_records"]
async fn inside_the_namespace() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let zone = [ZoneFile::new(ZONE, "@ NS ns2\nns2 A 127.0.0.2\n")];
    let key = [TsigKey::new("key", "hmac-sha256")];
    let [first, second] =
        ["127.0.0.1:53", "127.0.0.2:53"].map(|it| it.parse::<SocketAddr>().unwrap());
    let knot = NameServer::start_at(Software::Knot, first, &zone, &key).await.unwrap();
    let bind = NameServer::start_at(Software::Bind, second, &zone, &key).await.unwrap();
    let propagation = Propagation::new(Resolver::of(&[first]).unwrap());
    let mut found = propagation.name_servers(ZONE).await.unwrap();
    found.sort_by_key(|it| it.addr);
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["ns.example.test (127.0.0.1:53)", "ns2.example.test (127.0.0.2:53)"]);
    set(&knot, &["v"]);
    let wait = async |seconds| {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        propagation.wait(ZONE, &[], NAME, &["v"], deadline).await.unwrap()
    };
    let report = wait(2).await;
    assert_eq!(
        report.to_string(),
        "the TXT values of _acme-challenge.example.test: 1 servers show them; ns2.example.test (127.0.0.2:53) does not"
    );
    set(&bind, &["v"]);
    assert!(wait(20).await.arrived());
    println!("found by NS: {}", found.join(", "));
    assert!(propagation.name_servers("absent.example.test").await.is_err());
}
