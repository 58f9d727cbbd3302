//! Large bodies pass through TLS both ways, whole, at constant memory.

use http::{Request, Response, header};
use serde_json::Value;
use testkit::client::{self, Connection};
use testkit::{App, Digest, Pattern, System, alone, drain, soak};

const MIB: u64 = 1 << 20;
/// The most a proxy may ever have held.
const MEMORY: u64 = 64 * MIB;
const NAME: &str = "big.localhost";

fn length() -> u64 {
    if soak() { 4096 * MIB } else { 256 * MIB }
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_both_ways() {
    let _turn = alone().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route(NAME, app.addr()).await;
    let proxy = &system.proxies[0];

    let mut connection = client::h1(proxy, NAME).await.unwrap();
    down(&mut connection, "").await;
    up(&mut connection, Pattern::sized(length())).await;
    down(&mut connection, "?chunked").await;
    up(&mut connection, Pattern::chunked(length())).await;
    assert_memory(proxy.process.peak_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_both_ways() {
    let _turn = alone().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route(NAME, app.addr()).await;
    let proxy = &system.proxies[0];

    let mut connection = client::h2(proxy, NAME).await.unwrap();
    down(&mut connection, "").await;
    up(&mut connection, Pattern::sized(length())).await;
    assert_memory(proxy.process.peak_memory());
}

/// A client that reads nothing makes the proxy stop reading from the app: memory stays, however much the app has.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_costs_no_memory() {
    let _turn = alone().await;
    let (system, app) = (System::start().await, App::start("app"));
    system.api.route(NAME, app.addr()).await;
    let proxy = &system.proxies[0];

    let mut idle = Vec::new();
    for _ in 0..16 {
        let mut connection = client::h1(proxy, NAME).await.unwrap();
        let answer = connection.send(download("")).await.unwrap();
        idle.push((connection, answer));
    }
    // A whole transfer beside them gives the proxy every chance to read ahead.
    down(&mut client::h1(proxy, NAME).await.unwrap(), "").await;
    assert_memory(proxy.process.peak_memory());
}

async fn down(connection: &mut Connection, query: &str) {
    let answer = connection.send(download(query)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let announced = answer.headers().contains_key(header::CONTENT_LENGTH);
    assert_eq!(announced, query.is_empty(), "the length is told exactly when the app tells it");
    assert_eq!(drain(answer.into_body()).await.unwrap(), Pattern::digest(length()));
    connection.ready().await.unwrap();
}

async fn up(connection: &mut Connection, pattern: Pattern) {
    let request = Request::post(format!("https://{NAME}/sum")).body(client::body(pattern)).unwrap();
    let answer: Response<_> = connection.fetch(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let told: Value = serde_json::from_slice(answer.body()).unwrap();
    let sha256 = told["sha256"].as_str().unwrap().to_owned();
    let received = Digest { length: told["length"].as_u64().unwrap(), sha256 };
    assert_eq!(received, Pattern::digest(length()));
    connection.ready().await.unwrap();
}

fn download(query: &str) -> Request<client::Body> {
    let uri = format!("https://{NAME}/bytes/{}{query}", length());
    Request::get(uri).body(client::empty()).unwrap()
}

fn assert_memory(peak: u64) {
    println!("peak resident memory: {:.1} MiB", peak as f64 / MIB as f64);
    assert!(peak < MEMORY, "{} MiB", peak / MIB);
}
