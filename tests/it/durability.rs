//! What the API acknowledged is kept, whatever happens to the process.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use testkit::{Up, alone, until};

const ROUNDS: usize = 5;

/// Hosts are added as fast as the API takes them; `kill -9` comes at another moment in each round; every addition that
/// was acknowledged is there after the restart.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_acknowledged_write() {
    let _turn = alone().await;
    let mut up = Up::start().await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let api = up.api.clone();
        let adding = async {
            let mut added = Vec::new();
            for number in 0..10_000 {
                let name = format!("h{number}.r{round}.localhost");
                let host = json!({ "host": name, "upstreams": ["127.0.0.1:9000"] });
                match api.try_post("/api/host", &host).await {
                    Some(answer) => added.push((name, answer.expect(201))),
                    None => break,
                }
            }
            added
        };
        let pid = &mut up.process;
        let killing = async {
            tokio::time::sleep(Duration::from_millis(150 + 37 * round as u64)).await;
            pid.kill();
        };
        let (added, ()) = tokio::join!(adding, killing);
        assert!(!added.is_empty() && added.len() < 10_000, "{} additions", added.len());
        acknowledged.extend(added.into_iter().map(|(name, _)| name));
        until("it is dead", Duration::from_secs(5), async || up.process.ended()).await;
        up.restart().await;
    }

    let kept = patterns(&up).await;
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    println!("{} acknowledged, {} kept", acknowledged.len(), kept.len());
    assert!(lost.is_empty(), "lost: {lost:?}");
}

/// Every pattern, page by page.
async fn patterns(up: &Up) -> BTreeSet<String> {
    let mut patterns = BTreeSet::new();
    let mut path = "/api/host?limit=500".to_owned();
    for _page in 0..100 {
        let page = up.api.get(&path).await.expect(200);
        let records = page["results"].as_array().unwrap();
        patterns.extend(records.iter().map(|it| it["host"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(cursor) => path = format!("/api/host?limit=500&after={cursor}"),
            None => return patterns,
        }
    }
    panic!("the pages have no end");
}
