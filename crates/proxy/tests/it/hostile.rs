//! What hostile clients and apps have tried.

use std::time::Duration;

use serde_json::Value;

use crate::common::origin::Origin;
use crate::common::{Gateway, host, until};

/// An app's list of equal lengths went on as written: a client or cache that reads it otherwise sees another answer.
#[tokio::test]
async fn a_length_said_several_times_reaches_the_client_once() {
    for (said, status) in [
        ("Content-Length: 5, 5", "200 OK"),
        ("Content-Length: 5\r\nContent-Length: 5", "200 OK"),
        ("Content-Length: 5 ,5", "200 OK"),
    ] {
        let app = Origin::start(move |mut visit| async move {
            while let Some(head) = visit.request().await {
                let body = if head.starts_with("HEAD") { "" } else { "hello" };
                visit.send(format!("HTTP/1.1 {status}\r\n{said}\r\n\r\n{body}")).await;
            }
        })
        .await;
        let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
        let mut client = gateway.client().await;
        let answer = client.get("a.test", "/").await;
        assert_eq!(answer.text(), "hello", "{said}");
        assert_eq!(answer.head.matches("content-length: 5\r\n").count(), 1, "{}", answer.head);
        client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let head = client.head().await.head;
        assert_eq!(head.matches("content-length: 5\r\n").count(), 1, "{head}");
    }
}

/// A 103 with a length went on with it (RFC 9110 §8.6): a client that believes it takes the answer for a body.
#[tokio::test]
async fn an_interim_answer_has_no_length() {
    let app = Origin::start(|mut visit| async move {
        while visit.request().await.is_some() {
            visit.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n").await;
            visit.answer("hinted").await;
        }
    })
    .await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let hints = client.head().await;
    assert_eq!((hints.status, hints.header("link")), (103, Some("</a>")));
    assert_eq!(hints.header("content-length"), None);
    assert_eq!(client.answer().await.text(), "hinted");
}

/// An app that speaks HTTP/2 in clear switched to it, and its client then spoke to it past the gateway.
#[tokio::test]
async fn no_tunnel_is_asked_for_that_carries_requests() {
    let app = Origin::start(|mut visit| async move {
        while let Some(head) = visit.request().await {
            if head.to_lowercase().contains("upgrade:") {
                visit.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").await;
            } else {
                visit.answer("plain").await;
            }
        }
    })
    .await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    for protocol in ["h2c", "websocket, h2c", "HTTP/2.0", "TLS/1.0"] {
        let mut client = gateway.client().await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                 Upgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.text(), "plain", "{protocol}");
        assert_eq!(client.get("a.test", "/").await.status, 200, "the connection goes on");
    }
}

/// Trailers went on as they came: an app that merges them into the head took the client's word for the gateway's.
#[tokio::test]
async fn trailers_cannot_forge_where_a_request_came_from() {
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        visit.peer.until(b"0\r\n").await;
        let trailers = visit.peer.until(b"\r\n\r\n").await;
        visit.answer(&String::from_utf8(trailers).unwrap().to_lowercase()).await;
    })
    .await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    let mut client = gateway.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
             X-Forwarded-For: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\nX-Sum: 1\r\nX-Request-Id: 1\r\n\
             Forwarded: for=6.6.6.6\r\nConnection: x-sum\r\nProxy: x\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.text(), "x-sum: 1\r\n\r\n");
}

/// Requests that the guard refuses were counted and left no line: whoever reads the log for attackers saw none.
#[tokio::test]
async fn a_request_that_was_refused_before_it_was_one_has_a_line_in_the_access_log() {
    let app = Origin::echo().await;
    let quick = Duration::from_millis(500);
    let gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.timeouts.header = quick;
    })
    .await;
    let wanted = [
        ("GET /bad HTTP/1.1\r\nHost: a\x01\r\n\r\n".to_owned(), 400, "GET", "/bad"),
        ("PUT /two HTTP/1.1\r\nHost: a.test\r\nHost: b\r\n\r\n".to_owned(), 400, "PUT", "/two"),
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(20_000)), 414, "GET", "/aaa"),
        (format!("GET /big HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)), 431, "GET", "/big"),
        ("CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n".to_owned(), 501, "CONNECT", "b:443"),
        ("GET /new HTTP/3.0\r\n\r\n".to_owned(), 505, "GET", "/new"),
        ("GET /slow HTTP/1.1\r\nHost: a.te".to_owned(), 408, "GET", "/slow"),
    ];
    for (request, status, ..) in &wanted {
        let mut client = gateway.client().await;
        client.send(request).await;
        assert_eq!(client.answer().await.status, *status, "{request:.60}");
        client.finish().await;
        assert!(client.is_closed().await);
    }
    // A bad body is the service's to tell, once.
    let mut client = gateway.client().await;
    let body = "POST /body HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
    client.send(body).await;
    client.answer().await;
    client.finish().await;
    assert!(client.is_closed().await);

    let lines = gateway.stop().await;
    assert_eq!(lines.len(), wanted.len() + 1, "{lines:#?}");
    let about = |target: &str| {
        let mut lines = lines.iter();
        lines.find(|line| line["uri"].as_str().unwrap().starts_with(target)).unwrap()
    };
    for (_, status, method, target) in &wanted {
        let line = about(target);
        assert_eq!((&line["status"], &line["method"]), (&(*status).into(), &(*method).into()));
        assert!(line["remote_ip"] == "127.0.0.1" && line["scheme"] == "http", "{line}");
        assert!(line["error"].is_string() && line["host_pattern"] == Value::Null, "{line}");
    }
    assert_eq!(about("/body")["host_pattern"], "a.test");
    assert!(app.heads().is_empty());
}

/// The counts of every host that ever was stayed until a restart.
#[tokio::test]
async fn the_counts_of_a_host_go_with_it() {
    let app = Origin::echo().await;
    let a = host("a.test", app.address);
    let gateway = Gateway::start_with(vec![a.clone(), host("b.test", app.address)], |settings| {
        settings.workers = 2;
    })
    .await;
    let mut busy = gateway.client().await;
    for _ in 0..20 {
        assert_eq!(gateway.client().await.get("a.test", "/").await.status, 200);
        assert_eq!(gateway.client().await.get("b.test", "/").await.status, 200);
        assert_eq!(busy.get("a.test", "/").await.status, 200);
    }
    let metrics = gateway.metrics.clone();
    let counted = |host: &str, count: usize| {
        let line = format!("requests_total{{host=\"{host}\",code=\"2xx\"}} {count}\n");
        metrics.render().contains(&line)
    };
    until("all are counted", || counted("a.test", 40) && counted("b.test", 20)).await;

    gateway.tables.apply_host(&a.pattern, None).unwrap();
    // Until then a connection that was used for the host remembers it.
    assert_eq!(busy.get("b.test", "/").await.status, 200);
    until("the counts are gone", || !metrics.render().contains("host=\"a.test\"")).await;
    assert!(counted("b.test", 21));

    gateway.tables.apply_host(&a.pattern.clone(), Some(a)).unwrap();
    assert_eq!(gateway.client().await.get("a.test", "/").await.status, 200);
    until("it counts from zero", || counted("a.test", 1)).await;
}
