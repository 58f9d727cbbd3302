//! HTTP/2 connections keep the memory of a burst for the next one, and give it back when none follows.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use testkit::client::{self, Connection};
use testkit::{App, System, alone, until};

const NAME: &str = "app.test";
const CONNECTIONS: usize = 400;
const STREAMS: usize = 10;
/// Memory is kept for two seconds.
const RESTED_WITHIN: Duration = Duration::from_secs(8);
/// What all of them give back at least: two thirds of what the streams alone took.
const RELEASED: u64 = 5 << 20;

/// All streams of all connections at once.
async fn burst(connections: &mut [Connection]) {
    let uri = format!("https://{NAME}/");
    let requests = connections.iter_mut().flat_map(|connection| {
        let requests = (0..STREAMS).map(|_| Request::get(&uri).body(client::empty()).unwrap());
        requests.map(|request| connection.send(request)).collect::<Vec<_>>()
    });
    for answer in join_all(requests).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_followed_by_rest_and_rest_by_another_burst() {
    let _turn = alone().await;
    let system = System::start().await;
    let app = App::start("app");
    system.api.route(NAME, app.addr()).await;
    let proxy = &system.proxies[0];
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(client::h2(proxy.front(), NAME).await.unwrap());
    }

    burst(&mut connections).await;
    let busy = proxy.process.memory();
    let rested = until("the memory of the burst is given back", RESTED_WITHIN, async || {
        let now = proxy.process.memory();
        (now + RELEASED <= busy).then_some(now)
    })
    .await;
    println!(
        "{CONNECTIONS} connections: {} KiB after a burst, {} rested",
        busy >> 10,
        rested >> 10
    );

    burst(&mut connections).await;
}
