//! Behaviour around an exchange: reuse, repetition, early answers, `Expect`, upgrades, time limits. Both ways of
//! speaking HTTP, unless a test says why not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::BodyExt;
use support::{
    BOTH, Frames, Origin, fed, fetch, get, kind, outgoing, run, run_unwatched, upstreams,
    upstreams_and_tasks, upstreams_with,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use upstream::{Answer, Endpoints, Error, ExchangeKind};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn connections_are_used_again_the_last_one_first() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let a_is_done = tokio::sync::Notify::new();
            let client = async {
                let a = async {
                    let outcome = fetch(&upstreams, &endpoint, &mut get("/a")).await;
                    a_is_done.notify_one();
                    outcome.status
                };
                let b = async { fetch(&upstreams, &endpoint, &mut get("/b")).await.status };
                assert_eq!(tokio::join!(a, b), (200, 200));
                for _ in 0..3 {
                    assert_eq!(fetch(&upstreams, &endpoint, &mut get("/c")).await.status, 200);
                }
            };
            let server = async {
                let (mut a, mut b) = (origin.accept().await, origin.accept().await);
                let first = a.request().await.unwrap();
                b.request().await.unwrap();
                if first.line().starts_with("GET /b") {
                    std::mem::swap(&mut a, &mut b);
                }
                a.send(OK).await;
                a_is_done.notified().await;
                b.send(OK).await;
                for _ in 0..3 {
                    tokio::select! {
                        _ = a.request() => panic!("{exchange:?}: the older one is used"),
                        request = b.request() => assert_eq!(request.unwrap().line(), "GET /c HTTP/1.1"),
                    }
                    b.send(OK).await;
                }
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn a_target_without_a_path_gets_one() {
    for exchange in BOTH {
        for (uri, line) in [
            ("http://app?x=1", "GET /?x=1 HTTP/1.1"),
            ("http://app", "GET / HTTP/1.1"),
            ("/a//b/../c?d#", "GET /a//b/../c?d HTTP/1.1"),
        ] {
            run(async {
                let origin = Origin::bind().await;
                let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
                let mut request = get("/");
                request.target =
                    uri.parse::<http::Uri>().unwrap().path_and_query().unwrap().clone();
                let client = fetch(&upstreams, &endpoint, &mut request);
                let server = async {
                    let mut conn = origin.accept().await;
                    assert_eq!(conn.request().await.unwrap().line(), line, "{exchange:?}");
                    conn.send(OK).await;
                };
                assert_eq!(tokio::join!(client, server).0.status, 200);
            });
        }
    }
}

#[test]
fn closing_lets_go_of_idle_connections() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let client = async {
                assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.status, 200);
                upstreams.close();
                assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.status, 200);
            };
            let server = async {
                for _ in 0..2 {
                    let mut conn = origin.accept().await;
                    conn.request().await.unwrap();
                    conn.send(OK).await;
                    assert_eq!(conn.end().await, b"");
                }
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn a_connection_lies_idle_for_its_time_only() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let endpoint = origin.endpoint();
            let upstreams =
                upstreams_with(exchange, |settings| settings.keep_alive = Duration::ZERO);
            let client = async {
                for _ in 0..2 {
                    assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.status, 200);
                }
            };
            let server = async {
                for _ in 0..2 {
                    let mut conn = origin.accept().await;
                    conn.request().await.unwrap();
                    conn.send(OK).await;
                }
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn old_connections_are_let_go_and_then_the_sweeper_too() {
    for exchange in BOTH {
        run_unwatched(async {
            let origin = Origin::bind().await;
            let endpoint = origin.endpoint();
            let (upstreams, tasks) = upstreams_and_tasks(exchange, |_| {});
            let server = async {
                let mut conn = origin.accept().await;
                conn.request().await.unwrap();
                conn.send(OK).await;
                conn
            };
            let mut request = get("/");
            let (outcome, mut conn) =
                tokio::join!(fetch(&upstreams, &endpoint, &mut request), server);
            assert_eq!(outcome.status, 200);
            assert!(!tasks.is_empty());
            // From here the clock runs when nobody has anything to do.
            tokio::time::pause();
            let start = tokio::time::Instant::now();
            assert_eq!(conn.end().await, b"");
            let age = start.elapsed().as_secs();
            assert!((54..62).contains(&age), "{exchange:?}: after {age} s");
            tasks.wait().await;
        });
    }
}

#[test]
fn a_connection_the_other_end_closed_does_not_lie_about() {
    for exchange in BOTH {
        run_unwatched(async {
            let origin = Origin::bind().await;
            let endpoint = origin.endpoint();
            let (upstreams, tasks) = upstreams_and_tasks(exchange, |_| {});
            let server = async {
                let mut conn = origin.accept().await;
                conn.request().await.unwrap();
                conn.send(OK).await;
            };
            let mut request = get("/");
            let outcome = tokio::join!(fetch(&upstreams, &endpoint, &mut request), server).0;
            assert_eq!(outcome.status, 200);
            tokio::time::pause();
            let start = tokio::time::Instant::now();
            // All that runs is the sweeper; it ends when nothing is left.
            tasks.wait().await;
            assert!(start.elapsed().as_secs() <= 10, "{exchange:?}");
        });
    }
}

#[test]
fn nothing_runs_on_when_upstreams_are_dropped() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let endpoint = origin.endpoint();
            let (upstreams, tasks) = upstreams_and_tasks(exchange, |_| {});
            let server = async {
                let mut conn = origin.accept().await;
                conn.request().await.unwrap();
                conn.send(OK).await;
                conn
            };
            let mut request = get("/");
            let (outcome, _conn) = tokio::join!(fetch(&upstreams, &endpoint, &mut request), server);
            assert_eq!(outcome.status, 200);
            drop(upstreams);
            tasks.wait().await;
        });
    }
}

/// An origin that answers the first request and closes the connection on receiving the second, then answers all
/// that comes on new connections. Returns what came, in order.
async fn closes_at_the_worst_moment(origin: &Origin, requests: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut conn = origin.accept().await;
    conn.request().await.unwrap();
    conn.send(OK).await;
    seen.push(conn.request().await.unwrap().line().to_owned());
    drop(conn);
    for _ in 0..requests {
        let mut conn = origin.accept().await;
        seen.push(conn.request().await.unwrap().line().to_owned());
        conn.send(OK).await;
    }
    seen
}

#[test]
fn an_idempotent_request_survives_the_end_of_a_pooled_connection() {
    for exchange in BOTH {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE, Method::PUT] {
            run(async {
                let origin = Origin::bind().await;
                let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
                let client = async {
                    assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.status, 200);
                    let mut request = outgoing(method.clone(), "/x", Frames::default());
                    let outcome = fetch(&upstreams, &endpoint, &mut request).await;
                    assert_eq!(outcome.status, 200, "{exchange:?} {method} {outcome:?}");
                };
                let seen = tokio::join!(client, closes_at_the_worst_moment(&origin, 1)).1;
                assert_eq!(
                    seen,
                    [format!("{method} /x HTTP/1.1"), format!("{method} /x HTTP/1.1")]
                );
            });
        }
    }
}

/// hyper gives a body back only if it wrote nothing.
#[test]
fn a_small_idempotent_body_is_sent_again() {
    run(async {
        let origin = Origin::bind().await;
        let (upstreams, endpoint) = (upstreams(ExchangeKind::Codec), origin.endpoint());
        let client = async {
            assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.status, 200);
            let mut request = outgoing(Method::PUT, "/x", Frames::exact(&[b"hello"]));
            assert_eq!(fetch(&upstreams, &endpoint, &mut request).await.status, 200);
        };
        let server = async {
            let mut conn = origin.accept().await;
            conn.request().await.unwrap();
            conn.send(OK).await;
            assert_eq!(conn.request().await.unwrap().body, b"hello");
            drop(conn);
            let mut conn = origin.accept().await;
            assert_eq!(conn.request().await.unwrap().body, b"hello");
            conn.send(OK).await;
        };
        tokio::join!(client, server);
    });
}

#[test]
fn what_may_not_be_done_twice_is_not_sent_twice() {
    for exchange in BOTH {
        for body in [Frames::default(), Frames::exact(&[b"hello"]), Frames::chunked(&[b"hello"])] {
            run(async {
                let origin = Origin::bind().await;
                let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
                let client = async {
                    assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.status, 200);
                    let mut request = outgoing(Method::POST, "/x", body);
                    let error =
                        upstreams.send(&endpoint, &mut request, |_, _| {}).await.unwrap_err();
                    let sent = matches!(error, Error::ClosedBeforeAnswer { sent: true, .. });
                    assert!(sent, "{exchange:?} {error:?}");
                    assert!(!error.may_try_elsewhere());
                    // The next one finds no trace of it.
                    assert_eq!(fetch(&upstreams, &endpoint, &mut get("/y")).await.status, 200);
                };
                let seen = tokio::join!(client, closes_at_the_worst_moment(&origin, 1)).1;
                assert_eq!(seen, ["POST /x HTTP/1.1", "GET /y HTTP/1.1"]);
            });
        }
    }
}

/// The kernel is asked before such a request, so an end that arrived is never missed. hyper can't be asked.
#[test]
fn a_closed_connection_is_not_used_for_what_may_not_be_repeated() {
    run(async {
        let origin = Origin::bind().await;
        let (upstreams, endpoint) = (upstreams(ExchangeKind::Codec), origin.endpoint());
        let client = async {
            for _ in 0..20 {
                let mut request = outgoing(Method::POST, "/x", Frames::default());
                let outcome = fetch(&upstreams, &endpoint, &mut request).await;
                assert_eq!(outcome.status, 200, "{outcome:?}");
            }
        };
        let server = async {
            for _ in 0..20 {
                let mut conn = origin.accept().await;
                conn.request().await.unwrap();
                conn.send(OK).await;
                drop(conn);
            }
        };
        tokio::join!(client, server);
    });
}

#[test]
fn a_fresh_connection_that_dies_is_not_tried_again() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let client = async {
                let outcome = fetch(&upstreams, &endpoint, &mut get("/")).await;
                assert_eq!(outcome.error, Some("closed"));
                assert_eq!(fetch(&upstreams, &endpoint, &mut get("/y")).await.status, 200);
            };
            let server = async {
                origin.accept().await.request().await.unwrap();
                let mut conn = origin.accept().await;
                assert_eq!(conn.request().await.unwrap().line(), "GET /y HTTP/1.1");
                conn.send(OK).await;
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn a_refused_connection_leaves_the_request_for_the_next_endpoint() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let gone = Origin::bind().await.endpoint();
            let upstreams = upstreams(exchange);
            let endpoints: Endpoints = [gone.clone(), origin.endpoint()].into_iter().collect();
            let client = async {
                for _ in 0..4 {
                    let mut request = outgoing(Method::POST, "/", Frames::exact(&[b"hello"]));
                    let mut answered = false;
                    for endpoint in endpoints.as_slice() {
                        match upstreams.send(endpoint, &mut request, |_, _| {}).await {
                            Ok(Answer::Upgraded(..)) => panic!(),
                            Ok(Answer::Response(response)) => {
                                response.into_body().collect().await.unwrap();
                                answered = true;
                                break;
                            }
                            Err(error) => {
                                assert_eq!((kind(&error), *endpoint == gone), ("connect", true));
                                assert!(error.to_string().contains(&gone.to_string()));
                                assert!(error.may_try_elsewhere());
                            }
                        }
                    }
                    assert!(answered);
                }
            };
            let server = async {
                let mut conn = origin.accept().await;
                for _ in 0..4 {
                    assert_eq!(conn.request().await.unwrap().body, b"hello");
                    conn.send(OK).await;
                }
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn an_idempotent_request_finds_another_endpoint_when_its_own_dies_under_it() {
    for exchange in BOTH {
        run(async {
            let (dying, other) = (Origin::bind().await, Origin::bind().await);
            let (first, second) = (dying.endpoint(), other.endpoint());
            let upstreams = upstreams(exchange);
            let client = async {
                assert_eq!(fetch(&upstreams, &first, &mut get("/")).await.status, 200);
                let mut request = get("/x");
                let error = upstreams.send(&first, &mut request, |_, _| {}).await.unwrap_err();
                assert_eq!((kind(&error), error.may_try_elsewhere()), ("connect", true));
                assert_eq!(fetch(&upstreams, &second, &mut request).await.status, 200);
            };
            let server = async {
                let mut conn = dying.accept().await;
                conn.request().await.unwrap();
                conn.send(OK).await;
                conn.request().await.unwrap();
                drop(dying);
                drop(conn);
                let mut conn = other.accept().await;
                assert_eq!(conn.request().await.unwrap().line(), "GET /x HTTP/1.1");
                conn.send(OK).await;
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn an_answer_may_come_before_the_request_is_all_sent() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let (feed, body) = fed(None);
            let client = async {
                feed.send(Ok(Bytes::from_static(b"part"))).await.unwrap();
                let mut request = outgoing(Method::POST, "/", body);
                let outcome = fetch(&upstreams, &endpoint, &mut request).await;
                assert_eq!((outcome.status, &outcome.body[..]), (413, &b"no"[..]), "{exchange:?}");
                // The connection is not fit for another request.
                assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.status, 200);
                drop(feed);
            };
            let server = async {
                let mut conn = origin.accept().await;
                conn.head().await.unwrap();
                conn.exactly(9).await.unwrap();
                conn.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await;
                let mut next = origin.accept().await;
                next.request().await.unwrap();
                next.send(OK).await;
                assert_eq!(conn.end().await, b"");
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn an_application_may_answer_as_it_reads() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let (feed, body) = fed(Some(6));
            let client = async {
                let mut request = outgoing(Method::POST, "/echo", body);
                feed.send(Ok(Bytes::from_static(b"ab"))).await.unwrap();
                let sent = upstreams.send(&endpoint, &mut request, |_, _| {}).await.unwrap();
                let Answer::Response(mut response) = sent else { panic!() };
                for next in [&b"cd"[..], b"ef", b""] {
                    let frame = response.body_mut().frame().await.unwrap().unwrap();
                    assert_eq!(frame.into_data().unwrap().len(), 2);
                    if !next.is_empty() {
                        feed.send(Ok(Bytes::copy_from_slice(next))).await.unwrap();
                    }
                }
                assert!(response.body_mut().frame().await.is_none());
            };
            let server = async {
                let mut conn = origin.accept().await;
                conn.head().await.unwrap();
                conn.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n").await;
                for _ in 0..3 {
                    let piece = conn.exactly(2).await.unwrap();
                    conn.send(piece).await;
                }
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn the_answer_to_an_upload_cut_off_by_the_application_is_read() {
    run(async {
        let origin = Origin::bind().await;
        let (upstreams, endpoint) = (upstreams(ExchangeKind::Codec), origin.endpoint());
        let big = vec![0; 64 << 20];
        let client = async {
            let mut request = outgoing(Method::POST, "/", Frames::exact(&[&big]));
            let outcome = fetch(&upstreams, &endpoint, &mut request).await;
            assert_eq!((outcome.status, &outcome.body[..]), (413, &b"no"[..]), "{outcome:?}");
        };
        let server = async {
            let mut conn = origin.accept().await;
            conn.head().await.unwrap();
            conn.send("HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno")
                .await;
            conn.stream.shutdown().await.unwrap();
            // Keeps the connection until the other end has had enough.
            conn.end().await;
        };
        tokio::join!(client, server);
    });
}

#[test]
fn a_body_that_fails_ends_the_exchange() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let (feed, body) = fed(Some(10));
            let client = async {
                let mut request = outgoing(Method::POST, "/", body);
                feed.send(Ok(Bytes::from_static(b"hello"))).await.unwrap();
                let feeding = async {
                    feed.send(Err("the client is gone".into())).await.unwrap();
                };
                let sending = upstreams.send(&endpoint, &mut request, |_, _| {});
                let (sent, ()) = tokio::join!(sending, feeding);
                let error = sent.unwrap_err();
                assert_eq!(kind(&error), "request body", "{exchange:?} {error:?}");
                let source = std::error::Error::source(&error).unwrap().to_string();
                assert_eq!(source, "the client is gone");
            };
            let server = async {
                let mut conn = origin.accept().await;
                conn.head().await.unwrap();
                assert_eq!(conn.end().await, b"hello");
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn a_body_keeps_its_announced_length() {
    for (announced, pieces) in
        [(6, &[&b"hello"[..]][..]), (4, &[&b"hello"[..]]), (6, &[b"he", b"llo"])]
    {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(ExchangeKind::Codec), origin.endpoint());
            let mut body = Frames::chunked(pieces);
            body.exact = Some(announced);
            let mut request = outgoing(Method::POST, "/", body);
            let client = fetch(&upstreams, &endpoint, &mut request);
            let server = async { origin.accept().await.end().await };
            assert_eq!(tokio::join!(client, server).0.error, Some("request body"));
        });
    }
}

#[test]
fn expect_continue_holds_the_body_back() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let client = async {
                for _ in 0..3 {
                    let mut request = outgoing(Method::POST, "/", Frames::exact(&[b"hello"]));
                    request.headers.insert("expect", HeaderValue::from_static("100-continue"));
                    let outcome = fetch(&upstreams, &endpoint, &mut request).await;
                    match outcome.status {
                        200 => assert_eq!(outcome.interims, [100]),
                        417 => assert_eq!(outcome.interims, [0; 0]),
                        status => panic!("{exchange:?} {status} {outcome:?}"),
                    }
                }
            };
            let server = async {
                let mut conn = origin.accept().await;
                for _ in 0..2 {
                    assert!(conn.head().await.unwrap().contains("expect: 100-continue\r\n"));
                    conn.send("HTTP/1.1 100 Continue\r\n\r\n").await;
                    assert_eq!(conn.exactly(5).await.unwrap(), b"hello");
                    conn.send(OK).await;
                }
                conn.head().await.unwrap();
                conn.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n").await;
                // Not a byte of the body came, so the connection is of no more use.
                assert_eq!(conn.end().await, b"");
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn expect_continue_does_not_wait_for_ever() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let endpoint = origin.endpoint();
            let upstreams = upstreams_with(exchange, |settings| {
                settings.continue_timeout = Duration::from_millis(20);
            });
            let client = async {
                let mut request = outgoing(Method::POST, "/", Frames::exact(&[b"hello"]));
                request.headers.insert("expect", HeaderValue::from_static("100-continue"));
                assert_eq!(fetch(&upstreams, &endpoint, &mut request).await.status, 200);
            };
            let server = async {
                let mut conn = origin.accept().await;
                assert_eq!(conn.request().await.unwrap().body, b"hello");
                conn.send(OK).await;
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn protocols_are_switched_when_asked_for() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let client = async {
                let mut request = get("/chat");
                request.upgrade = Some(HeaderValue::from_static("WebSocket"));
                let sent = upstreams.send(&endpoint, &mut request, |_, _| {}).await.unwrap();
                let Answer::Upgraded(response, mut io) = sent else { panic!("{exchange:?}") };
                assert_eq!(response.headers()["upgrade"], "websocket");
                let mut hello = [0; 5];
                io.read_exact(&mut hello).await.unwrap();
                assert_eq!(&hello, b"hello");
                io.write_all(b"bye").await.unwrap();
                // Half of it ends; the other half speaks on.
                io.shutdown().await.unwrap();
                let mut rest = Vec::new();
                io.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, b"last words");
            };
            let server = async {
                let mut conn = origin.accept().await;
                let head = conn.head().await.unwrap();
                assert!(
                    head.contains("connection: upgrade\r\n")
                        && head.contains("upgrade: WebSocket\r\n")
                );
                let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                // The first frame may come together with the head.
                conn.send(format!("{switch}hello")).await;
                assert_eq!(conn.end().await, b"bye");
                conn.send("last words").await;
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn an_upgrade_that_is_refused_is_a_response() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let client = async {
                let mut request = get("/chat");
                request.upgrade = Some(HeaderValue::from_static("websocket"));
                let outcome = fetch(&upstreams, &endpoint, &mut request).await;
                assert_eq!((outcome.status, &outcome.body[..]), (200, &b"ok"[..]));
                request = get("/chat");
                request.upgrade = Some(HeaderValue::from_static("websocket"));
                let outcome = fetch(&upstreams, &endpoint, &mut request).await;
                assert_eq!(outcome.error, Some("bad"));
            };
            let server = async {
                let mut conn = origin.accept().await;
                conn.head().await.unwrap();
                conn.send(OK).await;
                conn.head().await.unwrap();
                conn.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: mqtt\r\n\r\n").await;
                conn.end().await;
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn silence_has_an_end() {
    for exchange in BOTH {
        for (before, want) in [("", 0), ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe", 200)] {
            run(async {
                let origin = Origin::bind().await;
                let endpoint = origin.endpoint();
                let upstreams = upstreams_with(exchange, |settings| {
                    settings.idle_timeout = Some(Duration::from_millis(30));
                });
                let client = async {
                    let outcome = fetch(&upstreams, &endpoint, &mut get("/")).await;
                    assert_eq!((outcome.status, outcome.error), (want, Some("response timeout")));
                };
                let server = async {
                    let mut conn = origin.accept().await;
                    conn.request().await.unwrap();
                    conn.send(before).await;
                    conn.end().await;
                };
                tokio::join!(client, server);
            });
        }
    }
}

#[test]
fn a_client_that_takes_its_time_is_not_the_upstreams_silence() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let endpoint = origin.endpoint();
            let upstreams = upstreams_with(exchange, |settings| {
                settings.idle_timeout = Some(Duration::from_millis(30));
            });
            let (feed, body) = fed(Some(10));
            let client = async {
                let mut request = outgoing(Method::POST, "/", body);
                let feeding = async {
                    for piece in [&b"hello"[..], b"world"] {
                        tokio::time::sleep(Duration::from_millis(90)).await;
                        feed.send(Ok(Bytes::from_static(piece))).await.unwrap();
                    }
                };
                let outcome = tokio::join!(fetch(&upstreams, &endpoint, &mut request), feeding).0;
                assert_eq!(outcome.status, 200, "{exchange:?} {outcome:?}");
            };
            let server = async {
                let mut conn = origin.accept().await;
                assert_eq!(conn.request().await.unwrap().body, b"helloworld");
                conn.send(OK).await;
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn heads_have_a_limit() {
    for exchange in BOTH {
        let long = format!(
            "HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 2\r\n\r\nok",
            "x".repeat(70_000)
        );
        let many =
            format!("HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\nok", "x-a: b\r\n".repeat(128));
        let enough =
            format!("HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\nok", "x-a: b\r\n".repeat(127));
        let interims = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
        let mut cases = vec![(long, Some("bad")), (many, Some("bad")), (enough, None)];
        if exchange == ExchangeKind::Codec {
            // hyper reads on for as long as they come.
            cases.push((interims, Some("bad")));
        }
        for (answer, want) in cases {
            run(async {
                let origin = Origin::bind().await;
                let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
                let mut request = get("/");
                let client = fetch(&upstreams, &endpoint, &mut request);
                let server = async {
                    let mut conn = origin.accept().await;
                    conn.request().await.unwrap();
                    let _ = conn.try_send(&answer).await;
                    conn
                };
                assert_eq!(tokio::join!(client, server).0.error, want, "{exchange:?}");
            });
        }
    }
}

#[test]
fn big_bodies_pass_both_ways() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let big: Vec<u8> = (0..8 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
            let client = async {
                for body in [Frames::exact(&[&big]), Frames::chunked(&[&big, &big[..7]])] {
                    let mut request = outgoing(Method::POST, "/", body);
                    let outcome = fetch(&upstreams, &endpoint, &mut request).await;
                    assert_eq!(outcome.error, None);
                    assert!(outcome.body == big);
                }
            };
            let server = async {
                let mut conn = origin.accept().await;
                for extra in [0, 7] {
                    assert!(conn.request().await.unwrap().body.len() == big.len() + extra);
                    conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", big.len()))
                        .await;
                    conn.send(&big).await;
                }
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn the_endpoints_own_name_stands_in_for_host() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let (upstreams, endpoint) = (upstreams(exchange), origin.endpoint());
            let mut request = get("/");
            request.headers.remove("host");
            request.headers.insert("te", HeaderValue::from_static("trailers"));
            let client = fetch(&upstreams, &endpoint, &mut request);
            let server = async {
                let mut conn = origin.accept().await;
                let received = conn.request().await.unwrap();
                assert_eq!(received.all("host"), [endpoint.to_string()]);
                assert_eq!(received.all("connection"), ["te"]);
                conn.send(OK).await;
            };
            assert_eq!(tokio::join!(client, server).0.status, 200);
        });
    }
}
