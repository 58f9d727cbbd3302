//! HTTP/2 stream by stream: interim answers, windows that stay shut, streams that are reset.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use runtime::Tasks;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::common::origin::Origin;
use crate::common::{Gateway, PATIENCE, host, until};
use crate::tls::shake;

/// A client whose streams have windows of so many bytes.
struct Client {
    sender: SendRequest<Bytes>,
    _tasks: Tasks,
}

impl Client {
    async fn connect(gateway: &Gateway, window: u32) -> Self {
        let stream = shake(gateway, "a.test", &["h2"]).await.unwrap();
        let mut builder = Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(1 << 20);
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        let tasks = Tasks::new();
        tasks.spawn("h2 client", async move {
            let _ = connection.await;
        });
        Self { sender, _tasks: tasks }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let uri = format!("https://a.test{path}");
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        self.sender = self.sender.clone().ready().await.unwrap();
        self.sender.send_request(request, end).unwrap()
    }

    /// A GET's answer, up to its head.
    async fn get(&mut self, path: &str) -> RecvStream {
        let (response, _) = self.send(Method::GET, path, true).await;
        in_time(response).await.unwrap().into_body()
    }
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("in time")
}

/// The next bytes, with room made for as many more.
async fn read(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = in_time(body.data()).await?;
    Some(data.inspect(|data| body.flow_control().release_capacity(data.len()).unwrap()))
}

async fn text(mut body: RecvStream) -> String {
    let mut whole = Vec::new();
    while let Some(data) = read(&mut body).await {
        whole.extend(data.unwrap());
    }
    String::from_utf8(whole).unwrap()
}

/// Sends so many bytes of an upload that goes on, as the other side makes room; whether it took them.
async fn upload(stream: &mut SendStream<Bytes>, mut size: usize) -> bool {
    while size > 0 {
        stream.reserve_capacity(size.min(16 * 1024));
        let room = match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(room)) => room.min(size),
            _ => return false,
        };
        size -= room;
        stream.send_data(Bytes::from(vec![b'x'; room]), false).unwrap();
    }
    true
}

async fn gateway(app: &Origin, adjust: impl FnOnce(&mut proxy::Settings)) -> Gateway {
    let gateway = Gateway::start_with(vec![host("a.test", app.address)], adjust).await;
    gateway.certify("a.test");
    gateway
}

/// They were dropped: hyper's server has no way to send them.
#[tokio::test]
async fn interim_answers_reach_the_client_before_the_answer() {
    let (go, gone) = watch::channel(false);
    let app = Origin::start(move |mut visit| {
        let mut gone = gone.clone();
        async move {
            visit.request().await.unwrap();
            let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n";
            visit.send(hints).await;
            gone.wait_for(|gone| *gone).await.unwrap();
            visit.send("HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n").await;
            visit.answer("done").await;
        }
    })
    .await;
    let gateway = gateway(&app, |_| {}).await;
    let mut client = Client::connect(&gateway, 65_535).await;
    let (mut response, _) = client.send(Method::GET, "/", true).await;
    let hints = in_time(poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!(hints.status(), StatusCode::EARLY_HINTS);
    assert_eq!(hints.headers()["link"], "</a.css>");
    assert_eq!(hints.headers().len(), 1, "{hints:?}");
    go.send_replace(true);
    let hints = in_time(poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!(hints.headers()["link"], "</b.css>");
    let answer = in_time(response).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("date"));
    assert_eq!(text(answer.into_body()).await, "done");
    assert_eq!(gateway.stop().await.len(), 1);
}

/// The minimum rate was the connection's alone: whoever read one stream could keep all others full.
#[tokio::test]
async fn a_stream_that_is_not_read_is_ended_and_no_other() {
    let app = Origin::start(|mut visit| async move {
        let head = visit.request().await.unwrap();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        if head.contains("/big") {
            let block = vec![b'x'; 1 << 16];
            while visit.peer.try_send(&block).await {}
        }
        while visit.peer.try_send(&[b'x'; 100]).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let gateway = gateway(&app, |settings| {
        settings.rates.window = Duration::from_millis(300);
    })
    .await;
    let mut client = Client::connect(&gateway, 1000).await;
    let mut stuck = client.get("/big").await;
    let mut drip = client.get("/drip").await;
    let counted = r#"gatewright_connections_lapsed_total{reason="slow_reader"} 1"#;
    let ended = in_time(async {
        // What the window takes comes; of it no byte is given back.
        let mut got = 0;
        loop {
            match stuck.data().await {
                Some(Ok(data)) => got += data.len(),
                other => break (got, other),
            }
        }
    });
    let read_on = async {
        while !gateway.metrics.render().contains(counted) {
            read(&mut drip).await.unwrap().unwrap();
        }
        for _ in 0..10 {
            read(&mut drip).await.unwrap().unwrap();
        }
    };
    let ((got, end), ()) = tokio::join!(ended, in_time(read_on));
    assert_eq!(got, 1000);
    assert_eq!(end.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
    drop((drip, client));
    let lines = gateway.stop().await;
    let line = lines.iter().find(|line| line["uri"] == "/big").unwrap();
    assert_eq!(line["error"], "the client takes its answer too slowly");
    println!("taken from the app for the stream that was not read: {} bytes", line["bytes_sent"]);
}

/// Bodies that are pulled from the app only as the window opens still come whole.
#[tokio::test]
async fn a_window_of_a_few_bytes_is_enough() {
    let sent = "0123456789".repeat(10_000);
    let body = sent.clone();
    let app = Origin::start(move |mut visit| {
        let body = body.clone();
        async move {
            visit.request().await.unwrap();
            visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for chunk in body.as_bytes().chunks(5_000) {
                visit.send(format!("{:x}\r\n", chunk.len())).await;
                visit.send(chunk).await;
                visit.send("\r\n").await;
            }
            visit.send("0\r\n\r\n").await;
        }
    })
    .await;
    let gateway = gateway(&app, |_| {}).await;
    let mut client = Client::connect(&gateway, 77).await;
    let body = client.get("/").await;
    assert_eq!(text(body).await, sent);
    let lines = gateway.stop().await;
    assert_eq!(lines[0]["error"], serde_json::Value::Null);
    assert_eq!(lines[0]["bytes_sent"], sent.len());
}

/// An app that notes when its client is gone.
async fn noting(head: &'static str) -> (Origin, watch::Receiver<bool>) {
    let (went, gone) = watch::channel(false);
    let app = Origin::start(move |mut visit| {
        let went = went.clone();
        async move {
            visit.request().await.unwrap();
            visit.send(head).await;
            visit.peer.rest().await;
            went.send_replace(true);
        }
    })
    .await;
    (app, gone)
}

#[tokio::test]
async fn a_reset_drops_the_exchange_before_the_answer() {
    let (app, mut gone) = noting("").await;
    let gateway = gateway(&app, |_| {}).await;
    let mut client = Client::connect(&gateway, 65_535).await;
    let (response, mut stream) = client.send(Method::GET, "/", true).await;
    until("the app is asked", || app.heads().len() == 1).await;
    stream.send_reset(Reason::CANCEL);
    in_time(gone.wait_for(|gone| *gone)).await.unwrap();
    drop(response);
    let lines = gateway.stop().await;
    assert_eq!(lines[0]["error"], "the client went away");
    assert_eq!(lines[0]["status"], 0);
}

#[tokio::test]
async fn a_reset_drops_the_exchange_amid_the_answer() {
    let (app, mut gone) = noting("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc").await;
    let gateway = gateway(&app, |_| {}).await;
    let mut client = Client::connect(&gateway, 65_535).await;
    let (response, mut stream) = client.send(Method::GET, "/", true).await;
    let mut body = in_time(response).await.unwrap().into_body();
    assert_eq!(read(&mut body).await.unwrap().unwrap(), "abc");
    stream.send_reset(Reason::CANCEL);
    in_time(gone.wait_for(|gone| *gone)).await.unwrap();
    let lines = gateway.stop().await;
    assert_eq!(lines[0]["error"], "the client went away");
    assert_eq!(lines[0]["status"], 200);
}

/// To hyper a stream reset by CANCEL was a body that is over: the app got the part with the end of a whole.
#[tokio::test]
async fn a_part_of_an_upload_does_not_pass_for_the_whole() {
    let (seen, mut sees) = watch::channel(Vec::new());
    let app = Origin::start(move |mut visit| {
        let seen = seen.clone();
        async move {
            visit.request().await.unwrap();
            let begun = visit.peer.take(8).await;
            seen.send_replace(begun);
            let rest = visit.peer.rest().await;
            seen.send_modify(|all| all.extend([b"|".as_slice(), &rest].concat()));
        }
    })
    .await;
    let gateway = gateway(&app, |_| {}).await;
    let mut client = Client::connect(&gateway, 65_535).await;
    let (_response, mut stream) = client.send(Method::POST, "/", false).await;
    stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
    in_time(sees.wait_for(|seen| seen == b"3\r\nabc\r\n")).await.unwrap();
    stream.send_reset(Reason::CANCEL);
    in_time(sees.wait_for(|seen| seen == b"3\r\nabc\r\n|")).await.unwrap();
    gateway.stop().await;
}

#[tokio::test]
async fn an_upload_that_stalls_does_not_stop_another() {
    const SIZE: usize = 4 << 20;
    let (go, gone) = watch::channel(false);
    let app = Origin::start(move |mut visit| {
        let mut gone = gone.clone();
        async move {
            while let Some(head) = visit.request().await {
                if head.contains("/stall") {
                    gone.wait_for(|gone| *gone).await.unwrap();
                }
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                visit.peer.take(length.unwrap().parse().unwrap()).await;
                visit.answer("taken").await;
            }
        }
    })
    .await;
    let gateway = gateway(&app, |_| {}).await;
    let mut client = Client::connect(&gateway, 65_535).await;
    let (stalled, mut stream) = post(&mut client, "/stall", 100 << 20).await;
    let (pushed, mut pushes) = watch::channel(0);
    let tasks = Tasks::new();
    tasks.spawn("stalled upload", async move {
        for n in 1.. {
            if !upload(&mut stream, 16 * 1024).await {
                return;
            }
            pushed.send_replace(n);
        }
    });
    // Until nothing more is taken.
    while let Ok(changed) = timeout(Duration::from_millis(200), pushes.changed()).await {
        changed.unwrap();
    }
    let (answer, mut stream) = post(&mut client, "/", SIZE).await;
    assert!(in_time(upload(&mut stream, SIZE)).await);
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(text(in_time(answer).await.unwrap().into_body()).await, "taken");
    go.send_replace(true);
    drop(stalled);
}

async fn post(
    client: &mut Client,
    path: &str,
    length: usize,
) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::post(format!("https://a.test{path}")).header("content-length", length);
    client.sender = client.sender.clone().ready().await.unwrap();
    client.sender.send_request(request.body(()).unwrap(), false).unwrap()
}
