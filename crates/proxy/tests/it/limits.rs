//! What slow clients come to, and what slow apps don't.

use std::time::Duration;

use crate::common::origin::Origin;
use crate::common::{Gateway, host, until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[tokio::test]
async fn a_head_that_comes_too_slowly_gets_408_and_a_silent_client_nothing() {
    let app = Origin::echo().await;
    let gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.timeouts.header = Duration::from_millis(300);
        settings.timeouts.idle = Duration::from_millis(600);
    })
    .await;
    let mut silent = gateway.client().await;
    assert!(silent.is_closed().await);
    let mut slow = gateway.client().await;
    slow.send("GET / HTTP/1.1\r\nHos").await;
    assert_eq!(slow.answer().await.status, 408);
    assert!(slow.is_closed().await);
    let mut idle = gateway.client().await;
    assert_eq!(idle.get("a.test", "/").await.status, 200);
    assert!(idle.is_closed().await);
    let mut second = gateway.client().await;
    assert_eq!(second.get("a.test", "/").await.status, 200);
    second.send("GET / HTT").await;
    assert_eq!(second.answer().await.status, 408);
}

#[tokio::test]
async fn an_upload_below_the_minimum_rate_is_given_up() {
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        visit.peer.rest().await;
    })
    .await;
    let gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.rates.window = Duration::from_millis(300);
    })
    .await;
    let mut client = gateway.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nabc").await;
    assert_eq!(client.answer().await.status, 408);
    assert_eq!(gateway.stop().await[0]["bytes_read"], 3);
}

#[tokio::test]
async fn an_app_may_think_for_longer_than_the_window_of_the_minimum_rate() {
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        visit.peer.take(3).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        visit.answer("thought").await;
    })
    .await;
    let gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.rates.window = Duration::from_millis(100);
        settings.timeouts.header = Duration::from_millis(100);
        settings.timeouts.idle = Duration::from_millis(100);
    })
    .await;
    let mut client = gateway.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc").await;
    assert_eq!(client.answer().await.text(), "thought");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_dropped_and_counted() {
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let block = vec![b'x'; 1 << 20];
        while visit.peer.try_send(&block).await {}
    })
    .await;
    let gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.rates.window = Duration::from_millis(200);
    })
    .await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let metrics = gateway.metrics.clone();
    let counted = r#"gatewright_connections_lapsed_total{reason="slow_reader"} 1"#;
    until("the reader was dropped", || metrics.render().contains(counted)).await;
    let lines = gateway.stop().await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["error"], "the client went away");
    drop(client);
}
