//! A pooled upstream connection that the app closes at the worst moment: what may be sent again is, what may not never
//! reaches the app twice.

use std::collections::HashMap;
use std::time::Duration;

use http::{Method, Request, Response};
use testkit::client::{self, Connection};
use testkit::{Conversation, RawOrigin, System, shared};

const ROUNDS: usize = 100;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The app answers the first request of each connection, reads the next one and hangs up without a word.
///
/// The proxy can't know whether the app acted on it: a GET is sent again, a POST is not.
#[tokio::test(flavor = "multi_thread")]
async fn the_app_reads_the_second_request_and_hangs_up() {
    let _turn = shared().await;
    let origin = RawOrigin::start(|mut it| async move {
        if answer_one(&mut it).await.is_some()
            && let Some(head) = it.read_head().await
        {
            it.read_body(&head).await;
        }
    });
    let outcome = alternate(&origin).await;
    assert_eq!(outcome.failed_gets, 0, "every GET is sent again");
    assert!(outcome.failed_posts > 0, "no POST of which the fate is unknown is sent again");
}

/// The app closes each connection right after its answer, so that the close meets the next request on its way.
#[tokio::test(flavor = "multi_thread")]
async fn the_app_closes_as_the_next_request_arrives() {
    let _turn = shared().await;
    let origin = RawOrigin::start(|mut it| async move {
        answer_one(&mut it).await;
    });
    let outcome = alternate(&origin).await;
    assert_eq!(outcome.failed_gets, 0, "every GET is sent again");
}

/// The app closes as soon as the first byte of the second request is there, most of it unread: a reset.
#[tokio::test(flavor = "multi_thread")]
async fn the_app_resets_as_the_next_request_arrives() {
    let _turn = shared().await;
    let origin = RawOrigin::start(|mut it| async move {
        if answer_one(&mut it).await.is_some() {
            let _ = it.stream().readable().await;
        }
    });
    let outcome = alternate(&origin).await;
    assert_eq!(outcome.failed_gets, 0, "every GET is sent again");
}

/// An app that hangs up on every connection, fresh ones too, gets a request a bounded number of times, and the client
/// is told of a bad gateway.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_always_hangs_up_is_not_asked_forever() {
    let _turn = shared().await;
    let origin = RawOrigin::start(|mut it| async move {
        it.read_head().await;
    });
    let system = System::start().await;
    system.api.route("app.localhost", origin.addr()).await;
    let mut connection = client::plain(system.proxies[0].http).await.unwrap();

    for method in [Method::GET, Method::POST] {
        assert_eq!(send(&mut connection, &method, "hopeless").await.status(), 502);
    }
    let seen = deliveries(&origin);
    assert!(seen["GET-hopeless"] <= 3, "{seen:?}");
    assert_eq!(seen["POST-hopeless"], 1);
}

#[derive(Default)]
struct Outcome {
    failed_gets: usize,
    failed_posts: usize,
}

/// Sends GETs and POSTs in turn through one proxy connection and checks that no POST arrives twice.
async fn alternate(origin: &RawOrigin) -> Outcome {
    let system = System::builder().set("WORKERS", "1").start().await;
    system.api.route("app.localhost", origin.addr()).await;
    let mut connection = client::plain(system.proxies[0].http).await.unwrap();
    let mut outcome = Outcome::default();
    for round in 0..ROUNDS {
        for method in [Method::GET, Method::POST] {
            let status = send(&mut connection, &method, &round.to_string()).await.status();
            assert!(status == 200 || status == 502, "{method} {round}: {status}");
            if status == 502 && method == Method::GET {
                outcome.failed_gets += 1;
            } else if status == 502 {
                outcome.failed_posts += 1;
            }
        }
    }
    let seen = deliveries(origin);
    assert!(seen.len() >= ROUNDS, "the requests arrived");
    let twice: Vec<_> = seen.iter().filter(|(id, n)| id.starts_with("POST") && **n > 1).collect();
    assert!(twice.is_empty(), "delivered twice: {twice:?}");
    println!("{} GETs and {} POSTs failed", outcome.failed_gets, outcome.failed_posts);
    outcome
}

async fn send(connection: &mut Connection, method: &Method, id: &str) -> Response<bytes::Bytes> {
    let body = if method == Method::POST { client::full("x=1") } else { client::empty() };
    let request = Request::builder()
        .method(method.clone())
        .uri("http://app.localhost/")
        .header("x-test-id", format!("{method}-{id}"))
        .body(body)
        .unwrap();
    let answer = testkit::within("an answer", Duration::from_secs(10), connection.fetch(request));
    answer.await.unwrap()
}

/// How often each request's head reached the app.
fn deliveries(origin: &RawOrigin) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for bytes in origin.received() {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        for rest in text.split("x-test-id:").skip(1) {
            let id = rest.lines().next().unwrap().trim().to_owned();
            *counts.entry(id.replace("get", "GET").replace("post", "POST")).or_default() += 1;
        }
    }
    counts
}

async fn answer_one(conversation: &mut Conversation) -> Option<()> {
    let head = conversation.read_head().await?;
    conversation.read_body(&head).await?;
    conversation.write(ANSWER).await;
    Some(())
}
