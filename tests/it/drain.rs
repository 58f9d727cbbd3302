//! SIGTERM under load: what was begun is finished, what was accepted is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;
use testkit::load::{Ending, Load, Plan, Report};
use testkit::{App, System, alone, client, within};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const NAME: &str = "app.localhost";
/// Pieces of a slow body and the pause before each: 5 s in all.
const PIECES: u64 = 50;
const PAUSE: u64 = 100;

/// 2,000 requests a second over 64 keep-alive connections and 4 × 100 HTTP/2 streams, new connections all the time,
/// and beside them slow uploads, slow downloads and a WebSocket, each of which has seconds to go when SIGTERM comes.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing() {
    let _turn = alone().await;
    let mut system = System::start().await;
    let app = App::start("app");
    system.api.route(NAME, app.addr()).await;
    let proxy = &mut system.proxies[0];

    let keep_alive = Load::h1(proxy.http, &plan("keep", 950, 64, "/delay/20", 0));
    let fresh = Load::h1(proxy.http, &plan("fresh", 50, 5, "/delay/0", 1));
    let fresh_tls = Load::h1_tls(proxy, &plan("tls", 20, 5, "/delay/0", 1));
    let streams = Load::h2(proxy, &plan("h2", 1000, 4, "/delay/300", 0), 100);
    let mut slow = JoinSet::new();
    for _ in 0..4 {
        slow.spawn(upload(proxy.front().clone()));
        slow.spawn(download(proxy.front().clone()));
    }
    let released = Arc::new(AtomicBool::new(false));
    let mut tunnels = JoinSet::new();
    tunnels.spawn(tunnel(proxy.front().clone(), released.clone()));
    // Everything is under way and has been for a while.
    tokio::time::sleep(Duration::from_secs(2)).await;

    proxy.process.terminate();
    let began = Instant::now();
    while let Some(done) = slow.join_next().await {
        done.unwrap();
    }
    let slow = began.elapsed();
    let reports = [
        keep_alive.finish().await,
        fresh.finish().await,
        fresh_tls.finish().await,
        streams.finish().await,
    ];
    assert!(proxy.process.ended().is_none(), "the tunnel is still open");
    released.store(true, Ordering::Relaxed);
    tunnels.join_next().await.unwrap().unwrap();
    let status = proxy.process.exit(Duration::from_secs(10)).await;

    println!(
        "slow bodies done {slow:.1?} and the process gone {:.1?} after SIGTERM",
        began.elapsed()
    );
    assert_eq!(status.code(), Some(0));
    judge(&reports, &app);
}

fn judge(reports: &[Report; 4], app: &App) {
    let [keep_alive, fresh, fresh_tls, streams] = reports;
    for (name, report) in
        [("keep-alive", keep_alive), ("new", fresh), ("new TLS", fresh_tls), ("h2", streams)]
    {
        println!("{name}: {report}");
        assert!(report.count(Ending::Whole(200)) > 20, "{name}: the load ran");
        // What the proxy had not read may be sent again; anything else lost is lost.
        assert!(
            report.except(&[Ending::Whole(200), Ending::Unread]).is_empty(),
            "{name}: {report}"
        );
    }
    assert_eq!(fresh.count(Ending::Unread), 0, "every accepted connection is answered");
    assert_eq!(fresh_tls.count(Ending::Unread), 0, "every accepted connection is answered");

    let seen: std::collections::HashSet<_> = app.seen().into_iter().map(|it| it.id).collect();
    let lost = reports.iter().flat_map(|report| &report.records);
    let lost: Vec<_> =
        lost.filter(|it| it.ending == Ending::Unread && seen.contains(&it.id)).collect();
    assert!(lost.is_empty(), "the app answered and the client was told nothing: {lost:?}");
}

fn plan(
    label: &'static str,
    rate: u32,
    connections: usize,
    path: &str,
    per_connection: usize,
) -> Plan {
    Plan { label, rate, connections, host: NAME.to_owned(), path: path.to_owned(), per_connection }
}

/// A request body that takes 5 s; the app says how much came.
async fn upload(front: client::Front) {
    let pieces = futures_util::stream::unfold(0, |sent| async move {
        if sent == PIECES {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(PAUSE)).await;
        Some((Ok(Frame::data(Bytes::from_static(&[b'+'; 1000]))), sent + 1))
    });
    let request = Request::post(format!("https://{NAME}/sum"));
    let request = request.body(client::body(StreamBody::new(pieces))).unwrap();
    let mut connection = client::h1(&front, NAME).await.unwrap();
    let answer = connection.fetch(request).await.expect("a whole upload");
    let told: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(told["length"], PIECES * 1000);
}

/// An answer's body that takes 5 s.
async fn download(front: client::Front) {
    let request = Request::get(format!("https://{NAME}/drip/{PIECES}/{PAUSE}"));
    let mut connection = client::h2(&front, NAME).await.unwrap();
    let answer = connection.send(request.body(client::empty()).unwrap()).await.unwrap();
    let body = answer.into_body().collect().await.expect("a whole download").to_bytes();
    assert_eq!(body.len() as u64, PIECES * 1000);
}

/// A WebSocket that echoes until `released` is set.
async fn tunnel(front: client::Front, released: Arc<AtomicBool>) {
    let stream = client::tls(&front, NAME, &["http/1.1"]).await.unwrap();
    let url = format!("wss://{NAME}/ws");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    while !released.load(Ordering::Relaxed) {
        let message = Message::text("still here");
        socket.send(message.clone()).await.expect("an open tunnel");
        let echo = within("an echo", Duration::from_secs(5), socket.next()).await;
        assert_eq!(echo.expect("an open tunnel").unwrap(), message);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

/// With nothing to wait for, SIGTERM ends every program at once and with status 0; a second SIGTERM ends a drain.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_an_idle_system_and_a_second_one_ends_a_drain() {
    let _turn = alone().await;
    let mut system = System::builder().proxies(2).start().await;
    let app = App::start("app");
    system.api.route(NAME, app.addr()).await;

    system.api_process.terminate();
    assert_eq!(system.api_process.exit(Duration::from_secs(8)).await.code(), Some(0));
    let mut idle = system.proxies.pop().unwrap();
    idle.process.terminate();
    assert_eq!(idle.process.exit(Duration::from_secs(8)).await.code(), Some(0));

    let mut busy = system.proxies.pop().unwrap();
    let mut connection = client::plain(busy.http).await.unwrap();
    let request =
        Request::get(format!("http://{NAME}/drip/600/100")).body(client::empty()).unwrap();
    let answer = connection.send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    busy.process.terminate();
    let draining = async || (busy.admin("/readyz").await.0 != 200).then_some(());
    testkit::until("it says that it drains", Duration::from_secs(4), draining).await;
    busy.process.terminate();
    busy.process.exit(Duration::from_secs(4)).await;
}
