//! Trace context goes on as it came, and each answer tells the id of its request.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Curl, Fetched, System, shared, until};

use crate::gateway::{Fixed, header, set, url};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The line of the last request in the head that an app got which has this field, in lower case; `None` without.
fn seen(app: &Fixed, field: &str) -> Option<String> {
    let head = app.heads().pop().unwrap();
    let lines = head.lines().map(str::to_lowercase);
    let mut values =
        lines.filter_map(|line| Some(line.strip_prefix(&format!("{field}: "))?.to_owned()));
    values.next()
}

async fn ask(system: &System, path: &str, fields: &[&str]) -> Fetched {
    let options: Vec<_> = fields.iter().flat_map(|field| ["-H", field]).collect();
    Curl::new(&system.proxies[0]).with(&options).get(&url(path)).await
}

/// The access-log line of a path.
async fn logged(system: &System, path: &str) -> Value {
    until("an access-log line", Duration::from_secs(10), async || {
        let written = system.proxies[0].process.stdout();
        let mut lines = written.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["uri"] == path)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_and_a_request_has_an_id() {
    let _turn = shared().await;
    let (system, app) = (System::start().await, Fixed::ok());
    set(&system, "app.localhost", json!({"upstreams": [app.addr()]})).await;
    let parent = format!("traceparent: {PARENT}");
    let answer = ask(&system, "/traced", &[&parent, "tracestate: a=1, b=2"]).await;
    assert_eq!(seen(&app, "traceparent").as_deref(), Some(PARENT));
    assert_eq!(seen(&app, "tracestate").as_deref(), Some("a=1, b=2"));
    let line = logged(&system, "/traced").await;
    assert_eq!(line["trace_id"], TRACE, "{line}");
    let id = header(&answer, "x-request-id").unwrap();
    assert_eq!(seen(&app, "x-request-id").as_deref(), Some(id));
    assert_eq!(line["request_id"], id, "{line}");

    ask(&system, "/broken", &["traceparent: 00-xyz", "tracestate: a=1"]).await;
    assert_eq!((seen(&app, "traceparent"), seen(&app, "tracestate")), (None, None));
    assert_eq!(logged(&system, "/broken").await["trace_id"], Value::Null);
    // Nothing is invented, and nobody who isn't trusted names a request.
    let answer = ask(&system, "/plain", &["x-request-id: mine"]).await;
    assert_eq!(seen(&app, "traceparent"), None);
    assert_ne!(header(&answer, "x-request-id"), Some("mine"));
    let pages = ["https://app.localhost/", "http://nobody.localhost/"];
    for page in pages {
        let answer = Curl::new(&system.proxies[0]).get(page).await;
        assert_eq!(header(&answer, "x-request-id").map(str::len), Some(32), "{page}");
    }
    let own = Fixed::start("HTTP/1.1 200 OK\r\nx-request-id: apps\r\ncontent-length: 0\r\n\r\n");
    set(&system, "app.localhost", json!({"upstreams": [own.addr()]})).await;
    assert_eq!(header(&ask(&system, "/", &[]).await, "x-request-id"), Some("apps"));
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_begun_where_that_is_set_and_trusted_proxies_name_requests() {
    let _turn = shared().await;
    let system = System::builder()
        .set("TRACE_CONTEXT", "generate")
        .set("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let app = Fixed::ok();
    set(&system, "app.localhost", json!({"upstreams": [app.addr()]})).await;
    let answer = ask(&system, "/begun", &["x-request-id: front-1"]).await;
    assert_eq!(header(&answer, "x-request-id"), Some("front-1"));
    assert_eq!(seen(&app, "x-request-id").as_deref(), Some("front-1"));
    let line = logged(&system, "/begun").await;
    assert_eq!(line["request_id"], "front-1", "{line}");
    let parent = seen(&app, "traceparent").unwrap();
    assert_eq!(parent.split('-').nth(1), line["trace_id"].as_str(), "{parent} {line}");
    ask(&system, "/other", &[]).await;
    assert_ne!(seen(&app, "traceparent").unwrap(), parent);
    let answer = ask(&system, "/odd", &["x-request-id: a \"b\""]).await;
    assert_eq!(header(&answer, "x-request-id").map(str::len), Some(32));
}
