//! HTTP/1.1 from client to app and back.

use std::time::Duration;

use crate::common::client::Client;
use crate::common::origin::Origin;
use crate::common::{Gateway, host, until};

/// A gateway before one app at `a.test`.
async fn before(app: &Origin) -> Gateway {
    Gateway::start(vec![host("a.test", app.address)]).await
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[tokio::test]
async fn requests_of_many_connections_share_one_to_the_app() {
    let app = Origin::echo().await;
    let gateway = before(&app).await;
    for _ in 0..5 {
        let mut client = gateway.client().await;
        for _ in 0..3 {
            assert_eq!(client.get("a.test", "/").await.status, 200);
        }
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn several_workers_share_the_port_and_the_counts() {
    let app = Origin::echo().await;
    let gateway =
        Gateway::start_with(vec![host("a.test", app.address)], |settings| settings.workers = 3)
            .await;
    for _ in 0..40 {
        assert_eq!(gateway.client().await.get("a.test", "/").await.status, 200);
    }
    assert!((2..=3).contains(&app.connections()), "one to the app from each worker");
    let metrics = gateway.metrics.clone();
    assert_eq!(gateway.stop().await.len(), 40);
    let counted = r#"gatewright_http_requests_total{host="a.test",code="2xx"} 40"#;
    assert!(metrics.render().contains(counted));
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let app = Origin::start(|mut visit| async move {
        while let Some(head) = visit.request().await {
            assert!(head.starts_with("HEAD "));
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
        }
    })
    .await;
    let gateway = before(&app).await;
    let mut client = gateway.client().await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let answer = client.head().await;
        assert_eq!(answer.header("content-length"), Some("1000"));
        assert!(client.is_quiet().await);
    }
    assert_eq!(gateway.stop().await[0]["bytes_sent"], 0);
}

#[tokio::test]
async fn chunks_and_trailers_pass_both_ways() {
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        let body = visit.peer.until(b"0\r\n").await;
        let trailers = visit.peer.until(b"\r\n\r\n").await;
        let seen = format!(
            "{}|{}",
            String::from_utf8(body).unwrap().replace("\r\n", " "),
            String::from_utf8(trailers).unwrap().trim()
        );
        let size = seen.len();
        visit
            .send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                 {size:x}\r\n{seen}\r\n0\r\nX-Sum: 7\r\n\r\n"
            ))
            .await;
    })
    .await;
    let gateway = before(&app).await;
    let mut client = gateway.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTrailer: X-In\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-In: 1\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    let seen = answer.text().to_lowercase();
    assert!(seen.contains("abc") && seen.contains("de") && seen.ends_with("|x-in: 1"), "{seen}");
    assert_eq!(answer.trailers.to_lowercase(), "x-sum: 7\r\n");
    let lines = gateway.stop().await;
    assert_eq!(lines[0]["bytes_read"], 5);
    assert_eq!(lines[0]["error"], serde_json::Value::Null);
}

#[tokio::test]
async fn the_body_is_asked_for_when_the_app_asks_for_it() {
    let app = Origin::start(|mut visit| async move {
        let head = visit.request().await.unwrap().to_lowercase();
        assert!(head.contains("expect: 100-continue"));
        if head.starts_with("post /no") {
            visit.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
            assert!(visit.peer.rest().await.is_empty());
            return;
        }
        assert!(visit.peer.is_quiet().await, "the body was sent before it was asked for");
        visit.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(visit.peer.take(4).await, b"body");
        visit.answer("thanks").await;
    })
    .await;
    let gateway = before(&app).await;
    let expect = "HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let mut client = gateway.client().await;
    client.send(format!("POST /yes {expect}")).await;
    assert_eq!(client.head().await.status, 100);
    client.send("body").await;
    assert_eq!(client.answer().await.text(), "thanks");
    let mut client = gateway.client().await;
    client.send(format!("POST /no {expect}")).await;
    assert_eq!(client.head().await.status, 403);
    assert!(client.is_closed().await);
    assert_eq!(app.panics(), 0);
}

#[tokio::test]
async fn an_answer_that_comes_during_the_upload_is_passed_on_at_once() {
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        visit.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
        visit.peer.rest().await;
    })
    .await;
    let gateway = before(&app).await;
    let mut client = gateway.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\nabc").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (413, "big"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn interim_answers_come_before_the_answer_and_not_to_http_1_0() {
    let app = Origin::start(|mut visit| async move {
        while visit.request().await.is_some() {
            let hints =
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: 1\r\n\r\n";
            visit.send(hints).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            visit.answer("hinted").await;
        }
    })
    .await;
    let gateway = before(&app).await;
    let mut client = gateway.client().await;
    for _ in 0..2 {
        client.send(GET).await;
        let hints = client.head().await;
        assert_eq!((hints.status, hints.header("link")), (103, Some("</a.css>")));
        assert_eq!(hints.header("x"), None);
        assert_eq!(client.answer().await.text(), "hinted");
    }
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "hinted");
}

#[tokio::test]
async fn an_upload_to_nobody_is_answered_and_closed() {
    let app = Origin::echo().await;
    let gateway = before(&app).await;
    let mut client = gateway.client().await;
    client.send("POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: 100000000\r\n\r\nabc").await;
    assert_eq!(client.answer().await.status, 404);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_truncated_answer_reaches_the_client_as_truncated() {
    let app = Origin::start(|mut visit| async move {
        let head = visit.request().await.unwrap();
        match head.contains("/chunked") {
            true => visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
            false => visit.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        }
        .await;
    })
    .await;
    let gateway = before(&app).await;
    for path in ["/chunked", "/length"] {
        let mut client = gateway.client().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        assert_eq!(client.head().await.status, 200);
        let rest = String::from_utf8(client.rest().await).unwrap();
        assert!(rest.contains("abc") && !rest.contains("0\r\n\r\n"), "{rest:?}");
    }
    for line in gateway.stop().await {
        assert!(line["error"].as_str().unwrap().contains("broke off"), "{line}");
    }
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_the_apps_connection() {
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        visit.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let gateway = before(&app).await;
    let answer = gateway.client().await.get("a.test", "/").await;
    assert_eq!(answer.text(), "until the end");
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
}

#[tokio::test]
async fn a_client_that_has_said_everything_still_gets_its_answer() {
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        visit.answer("late").await;
    })
    .await;
    let gateway = before(&app).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    client.finish().await;
    assert_eq!(client.answer().await.text(), "late");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let app = Origin::echo().await;
    let gateway = before(&app).await;
    let mut client = gateway.client().await;
    let requests: String =
        (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n")).collect();
    client.send(requests).await;
    for n in 0..20 {
        assert!(client.answer().await.text().starts_with(&format!("GET /{n} ")));
    }
    assert_eq!(gateway.stop().await.len(), 20);
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let app = Origin::echo().await;
    let gateway = before(&app).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.starts_with("HTTP/1.0 "));
    assert!(client.is_closed().await);
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 404);
}

#[tokio::test]
async fn malformed_requests_never_reach_the_app() {
    let app = Origin::echo().await;
    let gateway = before(&app).await;
    for bad in [
        "GET / HTTP/1.1\nHost: a.test\n\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut client = gateway.client().await;
        client.send(bad).await;
        assert_eq!(client.answer().await.status, 400, "{bad:?}");
        assert!(client.is_closed().await);
    }
    assert!(app.heads().is_empty());
    let (metrics, counted) = (gateway.metrics, "gatewright_http_malformed_requests_total 5");
    until("all are counted", || metrics.render().contains(counted)).await;
}

#[tokio::test]
async fn much_data_passes_both_ways() {
    const SIZE: usize = 8 << 20;
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        let body = visit.peer.take(SIZE).await;
        visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await;
        visit.send(&body).await;
    })
    .await;
    let gateway = before(&app).await;
    let mut client = gateway.client().await;
    let body: Vec<u8> = (0..SIZE).map(|n| u8::try_from(n / 977 % 256).unwrap()).collect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    client.send(&body).await;
    assert!(client.answer().await.body == body);
}

#[tokio::test]
async fn every_request_is_in_the_access_log_exactly_once() {
    let app = Origin::echo().await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    let mut client = gateway.client().await;
    for n in 0..50 {
        client.get(if n % 2 == 0 { "a.test" } else { "b.test" }, &format!("/{n}?q")).await;
    }
    let mut gone = Client::connect(gateway.http).await;
    gone.send("POST /gone HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nab").await;
    until("the app saw it", || app.heads().iter().any(|head| head.contains("/gone"))).await;
    drop(gone);
    let lines = gateway.stop().await;
    let mut targets: Vec<&str> = lines.iter().map(|line| line["uri"].as_str().unwrap()).collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!((lines.len(), targets.len()), (51, 51));
    for line in &lines {
        assert!(line["duration_ms"].is_number() && line["remote_ip"] == "127.0.0.1", "{line}");
    }
    assert_eq!(lines[0]["host_pattern"], "a.test");
    assert_eq!(lines[0]["upstream"], app.address.to_string());
    assert!(lines[0]["upstream_ms"].is_number());
    assert_eq!(lines[1]["status"], 404);
}
