//! Connections that switch protocols.

use crate::common::origin::Origin;
use crate::common::{Gateway, host, until};

const SWITCH: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\n\r\n";

/// Switches, then echoes until the client is done, then says goodbye.
async fn echo() -> Origin {
    Origin::start(|mut visit| async move {
        let head = visit.request().await.unwrap().to_lowercase();
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        visit.send(SWITCHED).await;
        while let Some(bytes) = visit.peer.try_take(1).await {
            visit.send(&bytes).await;
        }
        visit.send("bye").await;
    })
    .await
}

#[tokio::test]
async fn a_websocket_is_passed_through_both_ways_with_each_sides_end() {
    let app = echo().await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    let mut client = gateway.client().await;
    // Bytes behind the request are no HTTP any more, however they look.
    client.send(format!("{SWITCH}early\n")).await;
    let answer = client.head().await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(client.take(6).await, b"early\n");
    for n in 0..10 {
        let message = format!("message {n}\n");
        client.send(&message).await;
        assert_eq!(client.take(message.len()).await, message.as_bytes());
    }
    let metrics = gateway.metrics.clone();
    assert!(metrics.render().contains("gatewright_tunnels_open 1"));
    client.finish().await;
    assert_eq!(client.rest().await, b"bye");
    until("closed", || metrics.render().contains("gatewright_tunnels_open 0")).await;
    let lines = gateway.stop().await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["status"], 101);
    assert_eq!((&lines[0]["bytes_read"], &lines[0]["bytes_sent"]), (&106.into(), &109.into()));
}

#[tokio::test]
async fn an_app_that_declines_answers_as_usual() {
    let app = Origin::echo().await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    let mut client = gateway.client().await;
    client.send(SWITCH).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.get("a.test", "/").await.status, 200);
}

#[tokio::test]
async fn a_tunnel_lives_on_through_the_drain_until_its_end() {
    let app = echo().await;
    let mut gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    let mut client = gateway.client().await;
    client.send(SWITCH).await;
    assert_eq!(client.head().await.status, 101);
    gateway.shutdown.drain();
    until("closed to others", || std::net::TcpStream::connect(gateway.http).is_err()).await;
    client.send("still here").await;
    assert_eq!(client.take(10).await, b"still here");
    client.finish().await;
    assert_eq!(client.rest().await, b"bye");
    assert_eq!(gateway.ended().await, 0);
}

#[tokio::test]
async fn a_tunnel_that_outlasts_the_deadline_is_cut_off_counted_and_logged() {
    let app = echo().await;
    let mut gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.drain.deadline = std::time::Duration::from_millis(200);
    })
    .await;
    let mut client = gateway.client().await;
    client.send(SWITCH).await;
    assert_eq!(client.head().await.status, 101);
    client.send("x").await;
    assert_eq!(client.take(1).await, b"x");
    gateway.shutdown.drain();
    assert_eq!(gateway.ended().await, 1);
    assert!(client.is_closed().await);
    let lines = gateway.log_lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["bytes_read"], 1, "{}", lines[0]);
    assert!(gateway.metrics.render().contains("gatewright_drain_cut_off_total 1"));
}
