//! HTTP/2 to upstreams, against servers of the `h2` crate and, where those are too well-behaved, against raw frames.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use model::{UpstreamHttp, UpstreamTls};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use support::{
    Frames, Origin, fed, fetch, get, kind, outgoing, run, run_unwatched, upstreams_and_tasks,
    upstreams_with,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use upstream::{Answer, Endpoint, Error, ExchangeKind, Outgoing, Upstreams};

fn upstreams() -> Rc<Upstreams> {
    upstreams_with(ExchangeKind::Codec, |_| {})
}

fn endpoint(origin: &Origin) -> Endpoint {
    let address = format!("127.0.0.1:{}", origin.port());
    Endpoint::speaking(UpstreamHttp::Two, address.parse().unwrap(), UpstreamTls::Off)
}

/// A server that does with each request what a test wants, in a task of its own.
struct Server {
    endpoint: Endpoint,
    /// Connections so far, and those that are open.
    opened: Rc<Cell<usize>>,
    open: Rc<Cell<usize>>,
}

type Stream = (Request<RecvStream>, SendResponse<Bytes>);

impl Server {
    /// `handle` also gets the number of the connection, from 0.
    async fn start<F>(handle: impl Fn(usize, Stream) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self::start_with(Builder::new(), handle).await
    }

    async fn start_with<F>(builder: Builder, handle: impl Fn(usize, Stream) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let origin = Origin::bind().await;
        let server =
            Self { endpoint: endpoint(&origin), opened: Rc::default(), open: Rc::default() };
        let (opened, open, handle) = (server.opened.clone(), server.open.clone(), Rc::new(handle));
        spawn_local(async move {
            loop {
                let stream = origin.accept().await.stream;
                let (builder, number) = (builder.clone(), opened.get());
                let (handle, open) = (handle.clone(), open.clone());
                opened.set(number + 1);
                open.set(open.get() + 1);
                spawn_local(async move {
                    if let Ok(mut connection) = builder.handshake(stream).await {
                        while let Some(Ok(stream)) = connection.accept().await {
                            spawn_local(handle(number, stream));
                        }
                    }
                    open.set(open.get() - 1);
                });
            }
        });
        server
    }
}

fn say(respond: &mut SendResponse<Bytes>, body: &'static str) {
    let response = Response::builder().header("content-length", body.len()).body(()).unwrap();
    let mut stream = respond.send_response(response, false).unwrap();
    stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
}

/// What is left of a body, and its trailers.
async fn read(stream: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok((body, stream.trailers().await?))
}

async fn send_all(stream: &mut h2::SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        stream.send_data(data.split_to(room), false).unwrap();
    }
}

fn post(body: &'static [u8]) -> Outgoing<Frames> {
    outgoing(Method::POST, "/x", Frames::exact(&[body]))
}

#[test]
fn many_requests_share_a_connection() {
    run(async {
        let heads = Rc::new(RefCell::new(Vec::new()));
        let (seen, all) = (heads.clone(), Rc::new(Notify::new()));
        let server = Server::start(move |_, (request, mut respond)| {
            let (heads, all) = (heads.clone(), all.clone());
            async move {
                assert!(request.body().is_end_stream());
                heads.borrow_mut().push(request.into_parts().0);
                if heads.borrow().len() == 50 {
                    all.notify_waiters();
                } else {
                    all.notified().await;
                }
                say(&mut respond, "ok");
            }
        })
        .await;
        let upstreams = upstreams();
        let fetches = (0..50).map(|_| async {
            let mut request = get("/a?x");
            request.headers.insert("te", HeaderValue::from_static("trailers"));
            request.headers.insert("keep-alive", HeaderValue::from_static("5"));
            request.headers.insert("x-own", HeaderValue::from_static("x"));
            fetch(&upstreams, &server.endpoint, &mut request).await
        });
        for outcome in join_all(fetches).await {
            assert_eq!((outcome.status, &outcome.body[..]), (200, &b"ok"[..]), "{outcome:?}");
        }
        assert_eq!(server.opened.get(), 1);
        for head in &*seen.borrow() {
            assert_eq!(head.uri, "http://app.example.com/a?x");
            let mut fields: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
            fields.sort_unstable();
            assert_eq!(fields, ["te", "x-own"]);
        }
    });
}

#[test]
fn what_the_server_does_not_take_at_once_goes_on_further_connections() {
    run(async {
        let (waiting, all) = (Rc::new(Cell::new(0)), Rc::new(Notify::new()));
        let mut builder = Builder::new();
        builder.max_concurrent_streams(2);
        let server = Server::start_with(builder, move |_, (_, mut respond)| {
            let (waiting, all) = (waiting.clone(), all.clone());
            async move {
                waiting.set(waiting.get() + 1);
                if waiting.get() == 7 {
                    all.notify_waiters();
                } else {
                    all.notified().await;
                }
                say(&mut respond, "ok");
            }
        })
        .await;
        let upstreams = upstreams();
        let mut requests: Vec<_> = (0..7).map(|_| get("/")).collect();
        let fetches = requests.iter_mut().map(|it| fetch(&upstreams, &server.endpoint, it));
        let outcomes = join_all(fetches).await;
        assert!(outcomes.iter().all(|it| it.status == 200), "{outcomes:?}");
        // All seven waited for the first connection, which took two: each of the others opened its own.
        assert_eq!(server.opened.get(), 6);
    });
}

#[test]
fn a_refused_request_is_sent_once_more_whatever_it_does() {
    run(async {
        let bodies = Rc::new(RefCell::new(Vec::new()));
        let seen = bodies.clone();
        let server = Server::start(move |number, (mut request, mut respond)| {
            let bodies = bodies.clone();
            async move {
                let (body, _) = read(request.body_mut()).await.unwrap();
                bodies.borrow_mut().push((number, body));
                match number {
                    1 => say(&mut respond, "ok"),
                    _ => respond.send_reset(Reason::REFUSED_STREAM),
                }
            }
        })
        .await;
        let upstreams = upstreams();
        assert_eq!(fetch(&upstreams, &server.endpoint, &mut post(b"hello")).await.status, 200);
        assert_eq!(*seen.borrow(), [(0, b"hello".to_vec()), (1, b"hello".to_vec())]);
        upstreams.close();
        let mut refused = post(b"x");
        let error = upstreams.send(&server.endpoint, &mut refused, |_, _| {}).await.unwrap_err();
        assert!(matches!(error, Error::ClosedBeforeAnswer { sent: false, .. }), "{error:?}");
        assert_eq!(server.opened.get(), 4, "not a third time");
        // It may go to another one.
        assert!(refused.is_whole());
        let other = Server::start(|_, (mut request, mut respond)| async move {
            assert_eq!(read(request.body_mut()).await.unwrap().0, b"x");
            say(&mut respond, "ok");
        })
        .await;
        assert_eq!(fetch(&upstreams, &other.endpoint, &mut refused).await.status, 200);
    });
}

#[test]
fn what_the_server_has_taken_is_not_sent_again_but_for_idempotent_requests() {
    for (method, reset, again) in [
        (Method::POST, None, false),
        (Method::PUT, None, true),
        (Method::GET, Some(Reason::INTERNAL_ERROR), false),
        (Method::GET, Some(Reason::CANCEL), false),
    ] {
        run(async {
            let requests = Rc::new(Cell::new(0));
            let seen = requests.clone();
            let origin = Origin::bind().await;
            let endpoint = endpoint(&origin);
            spawn_local(async move {
                loop {
                    let stream = origin.accept().await.stream;
                    let mut connection: Connection<_, Bytes> =
                        Builder::new().handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        requests.set(requests.get() + 1);
                        match (requests.get(), reset) {
                            (2, Some(reason)) => respond.send_reset(reason),
                            // The connection ends without a word.
                            (2, None) => break,
                            _ => say(&mut respond, "ok"),
                        }
                    }
                }
            });
            let upstreams = upstreams();
            assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.status, 200);
            let mut request = outgoing(method.clone(), "/x", Frames::exact(&[b"hello"]));
            let outcome = fetch(&upstreams, &endpoint, &mut request).await;
            let want = if again { (200, None, 3) } else { (0, Some("closed"), 2) };
            assert_eq!((outcome.status, outcome.error, seen.get()), want, "{method} {reset:?}");
        });
    }
}

#[test]
fn a_connection_that_is_told_to_part_ends_what_it_has_and_gets_no_more() {
    run(async {
        let origin = Origin::bind().await;
        let (upstreams, endpoint) = (upstreams(), endpoint(&origin));
        let parting = Notify::new();
        let client = async {
            let mut request = get("/first");
            let first = upstreams.send(&endpoint, &mut request, |_, _| {}).await.unwrap();
            let Answer::Response(first) = first else { panic!() };
            parting.notify_one();
            // The second one comes after the goodbye: the server does not answer it on the first.
            let mut first = first.into_body();
            assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "be");
            assert_eq!(fetch(&upstreams, &endpoint, &mut post(b"x")).await.body, b"new");
            assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "gun");
            assert!(first.frame().await.is_none());
        };
        let server = async {
            let stream = origin.accept().await.stream;
            let mut old: Connection<_, Bytes> = Builder::new().handshake(stream).await.unwrap();
            let (_, mut respond) = old.accept().await.unwrap().unwrap();
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            let part = async {
                parting.notified().await;
            };
            tokio::select! { () = part => {} _ = old.accept() => panic!() }
            old.graceful_shutdown();
            body.send_data(Bytes::from_static(b"be"), false).unwrap();
            let new = async {
                let stream = origin.accept().await.stream;
                let mut new: Connection<_, Bytes> = Builder::new().handshake(stream).await.unwrap();
                let (_, mut respond) = new.accept().await.unwrap().unwrap();
                say(&mut respond, "new");
                body.send_data(Bytes::from_static(b"gun"), true).unwrap();
                while new.accept().await.is_some() {}
            };
            let end = async { while old.accept().await.is_some() {} };
            tokio::join!(new, end);
        };
        tokio::select! { () = client => {} () = server => panic!("the client is done first") }
    });
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The client's preface, its settings, its window and its acknowledgement of our settings, in bytes.
const BEFORE_A_REQUEST: usize = 24 + (9 + 3 * 6) + (9 + 4) + 9;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

#[test]
fn a_request_that_a_goodbye_did_not_count_is_sent_again() {
    run(async {
        let origin = Origin::bind().await;
        let (upstreams, endpoint) = (upstreams(), endpoint(&origin));
        let server = async {
            let mut old = origin.accept().await;
            old.send(frame(SETTINGS, 0, 0, &[])).await;
            old.exactly(BEFORE_A_REQUEST + 1).await.unwrap();
            old.send(frame(GOAWAY, 0, 0, &[0; 8])).await;
            let stream = origin.accept().await.stream;
            let mut new: Connection<_, Bytes> = Builder::new().handshake(stream).await.unwrap();
            let (_, mut respond) = new.accept().await.unwrap().unwrap();
            say(&mut respond, "ok");
            while new.accept().await.is_some() {}
        };
        let mut request = post(b"hello");
        let client = fetch(&upstreams, &endpoint, &mut request);
        tokio::select! {
            outcome = client => assert_eq!(outcome.body, b"ok", "{outcome:?}"),
            () = server => panic!("the client is done first"),
        }
    });
}

/// What comes in goes out again as it comes, trailers too.
async fn echo((request, mut respond): Stream) {
    let mut body = request.into_body();
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        send_all(&mut stream, data).await;
    }
    match body.trailers().await {
        Ok(Some(trailers)) => stream.send_trailers(trailers).unwrap(),
        Ok(None) => stream.send_data(Bytes::new(), true).unwrap(),
        Err(_) => {}
    }
}

#[test]
fn streams_go_both_ways_at_once_with_trailers() {
    run(async {
        let server = Server::start(|_, stream| echo(stream)).await;
        let upstreams = upstreams();
        let (feed, body) = fed(None);
        let mut request = outgoing(Method::POST, "/echo", body);
        let sent = upstreams.send(&server.endpoint, &mut request, |_, _| {}).await.unwrap();
        let Answer::Response(mut response) = sent else { panic!() };
        for piece in ["a", "bc", "def"] {
            feed.send(Ok(Bytes::from_static(piece.as_bytes()))).await.unwrap();
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        drop(feed);
        assert!(response.body_mut().frame().await.is_none());

        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("content-length", HeaderValue::from_static("7"));
        let body = Frames::chunked(&[b"x"]).slow().trailers(trailers);
        let mut request = outgoing(Method::POST, "/echo", body);
        let outcome = fetch(&upstreams, &server.endpoint, &mut request).await;
        assert_eq!(outcome.trailers, [("grpc-status".to_owned(), "0".to_owned())]);

        let big: Vec<u8> = (0..8 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
        for body in [Frames::exact(&[&big]), Frames::chunked(&[&big, &big[..7]])] {
            let extra = if body.exact.is_some() { 0 } else { 7 };
            let mut request = outgoing(Method::POST, "/echo", body);
            let outcome = fetch(&upstreams, &server.endpoint, &mut request).await;
            assert_eq!((outcome.error, outcome.body.len()), (None, big.len() + extra));
            assert!(outcome.body.starts_with(&big));
        }
        assert_eq!(server.opened.get(), 1);
    });
}

#[test]
fn an_answer_nobody_reads_holds_up_its_server_and_no_other() {
    run(async {
        let sent = Rc::new(Cell::new(0));
        let counter = sent.clone();
        let server = Server::start(move |_, (request, mut respond)| {
            let sent = sent.clone();
            async move {
                if request.uri().path() == "/small" {
                    return say(&mut respond, "ok");
                }
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                for _ in 0..64 {
                    send_all(&mut stream, Bytes::from(vec![0; 1 << 20])).await;
                    sent.set(sent.get() + 1);
                }
                stream.send_data(Bytes::new(), true).unwrap();
            }
        })
        .await;
        let upstreams = upstreams();
        let mut held = Vec::new();
        for _ in 0..40 {
            let mut request = get("/big");
            let answer = upstreams.send(&server.endpoint, &mut request, |_, _| {}).await.unwrap();
            let Answer::Response(response) = answer else { panic!() };
            held.push(response.into_body());
        }
        for _ in 0..3 {
            assert_eq!(fetch(&upstreams, &server.endpoint, &mut get("/small")).await.body, b"ok");
        }
        assert_eq!((counter.get(), server.opened.get()), (0, 1), "of none was a megabyte taken");
        let mut length = 0;
        while let Some(frame) = held[0].frame().await {
            length += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(length, 64 << 20);
    });
}

#[test]
fn interim_answers_are_passed_on_and_a_held_body_waits_for_100() {
    run(async {
        let server = Server::start(|_, (request, mut respond)| async move {
            let interim = |status| Response::builder().status(status).body(()).unwrap();
            respond.send_informational(interim(103)).unwrap();
            if request.headers().contains_key("expect") {
                respond.send_informational(interim(100)).unwrap();
            }
            let (body, _) = read(&mut request.into_body()).await.unwrap();
            assert_eq!(body, b"hello");
            say(&mut respond, "ok");
        })
        .await;
        let upstreams = upstreams_with(ExchangeKind::Codec, |settings| {
            settings.continue_timeout = Duration::from_secs(3600);
        });
        let mut request = post(b"hello");
        let outcome = fetch(&upstreams, &server.endpoint, &mut request).await;
        assert_eq!((outcome.status, &outcome.interims[..]), (200, &[103][..]));
        let mut request = post(b"hello");
        request.headers.insert("expect", HeaderValue::from_static("100-continue"));
        let outcome = fetch(&upstreams, &server.endpoint, &mut request).await;
        assert_eq!((outcome.status, &outcome.interims[..]), (200, &[103, 100][..]));
    });
}

#[test]
fn a_held_body_does_not_wait_for_ever() {
    run(async {
        let server = Server::start(|_, (request, mut respond)| async move {
            assert_eq!(read(&mut request.into_body()).await.unwrap().0, b"hello");
            say(&mut respond, "ok");
        })
        .await;
        let upstreams = upstreams_with(ExchangeKind::Codec, |settings| {
            settings.continue_timeout = Duration::from_millis(20);
        });
        let mut request = post(b"hello");
        request.headers.insert("expect", HeaderValue::from_static("100-continue"));
        assert_eq!(fetch(&upstreams, &server.endpoint, &mut request).await.status, 200);
    });
}

#[test]
fn answers_without_a_body_and_answers_before_the_request_is_over() {
    run(async {
        let server = Server::start(|_, (request, mut respond)| async move {
            let response = |status: u16| {
                Response::builder().status(status).header("content-length", "5").body(()).unwrap()
            };
            match request.uri().path() {
                "/head" => drop(respond.send_response(response(200), true).unwrap()),
                "/204" => drop(respond.send_response(response(204), true).unwrap()),
                "/304" => drop(respond.send_response(response(304), true).unwrap()),
                // All is said, and the rest of the request is of no use (RFC 9113 §8.1).
                _ => {
                    let mut stream = respond.send_response(response(413), false).unwrap();
                    // Dropping the request resets its stream with `NO_ERROR`.
                    stream.send_data(Bytes::from_static(b"large"), true).unwrap();
                }
            }
        })
        .await;
        let upstreams = upstreams();
        let length = ("content-length".to_owned(), "5".to_owned());
        for (method, path, status, headers) in [
            (Method::HEAD, "/head", 200, vec![length.clone()]),
            (Method::GET, "/204", 204, vec![]),
            (Method::GET, "/304", 304, vec![length.clone()]),
        ] {
            let mut request = outgoing(method, path, Frames::default());
            let outcome = fetch(&upstreams, &server.endpoint, &mut request).await;
            let got = (outcome.status, outcome.headers, outcome.body, outcome.error);
            assert_eq!(got, (status, headers, vec![], None), "{path}");
        }
        let (feed, body) = fed(None);
        let mut request = outgoing(Method::POST, "/large", body);
        let outcome = fetch(&upstreams, &server.endpoint, &mut request).await;
        assert_eq!((outcome.status, &outcome.body[..], outcome.error), (413, &b"large"[..], None));
        drop(feed);
        let big = vec![0; 64 << 20];
        let mut request = outgoing(Method::POST, "/large", Frames::exact(&[&big]));
        let outcome = fetch(&upstreams, &server.endpoint, &mut request).await;
        assert_eq!((outcome.status, outcome.error), (413, None), "{outcome:?}");
        assert_eq!(server.opened.get(), 1);
    });
}

#[test]
fn a_part_never_passes_for_the_whole() {
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        run(async {
            let server = Server::start(move |_, (_, mut respond)| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                send_all(&mut stream, Bytes::from_static(b"part")).await;
                // A reset takes back what is not sent yet.
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.send_reset(reason);
            })
            .await;
            let outcome = fetch(&upstreams(), &server.endpoint, &mut get("/")).await;
            let got = (outcome.status, &outcome.body[..], outcome.error);
            assert_eq!(got, (200, &b"part"[..], Some("truncated")), "{reason:?}");
        });
    }
    run(async {
        let server = Server::start(|_, (_, mut respond)| async move {
            let response = Response::builder().header("content-length", "10").body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            let _ = stream.send_data(Bytes::from_static(b"part"), true);
        })
        .await;
        let outcome = fetch(&upstreams(), &server.endpoint, &mut get("/")).await;
        assert_eq!(outcome.error, Some("bad"), "shorter than announced: {outcome:?}");
    });
}

#[test]
fn whoever_loses_interest_resets_the_stream_and_nothing_else() {
    run(async {
        let resets = Rc::new(RefCell::new(Vec::new()));
        let (seen, told) = (resets.clone(), Rc::new(Notify::new()));
        let teller = told.clone();
        let server = Server::start(move |_, (request, mut respond)| {
            let (resets, told) = (resets.clone(), teller.clone());
            async move {
                if request.uri().path() == "/ok" {
                    return say(&mut respond, "ok");
                }
                let path = request.uri().path().to_owned();
                let reset = if path == "/answered" {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data(Bytes::from_static(b"x"), false).unwrap();
                    poll_fn(|cx| stream.poll_reset(cx)).await
                } else {
                    told.notify_one();
                    poll_fn(|cx| respond.poll_reset(cx)).await
                };
                resets.borrow_mut().push((path, reset.unwrap()));
                told.notify_one();
            }
        })
        .await;
        let upstreams = upstreams();
        // The client goes before there is an answer, within it, and with a body that fails.
        let mut request = get("/waiting");
        tokio::select! {
            _ = upstreams.send(&server.endpoint, &mut request, |_, _| {}) => panic!(),
            () = told.notified() => {}
        }
        told.notified().await;
        let mut request = get("/answered");
        let answer = upstreams.send(&server.endpoint, &mut request, |_, _| {}).await.unwrap();
        let Answer::Response(mut response) = answer else { panic!() };
        response.body_mut().frame().await.unwrap().unwrap();
        drop(response);
        told.notified().await;
        let (feed, body) = fed(Some(10));
        let mut request = outgoing(Method::POST, "/failing", body);
        let failing = async {
            told.notified().await;
            feed.send(Err("the client is gone".into())).await.unwrap();
        };
        let sending = fetch(&upstreams, &server.endpoint, &mut request);
        assert_eq!(tokio::join!(sending, failing).0.error, Some("request body"));
        told.notified().await;
        assert_eq!(fetch(&upstreams, &server.endpoint, &mut get("/ok")).await.status, 200);
        assert_eq!(server.opened.get(), 1);
        let all = ["/waiting", "/answered", "/failing"].map(|it| (it.to_owned(), Reason::CANCEL));
        assert_eq!(*seen.borrow(), all);
    });
}

#[test]
fn a_body_keeps_its_announced_length() {
    for (announced, pieces) in
        [(6, &[&b"hello"[..]][..]), (4, &[&b"hello"[..]]), (6, &[b"he", b"llo"])]
    {
        run(async {
            let server = Server::start(|_, stream| echo(stream)).await;
            let mut body = Frames::chunked(pieces);
            body.exact = Some(announced);
            let mut request = outgoing(Method::POST, "/", body);
            let outcome = fetch(&upstreams(), &server.endpoint, &mut request).await;
            assert_eq!(outcome.error, Some("request body"), "{announced} {pieces:?}");
        });
    }
}

#[test]
fn heads_have_a_limit() {
    for (fields, length, interims, want) in [
        (1, 70_000, 0, Some("bad")),
        (129, 1, 0, Some("bad")),
        (128, 1, 0, None),
        (1, 1, 33, Some("bad")),
    ] {
        run(async {
            let server = Server::start(move |_, (_, mut respond)| async move {
                for _ in 0..interims {
                    let hint = Response::builder().status(103).body(()).unwrap();
                    if respond.send_informational(hint).is_err() {
                        return;
                    }
                }
                let mut response = Response::new(());
                for _ in 0..fields {
                    let value = HeaderValue::try_from("x".repeat(length)).unwrap();
                    response.headers_mut().append("x-a", value);
                }
                let _ = respond.send_response(response, true);
            })
            .await;
            let outcome = fetch(&upstreams(), &server.endpoint, &mut get("/")).await;
            assert_eq!(outcome.error, want, "{fields} of {length}, {interims} interim");
        });
    }
}

#[test]
fn silence_has_an_end_and_a_client_that_takes_its_time_is_none() {
    run(async {
        let server = Server::start(|_, (request, mut respond)| async move {
            match request.uri().path() {
                "/mute" => std::future::pending().await,
                "/part" => {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data(Bytes::from_static(b"he"), false).unwrap();
                    std::future::pending::<()>().await;
                }
                _ => echo((request, respond)).await,
            }
        })
        .await;
        let upstreams = upstreams_with(ExchangeKind::Codec, |settings| {
            settings.idle_timeout = Some(Duration::from_millis(50));
        });
        for (path, status) in [("/mute", 0), ("/part", 200)] {
            let outcome = fetch(&upstreams, &server.endpoint, &mut get(path)).await;
            assert_eq!((outcome.status, outcome.error), (status, Some("response timeout")));
        }
        let (feed, body) = fed(None);
        let mut request = outgoing(Method::POST, "/echo", body);
        let feeding = async {
            for piece in [&b"hello"[..], b"world"] {
                tokio::time::sleep(Duration::from_millis(150)).await;
                feed.send(Ok(Bytes::from_static(piece))).await.unwrap();
            }
            drop(feed);
        };
        let outcome = tokio::join!(fetch(&upstreams, &server.endpoint, &mut request), feeding).0;
        assert_eq!((outcome.error, &outcome.body[..]), (None, &b"helloworld"[..]));
        assert_eq!(server.opened.get(), 1);
    });
}

#[test]
fn an_idle_connection_is_asked_for_a_sign_of_life_and_goes_after_its_time() {
    run_unwatched(async {
        let server =
            Server::start(|_, (_, mut respond)| async move { say(&mut respond, "ok") }).await;
        let (upstreams, tasks) = upstreams_and_tasks(ExchangeKind::Codec, |_| {});
        assert_eq!(fetch(&upstreams, &server.endpoint, &mut get("/")).await.status, 200);
        assert!(!tasks.is_empty());
        // From here the clock runs when nobody has anything to do.
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        tasks.wait().await;
        let age = start.elapsed().as_secs();
        assert!((54..62).contains(&age), "after {age} s");
        tokio::time::resume();
        while server.open.get() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

/// Whatever its kernel says: it reads on and answers nothing.
#[test]
fn a_connection_without_a_sign_of_life_is_given_up() {
    run_unwatched(async {
        let origin = Origin::bind().await;
        let endpoint = endpoint(&origin);
        let (upstreams, tasks) = upstreams_and_tasks(ExchangeKind::Codec, |_| {});
        let mut request = get("/");
        let answered = fetch(&upstreams, &endpoint, &mut request);
        let server = async {
            let mut conn = origin.accept().await;
            conn.send(frame(SETTINGS, 0, 0, &[])).await;
            conn.exactly(BEFORE_A_REQUEST + 1).await.unwrap();
            // HEADERS on stream 1, all of it: `:status` 200 of HPACK's static table.
            conn.send(frame(1, 5, 1, &[0x88])).await;
            conn
        };
        let (outcome, mut conn) = tokio::join!(answered, server);
        assert_eq!(outcome.status, 200);
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        let (_, ()) = tokio::join!(conn.end(), tasks.wait());
        let age = start.elapsed().as_secs();
        assert!((36..42).contains(&age), "after {age} s");
        drop(upstreams);
    });
}

#[test]
fn closing_and_dropping_let_go_of_connections() {
    run(async {
        let server =
            Server::start(|_, (_, mut respond)| async move { say(&mut respond, "ok") }).await;
        let (upstreams, tasks) = upstreams_and_tasks(ExchangeKind::Codec, |_| {});
        assert_eq!(fetch(&upstreams, &server.endpoint, &mut get("/")).await.status, 200);
        upstreams.close();
        tasks.wait().await;
        assert_eq!(fetch(&upstreams, &server.endpoint, &mut get("/")).await.status, 200);
        tasks.wait().await;
        assert_eq!(server.opened.get(), 2);
        let (upstreams, tasks) = upstreams_and_tasks(ExchangeKind::Codec, |_| {});
        assert_eq!(fetch(&upstreams, &server.endpoint, &mut get("/")).await.status, 200);
        drop(upstreams);
        tasks.wait().await;
        let (upstreams, _tasks) = upstreams_and_tasks(ExchangeKind::Codec, |settings| {
            settings.keep_alive = Duration::ZERO;
        });
        for _ in 0..2 {
            assert_eq!(fetch(&upstreams, &server.endpoint, &mut get("/")).await.status, 200);
        }
        assert_eq!(server.opened.get(), 5, "idle for no time at all");
    });
}

#[test]
fn what_is_no_http2_is_no_connection() {
    for (answer, then) in [
        (&b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"[..], true),
        (b"", true),
        (b"", false),
    ] {
        run(async {
            let origin = Origin::bind().await;
            let endpoint = endpoint(&origin);
            let upstreams = upstreams_with(ExchangeKind::Codec, |settings| {
                settings.connect_timeout = Duration::from_millis(100);
            });
            let mut request = post(b"hello");
            let sent = upstreams.send(&endpoint, &mut request, |_, _| {});
            let server = async {
                let mut conn = origin.accept().await;
                conn.exactly(24).await.unwrap();
                conn.send(answer).await;
                if then {
                    drop(conn);
                } else {
                    conn.end().await;
                }
                std::future::pending::<()>().await;
            };
            let error = tokio::select! {
                sent = sent => sent.unwrap_err(),
                () = server => panic!(),
            };
            let want = if then { "connect" } else { "connect timeout" };
            assert_eq!((kind(&error), error.may_try_elsewhere()), (want, true), "{error:?}");
            // Nothing of it was sent: another endpoint may have it.
            let server = Server::start(|_, stream| echo(stream)).await;
            assert_eq!(fetch(&upstreams, &server.endpoint, &mut request).await.body, b"hello");
        });
    }
}

#[test]
fn an_upgrade_goes_by_the_older_version() {
    run(async {
        let origin = Origin::bind().await;
        let (upstreams, endpoint) = (upstreams(), endpoint(&origin));
        let client = async {
            let mut request = get("/chat");
            request.upgrade = Some(HeaderValue::from_static("websocket"));
            let sent = upstreams.send(&endpoint, &mut request, |_, _| {}).await.unwrap();
            let Answer::Upgraded(_, mut io) = sent else { panic!() };
            io.write_all(b"hello").await.unwrap();
            let mut echo = [0; 5];
            io.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, b"hello");
        };
        let server = async {
            let mut conn = origin.accept().await;
            assert!(conn.head().await.unwrap().starts_with("GET /chat HTTP/1.1\r\n"));
            conn.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
                .await;
            let hello = conn.exactly(5).await.unwrap();
            conn.send(hello).await;
        };
        tokio::join!(client, server);
    });
}

/// It was kept, and the next request of the same client found it.
#[test]
fn a_connection_that_says_whose_it_is_serves_one_request() {
    run(async {
        let (origin, opened) = (Origin::bind().await, Rc::new(Cell::new(0)));
        let endpoint = endpoint(&origin).with_preface(b"PROXY mine\r\n".to_vec());
        let counter = opened.clone();
        spawn_local(async move {
            loop {
                let mut stream = origin.accept().await.stream;
                counter.set(counter.get() + 1);
                let mut preface = [0; 12];
                stream.read_exact(&mut preface).await.unwrap();
                assert_eq!(&preface, b"PROXY mine\r\n");
                spawn_local(async move {
                    let connection = Builder::new().handshake(stream).await;
                    let mut connection: Connection<_, Bytes> = connection.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        say(&mut respond, "ok");
                    }
                });
            }
        });
        let (upstreams, tasks) = upstreams_and_tasks(ExchangeKind::Codec, |_| {});
        for _ in 0..2 {
            assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.body, b"ok");
        }
        assert_eq!(opened.get(), 2);
        // Both are closed by now, or about to be.
        tasks.wait().await;
    });
}

fn tls_server(offers: &[&str]) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    server.alpn_protocols = offers.iter().map(|it| it.as_bytes().to_vec()).collect();
    Arc::new(server)
}

async fn serve_one<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let mut connection: Connection<_, Bytes> = Builder::new().handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().scheme_str(), Some("https"));
        say(&mut respond, "ok");
    }
}

#[test]
fn over_tls_it_is_agreed_on() {
    for (offers, want) in
        [(&["h2", "http/1.1"][..], None), (&["http/1.1"], Some("connect")), (&[], Some("connect"))]
    {
        run(async {
            let origin = Origin::bind().await;
            let address = format!("127.0.0.1:{}", origin.port()).parse().unwrap();
            let endpoint = Endpoint::speaking(UpstreamHttp::Two, address, UpstreamTls::Insecure);
            let acceptor = tokio_rustls::TlsAcceptor::from(tls_server(offers));
            spawn_local(async move {
                let tcp: TcpStream = origin.accept().await.stream;
                if let Ok(stream) = acceptor.accept(tcp).await
                    && stream.get_ref().1.alpn_protocol() == Some(b"h2")
                {
                    serve_one(stream).await;
                }
            });
            let outcome = fetch(&upstreams(), &endpoint, &mut get("/")).await;
            assert_eq!(outcome.error, want, "{offers:?}");
        });
    }
}

/// The size of an answer that announces one is known before it is read.
#[test]
fn an_announced_length_is_a_size_hint() {
    run(async {
        let server =
            Server::start(|_, (_, mut respond)| async move { say(&mut respond, "ok") }).await;
        let upstreams = upstreams();
        let mut request = get("/");
        let answer = upstreams.send(&server.endpoint, &mut request, |_, _| {}).await.unwrap();
        let Answer::Response(mut response) = answer else { panic!() };
        assert_eq!(response.body().size_hint().exact(), Some(2));
        response.body_mut().frame().await.unwrap().unwrap();
        assert!(response.body().size_hint().exact() == Some(0));
    });
}
