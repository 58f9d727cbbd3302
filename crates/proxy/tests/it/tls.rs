//! TLS, certificates, and HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use crate::common::client::Client;
use crate::common::origin::Origin;
use crate::common::{Gateway, PATIENCE, host, until};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{Host, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Shakes hands under a name, trusting the gateway's local authority only.
pub(crate) async fn shake(
    gateway: &Gateway,
    name: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(gateway.ca.root_pem().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(certs::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|one| one.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(gateway.https).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let shake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(PATIENCE, shake).await.expect("a handshake in time")
}

type Body = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

async fn h2(gateway: &Gateway, name: &str) -> SendRequest<Body> {
    let stream = shake(gateway, name, &["h2"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    runtime::Tasks::new().spawn("h2 client", async move {
        let _ = connection.await;
    });
    sender
}

fn empty() -> Body {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed()
}

async fn get(sender: &mut SendRequest<Body>, uri: &str) -> Response<Incoming> {
    sender.send_request(Request::get(uri).body(empty()).unwrap()).await.unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn https_is_served_under_the_names_own_certificate_by_each_alpn() {
    let app = Origin::echo().await;
    let gateway =
        Gateway::start(vec![Host { force_https: true, ..host("*.app.test", app.address) }]).await;
    gateway.certify("*.app.test");
    for alpn in [&["http/1.1"][..], &["http/1.0"], &[]] {
        let stream = shake(&gateway, "WWW.app.test", alpn).await.unwrap();
        let seen = Client::over(stream).get("www.app.test", "/").await;
        assert!(seen.text().to_lowercase().contains("x-forwarded-proto: https"), "{alpn:?}");
    }
    let line = gateway.stop().await.remove(0);
    assert_eq!(line["tls_version"], "TLSv1.3");
    assert_eq!(line["server_name"], "www.app.test");
    assert!(line["tls_cipher"].as_str().unwrap().starts_with("TLS13_"));
}

#[tokio::test]
async fn an_unknown_name_gets_the_fallback_certificate_which_nobody_trusts() {
    let gateway = Gateway::start(vec![]).await;
    let error = shake(&gateway, "nobody.test", &[]).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_connection_made_for_one_name_does_not_serve_another() {
    let app = Origin::echo().await;
    let hosts = ["a.test", "b.test", "x.c.test", "y.c.test"];
    let gateway = Gateway::start(hosts.map(|name| host(name, app.address)).to_vec()).await;
    gateway.certify("a.test");
    gateway.certify("b.test");
    gateway.certify("*.c.test");
    let mut client = Client::over(shake(&gateway, "a.test", &[]).await.unwrap());
    assert_eq!(client.get("a.test", "/").await.status, 200);
    assert_eq!(client.get("b.test", "/").await.status, 421);
    assert_eq!(client.get("a.test", "/").await.status, 200);
    let mut client = Client::over(shake(&gateway, "x.c.test", &[]).await.unwrap());
    assert_eq!(client.get("y.c.test", "/").await.status, 200);
}

#[tokio::test]
async fn a_handshake_waits_for_a_certificate_that_is_being_made() {
    let app = Origin::echo().await;
    let gateway = Gateway::start(vec![host("**.late.test", app.address)]).await;
    let make = async {
        let name = gateway.tables.wanted().next().await;
        assert_eq!(name.as_str(), "a.b.late.test");
        gateway.certify(name.as_str());
    };
    let (stream, ()) = tokio::join!(shake(&gateway, "a.b.late.test", &[]), make);
    assert_eq!(Client::over(stream.unwrap()).get("a.b.late.test", "/").await.status, 200);
}

/// A client that believes any certificate, as an authority does that asks for a proof.
fn believing(alpn: &[&str]) -> TlsConnector {
    let mut config = ClientConfig::builder_with_provider(certs::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|one| one.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        certs::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// RFC 8737 §3: the proof is a handshake by which nothing follows; whoever offers another protocol sees nothing of it, and without
/// a pending challenge there is nothing to see.
#[tokio::test]
async fn a_challenge_is_answered_in_the_handshake_of_an_authority_and_in_no_other() {
    let app = Origin::echo().await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    gateway.certify("a.test");
    let now = Timestamp::from(runtime::Clock::system().now());
    let challenge = |domain: &str, life: u64| model::Challenge {
        domain: domain.parse().unwrap(),
        token: format!("token-{life}"),
        key_authorisation: format!("token-{life}.thumbprint"),
        expires_at: now.plus(Duration::from_secs(life)),
    };
    let ask = async |name: &'static str, alpn: &[&str]| {
        let stream = TcpStream::connect(gateway.https).await.unwrap();
        let name = ServerName::try_from(name).unwrap();
        timeout(PATIENCE, believing(alpn).connect(name, stream)).await.expect("in time")
    };
    let proves = |stream: &TlsStream<TcpStream>, authorisation: &str| {
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, authorisation.as_bytes());
        leaf.windows(32).any(|part| part == digest.as_ref())
    };
    let acme = ["acme-tls/1"];
    ask("a.test", &acme).await.expect_err("nothing is pending");
    // The name need not be routed, and of two orders the later one counts.
    for (id, one) in [
        ("1", challenge("b.test", 60)),
        ("2", challenge("a.test", 60)),
        ("3", challenge("a.test", 90)),
    ] {
        gateway.tables.apply_challenge(id, Some(one));
    }
    for _ in 0..2 {
        let stream = ask("a.test", &acme).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
        assert!(proves(&stream, "token-90.thumbprint"));
        assert!(Client::over(stream).is_closed().await);
    }
    assert!(proves(&ask("B.test", &acme).await.unwrap(), "token-60.thumbprint"));
    ask("c.test", &acme).await.expect_err("not this name");
    // Who can speak HTTP as well is no authority.
    let client = ask("a.test", &["http/1.1", "acme-tls/1"]).await.unwrap();
    assert!(!proves(&client, "token-90.thumbprint"));
    assert_eq!(Client::over(client).get("a.test", "/").await.status, 200);
    gateway.tables.apply_challenge("3", None);
    assert!(proves(&ask("a.test", &acme).await.unwrap(), "token-60.thumbprint"));
    let line = "gatewright_tls_handshakes_total{result=\"challenge\"} 4";
    until("they are counted", || gateway.metrics.render().contains(line)).await;
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_dropped() {
    let gateway = Gateway::start_with(vec![], |settings| {
        settings.timeouts.header = Duration::from_millis(200);
    })
    .await;
    let mut silent = Client::connect(gateway.https).await;
    let mut half = Client::connect(gateway.https).await;
    half.send([22, 3, 1, 2, 0, 1]).await;
    let mut garbage = Client::connect(gateway.https).await;
    garbage.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(silent.is_closed().await);
    half.rest().await;
    garbage.rest().await;
    assert_eq!(gateway.stop().await.len(), 0);
}

#[tokio::test]
async fn http2_carries_requests_side_by_side() {
    let app = Origin::echo().await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    gateway.certify("a.test");
    let sender = h2(&gateway, "a.test").await;
    let ask = |n: usize| {
        let mut sender = sender.clone();
        async move { text(get(&mut sender, &format!("https://a.test/{n}?q={n}")).await).await }
    };
    let answers = futures_util::future::join_all((0..100).map(ask)).await;
    for (n, answer) in answers.iter().enumerate() {
        let answer = answer.to_lowercase();
        assert!(answer.starts_with(&format!("get /{n}?q={n} http/1.1\r\n")), "{answer}");
        assert!(answer.contains("\r\nhost: a.test\r\n"), "{answer}");
    }
    let lines = gateway.stop().await;
    assert_eq!(lines.len(), 100);
    assert!(lines.iter().all(|line| line["proto"] == "HTTP/2.0" && line["status"] == 200));
}

#[tokio::test]
async fn http2_cookie_crumbs_are_joined_and_connection_headers_stay_here() {
    let app = Origin::start(|mut visit| async move {
        let head = visit.request().await.unwrap();
        let cookie = head.lines().find(|line| line.to_lowercase().starts_with("cookie:")).unwrap();
        let size = cookie.len();
        visit
            .send(format!(
                "HTTP/1.1 200 OK\r\nConnection: close, x-own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\n\
                 Content-Length: {size}\r\n\r\n{cookie}"
            ))
            .await;
    })
    .await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    gateway.certify("a.test");
    let request = Request::get("https://a.test/").header("cookie", "a=1").header("cookie", "b=2");
    let mut sender = h2(&gateway, "a.test").await;
    let response = sender.send_request(request.body(empty()).unwrap()).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    for gone in ["connection", "keep-alive", "x-own"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    assert_eq!(text(response).await.to_lowercase(), "cookie: a=1; b=2");
}

#[tokio::test]
async fn http2_trailers_pass_both_ways() {
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        let seen = String::from_utf8(visit.peer.until(b"\r\n\r\n").await).unwrap().to_lowercase();
        assert!(seen.contains("0\r\nx-in: 1\r\n\r\n"), "{seen}");
        visit
            .send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Out\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Out: 2\r\n\r\n",
            )
            .await;
    })
    .await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    gateway.certify("a.test");
    let mut sent = http::HeaderMap::new();
    sent.insert("x-in", "1".parse().unwrap());
    let frames = [Ok(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(sent))];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    let request =
        Request::post("https://a.test/").header("te", "trailers").header("trailer", "x-in");
    let mut sender = h2(&gateway, "a.test").await;
    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let whole = response.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-out"], "2");
    assert_eq!(whole.to_bytes(), "ok");
    assert_eq!(app.panics(), 0);
}

#[tokio::test]
async fn a_truncated_answer_resets_the_http2_stream_and_no_other() {
    let app = Origin::start(|mut visit| async move {
        while let Some(head) = visit.request().await {
            if head.contains("/broken") {
                visit.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
                return;
            }
            visit.answer("whole").await;
        }
    })
    .await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    gateway.certify("a.test");
    let mut sender = h2(&gateway, "a.test").await;
    let broken = get(&mut sender, "https://a.test/broken").await;
    assert_eq!(broken.status(), StatusCode::OK);
    assert!(broken.into_body().collect().await.is_err());
    assert_eq!(text(get(&mut sender, "https://a.test/").await).await, "whole");
}

#[tokio::test]
async fn much_data_passes_both_ways_over_http2() {
    const SIZE: usize = 8 << 20;
    let app = Origin::start(|mut visit| async move {
        visit.request().await.unwrap();
        let body = visit.peer.take(SIZE).await;
        visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await;
        visit.send(&body).await;
    })
    .await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    gateway.certify("a.test");
    let body: Bytes = (0..SIZE).map(|n| u8::try_from(n / 977 % 256).unwrap()).collect();
    let sent = Full::new(body.clone()).map_err(|never| match never {}).boxed();
    let mut sender = h2(&gateway, "a.test").await;
    let response = sender.send_request(Request::post("https://a.test/").body(sent).unwrap()).await;
    let got = response.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(got == body);
}

#[tokio::test]
async fn an_http2_request_whose_host_differs_from_its_authority_is_refused() {
    let app = Origin::echo().await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    gateway.certify("a.test");
    let request = Request::get("https://a.test/").header("host", "b.test").body(empty()).unwrap();
    let mut sender = h2(&gateway, "a.test").await;
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert!(app.heads().is_empty());
}

#[tokio::test]
async fn http2_streams_in_flight_are_answered_through_the_drain() {
    let (go, gone) = tokio::sync::watch::channel(false);
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
    let mut gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    gateway.certify("a.test");
    let sender = h2(&gateway, "a.test").await;
    let ask = |_| {
        let mut sender = sender.clone();
        async move { text(get(&mut sender, "https://a.test/").await).await }
    };
    let answers = futures_util::future::join_all((0..50).map(ask));
    let (answers, ()) = tokio::join!(answers, async {
        crate::common::until("all are asked", || app.heads().len() == 50).await;
        gateway.shutdown.drain();
        let closed = || std::net::TcpStream::connect(gateway.http).is_err();
        crate::common::until("closed to others", closed).await;
        go.send_replace(true);
    });
    assert!(answers.iter().all(|answer| answer == "done"));
    assert_eq!(gateway.ended().await, 0);
    assert_eq!(gateway.log_lines().len(), 50);
}

/// The guard judges HTTP/1 only. HTTP/2 brought a CONNECT to the app as `CONNECT / HTTP/1.1`, which is no request, and
/// targets that no HTTP/1 request line can hold.
#[tokio::test]
async fn http2_does_not_bring_what_http1_is_refused() {
    let app = Origin::echo().await;
    let gateway = Gateway::start(vec![host("app.test", app.address)]).await;
    gateway.certify("app.test");
    let mut sender = h2(&gateway, "app.test").await;
    let connect = Request::connect("app.test:443").body(empty()).unwrap();
    let refused = sender.send_request(connect).await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_IMPLEMENTED);
    for uri in ["https://app.test/\u{e9}", "https://app.test/a\u{7f}b"] {
        if let Ok(request) = Request::get(uri).body(empty()) {
            let refused = sender.send_request(request).await.unwrap();
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{uri}");
        }
    }
    let query = get(&mut sender, "https://app.test?x=1").await;
    assert!(text(query).await.starts_with("GET /?x=1 HTTP/1.1\r\n"));
    gateway.stop().await;
}

/// An HTTP/2 server sends whatever body it is given: the page of a 404 followed the answer to HEAD.
#[tokio::test]
async fn head_over_http2_gets_no_body_of_our_own_pages_either() {
    let gateway = Gateway::start(vec![]).await;
    gateway.certify("nobody.test");
    let mut sender = h2(&gateway, "nobody.test").await;
    let head = Request::head("https://nobody.test/").body(empty()).unwrap();
    let answer = sender.send_request(head).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert!(length > 0);
    assert_eq!(text(answer).await, "");
    gateway.stop().await;
}

/// An answer counted as handed over when the codec had it; the part that the client's window had no room for was cut off
/// at the end of a drain's idle grace.
#[tokio::test]
async fn an_http2_answer_larger_than_the_clients_window_outlasts_the_drain() {
    const LENGTH: usize = 1_000;
    let app = Origin::start(async |mut visit| {
        while visit.request().await.is_some() {
            visit.answer(&"x".repeat(LENGTH)).await;
        }
    });
    let app = app.await;
    let mut gateway = Gateway::start_with(vec![host("a.test", app.address)], |settings| {
        settings.drain.idle_grace = Duration::from_millis(10);
    })
    .await;
    gateway.certify("a.test");
    let stream = TokioIo::new(shake(&gateway, "a.test", &["h2"]).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(16)
        .handshake(stream)
        .await
        .unwrap();
    let tasks = runtime::Tasks::new();
    tasks.spawn("h2 client", async move {
        let _ = connection.await;
    });
    let answer = get(&mut sender, "https://a.test/").await;
    // The rest of it waits for the client: the request is in flight until its window has taken it.
    assert!(gateway.metrics.render().contains("gatewright_http_requests_in_flight 1"));
    gateway.shutdown.drain();
    let early = timeout(Duration::from_millis(300), gateway.ended());
    assert!(early.await.is_err(), "the drain waits for the client");
    assert_eq!(text(answer).await.len(), LENGTH);
    assert_eq!(gateway.ended().await, 0);
}
