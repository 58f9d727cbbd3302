//! The end: nobody who was heard goes without an answer.

use std::time::Duration;

use crate::common::origin::Origin;
use crate::common::{Gateway, host};
use tokio::sync::watch;

/// An app that answers once it is allowed to.
async fn slow() -> (Origin, watch::Sender<bool>) {
    let (go, gone) = watch::channel(false);
    let app = Origin::start(move |mut visit| {
        let mut gone = gone.clone();
        async move {
            while visit.request().await.is_some() {
                gone.wait_for(|gone| *gone).await.unwrap();
                visit.answer("done").await;
            }
        }
    })
    .await;
    (app, go)
}

#[tokio::test]
async fn requests_in_flight_and_half_read_heads_are_answered_and_idle_connections_closed() {
    let (app, go) = slow().await;
    let mut gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    let mut idle = gateway.client().await;
    assert_eq!(idle.get("b.test", "/").await.status, 404);
    let mut fresh = gateway.client().await;
    let mut busy = gateway.client().await;
    busy.send("GET /busy HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let mut begun = gateway.client().await;
    assert_eq!(begun.get("b.test", "/").await.status, 404);
    begun.send("GET /begun HTT").await;
    crate::common::until("the app is asked", || app.heads().len() == 1).await;
    gateway.shutdown.drain();
    assert!(idle.is_closed().await);
    assert!(fresh.is_closed().await);
    begun.send("P/1.1\r\nHost: a.test\r\n\r\n").await;
    crate::common::until("the app is asked again", || app.heads().len() == 2).await;
    go.send_replace(true);
    for client in [&mut busy, &mut begun] {
        let answer = client.answer().await;
        assert_eq!(answer.text(), "done");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed().await);
    }
    assert_eq!(gateway.ended().await, 0);
    assert_eq!(gateway.log_lines().len(), 4);
}

#[tokio::test]
async fn a_request_on_an_idle_connection_within_the_grace_is_answered_and_is_the_last() {
    let app = Origin::echo().await;
    let mut gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.drain.idle_grace = Duration::from_secs(30);
    })
    .await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("a.test", "/").await.header("connection"), None);
    gateway.shutdown.drain();
    crate::common::until("closed to others", || {
        std::net::TcpStream::connect(gateway.http).is_err()
    })
    .await;
    let answer = client.get("a.test", "/").await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(client.is_closed().await);
    assert_eq!(gateway.ended().await, 0);
}

#[tokio::test]
async fn a_download_that_was_begun_is_finished() {
    let (go, gone) = watch::channel(false);
    let app = Origin::start(move |mut visit| {
        let mut gone = gone.clone();
        async move {
            visit.request().await.unwrap();
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
            gone.wait_for(|gone| *gone).await.unwrap();
            visit.send("world").await;
        }
    })
    .await;
    let mut gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.take(5).await, b"hello");
    gateway.shutdown.drain();
    crate::common::until("closed to others", || {
        std::net::TcpStream::connect(gateway.http).is_err()
    })
    .await;
    go.send_replace(true);
    assert_eq!(client.rest().await, b"world");
    assert_eq!(gateway.ended().await, 0);
    assert_eq!(gateway.log_lines()[0]["error"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_lame_duck_serves_on_while_it_is_not_ready() {
    let app = Origin::echo().await;
    let mut gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.drain.lame_duck = Duration::from_secs(60);
    })
    .await;
    gateway.shutdown.drain();
    let mut admin = crate::common::client::Client::connect(gateway.admin).await;
    assert_eq!(admin.get("x", "/readyz").await.status, 503);
    let mut client = gateway.client().await;
    let answer = client.get("a.test", "/").await;
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    gateway.shutdown.abort();
    gateway.ended().await;
}

#[tokio::test]
async fn what_waits_to_be_accepted_is_served() {
    let app = Origin::echo().await;
    for _ in 0..5 {
        let gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
            settings.drain.idle_grace = Duration::from_secs(30);
        })
        .await;
        // The workers are other threads: some of these they have accepted by the time of the drain, others not.
        let mut clients = Vec::new();
        for _ in 0..50 {
            let stream = std::net::TcpStream::connect(gateway.http).unwrap();
            stream.set_nonblocking(true).unwrap();
            clients.push(crate::common::client::Client::over(
                tokio::net::TcpStream::from_std(stream).unwrap(),
            ));
        }
        gateway.shutdown.drain();
        for client in &mut clients {
            assert_eq!(client.get("a.test", "/").await.status, 200);
        }
        // Those answered before the drain was noticed may stay; it waits for them as long as for the idle.
        drop(clients);
        assert_eq!(gateway.stop().await.len(), 50);
    }
}

#[tokio::test]
async fn under_load_no_client_goes_without_its_answer() {
    let app = Origin::echo().await;
    let mut gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.drain.idle_grace = Duration::from_secs(2);
        settings.workers = 2;
    })
    .await;
    let client = async || {
        let mut client = gateway.client().await;
        let mut answers = 0;
        loop {
            let answer = client.get("a.test", "/").await;
            assert_eq!(answer.status, 200);
            answers += 1;
            if answer.header("connection") == Some("close") {
                assert!(client.is_closed().await);
                return answers;
            }
        }
    };
    let clients = futures_util::future::join_all((0..32).map(|_| client()));
    let (counts, ()) = tokio::join!(clients, async {
        crate::common::until("some load", || app.heads().len() > 500).await;
        gateway.shutdown.drain();
    });
    assert_eq!(gateway.ended().await, 0);
    assert_eq!(gateway.log_lines().len(), counts.iter().sum::<usize>());
}
