//! Authorities that break down, drag on, refuse or ask for patience: other names go on, the list is gone down, nothing is
//! asked again too early, and every attempt can be read.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Api, App, CaFront, Endpoint, Fault, System, shared, until};

use crate::authority::{Authority, ISSUED, certificate, create};

/// Longer than a proof is waited for, which is two minutes.
const DRAGGED_ON: Duration = Duration::from_secs(300);

/// A system with these authorities, in this order.
/// Its configuration file goes with the directory.
async fn system(authority: &Authority, directories: &[(String, PathBuf)]) -> (System, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("gatewright.toml");
    let entry = |(directory, root): &(String, PathBuf)| {
        format!("[[acme]]\ndirectory = {directory:?}\nroot_ca = {root:?}\n")
    };
    let text: String = directories.iter().map(entry).collect();
    std::fs::write(&file, text).expect("the directory is writable");
    let system = System::builder()
        .set_api("CONFIG", file.to_str().expect("a path that is text"))
        .set_api("DNS_RESOLVERS", &authority.dns.addr().to_string())
        .start()
        .await;
    authority.lead_to(&system);
    (system, dir)
}

/// Waits until a name has its certificate; gives what is told of it.
async fn valid(api: &Api, name: &str, deadline: Duration) -> Value {
    until(&format!("{name} has its certificate"), deadline, async || {
        let view = api.get(&format!("/api/cert/{name}")).await;
        (view.status == 200).then(|| view.json()).filter(|view| view["status"] == "valid")
    })
    .await
}

/// The directory and the code of the failure of each attempt, oldest first.
fn attempts(view: &Value) -> Vec<(String, String)> {
    let text = |value: &Value, none: &str| value.as_str().unwrap_or(none).to_owned();
    let all = view["attempts"].as_array().expect("attempts").iter();
    all.map(|it| (text(&it["directory"], ""), text(&it["failure"]["code"], "none"))).collect()
}

/// Two authorities, of which the first fails in every way, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_authority_stops_no_name_and_each_attempt_is_told() {
    let _turn = shared().await;
    let authority = Authority::start(|it| it.nonce_reject = 0).await;
    let front = CaFront::start(&authority.pebble);
    let first = front.directory();
    let second = authority.pebble.directory();
    let list = [(first.clone(), front.root()), (second.clone(), authority.pebble.api_root())];
    let (system, _config) = system(&authority, &list).await;
    let app = App::start("app");
    let api = &system.api;

    // It takes a proof for ready and never looks at it.
    front.fail(Endpoint::Challenge, Fault::NeverValid, 1);
    create(api, "dragged.gw.test", &app).await;
    let asked = async || (front.count(Endpoint::Challenge) == 1).then_some(());
    until("the proof is offered", ISSUED, asked).await;
    let start = Instant::now();
    create(api, "quick.gw.test", &app).await;
    let view = valid(api, "quick.gw.test", ISSUED).await;
    println!("beside a proof that drags on: {:?}", start.elapsed());
    assert_eq!(attempts(&view), [(first.clone(), "none".to_owned())]);

    // Each of them: the first is told of with its failure, the second gives the certificate.
    for (name, endpoint, fault, count, code) in [
        ("broken.gw.test", Endpoint::NewOrder, Fault::Status(500), usize::MAX, "unreachable"),
        ("storm.gw.test", Endpoint::NewOrder, Fault::BadNonce, usize::MAX, "badNonce"),
        ("caa.gw.test", Endpoint::Finalize, Fault::Refused("caa"), 1, "caa"),
        ("patience.gw.test", Endpoint::NewOrder, Fault::RateLimited(3600), 1, "rateLimited"),
    ] {
        front.fail(endpoint, fault, count);
        create(api, name, &app).await;
        let view = valid(api, name, ISSUED).await;
        let told = [(first.clone(), code.to_owned()), (second.clone(), "none".to_owned())];
        assert_eq!(attempts(&view), told, "{name}");
        front.heal();
    }
    // It is well again, but has asked for an hour's patience with this one name.
    let orders = front.count(Endpoint::NewOrder);
    api.post("/api/host/patience.gw.test/renew", &json!({})).await.expect(202);
    until("it is renewed", ISSUED, async || {
        let view = certificate(api, "patience.gw.test").await;
        (attempts(&view).len() > 2 && view["issuance"]["requested_at"].is_null()).then_some(())
    })
    .await;
    assert_eq!(front.count(Endpoint::NewOrder), orders, "it was asked too early");

    let view = valid(api, "dragged.gw.test", DRAGGED_ON).await;
    assert_eq!(
        attempts(&view),
        [(first.clone(), "timeout".to_owned()), (second.clone(), "none".to_owned())]
    );

    // And now it is gone.
    drop(front);
    create(api, "alone.gw.test", &app).await;
    let view = valid(api, "alone.gw.test", ISSUED).await;
    let told = [(first, "unreachable".to_owned()), (second, "none".to_owned())];
    assert_eq!(attempts(&view), told);
}

/// One authority, and nobody to turn to: the name fails with the authority's own words and waits, across a restart of the
/// control plane; the others are served.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_refused_waits_and_says_why() {
    let _turn = shared().await;
    let authority = Authority::start(|it| it.nonce_reject = 0).await;
    let front = CaFront::start(&authority.pebble);
    let list = [(front.directory(), front.root())];
    let (mut system, _config) = system(&authority, &list).await;
    let app = App::start("app");
    front.fail(Endpoint::NewOrder, Fault::Refused("rejectedIdentifier"), 1);
    create(&system.api, "bad.gw.test", &app).await;
    let view = until("the refusal is told", ISSUED, async || {
        let view = system.api.get("/api/cert/bad.gw.test").await;
        (view.status == 200).then(|| view.json()).filter(|view| view["status"] == "failed")
    })
    .await;
    let failure = &view["issuance"]["failure"];
    assert_eq!(
        (&failure["stage"], &failure["code"]),
        (&json!("order"), &json!("rejectedIdentifier"))
    );
    assert!(
        failure["problem"]["type"].as_str().unwrap().ends_with(":rejectedIdentifier"),
        "{view}"
    );
    assert!(!failure["action"].as_str().unwrap().is_empty(), "{view}");
    assert!(view["issuance"]["retry_at"].is_string(), "{view}");
    until("the failure is counted", ISSUED, async || {
        let metrics = system.api.get("/metrics").await;
        let line = "gatewright_certificate_failures_total{code=\"rejectedIdentifier\"} 1";
        String::from_utf8_lossy(&metrics.body).contains(line).then_some(())
    })
    .await;

    system.restart_api().await;
    for number in 0..3 {
        let name = format!("good{number}.gw.test");
        create(&system.api, &name, &app).await;
        valid(&system.api, &name, ISSUED).await;
    }
    assert_eq!(
        front.count(Endpoint::NewOrder),
        1 + 3,
        "the refused name was tried again too early"
    );
    let view = certificate(&system.api, "bad.gw.test").await;
    assert_eq!(attempts(&view).len(), 1);
    let status = system.api.get("/api/status").await.expect(200).to_string();
    assert!(status.contains("bad.gw.test") && status.contains("rejectedIdentifier"), "{status}");
}
