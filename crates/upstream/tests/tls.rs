//! Upstreams behind TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use model::UpstreamTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use support::{BOTH, Conn, Frames, Origin, fetch, get, outgoing, run, upstreams_with};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use upstream::{Endpoint, ExchangeKind, Upstreams};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An authority, and a server with a certificate of it for `name`.
struct Pki {
    root: CertificateDer<'static>,
    server: Arc<ServerConfig>,
}

fn pki(name: &str) -> Pki {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Pki { root: authority.der().clone(), server: Arc::new(server) }
}

fn endpoint(origin: &Origin, name: &str, tls: UpstreamTls) -> Endpoint {
    Endpoint::new(format!("{name}:{}", origin.port()).parse().unwrap(), tls)
}

fn upstreams(kind: ExchangeKind, pki: &Pki) -> Rc<Upstreams> {
    upstreams_with(kind, |settings| settings.extra_roots = vec![pki.root.clone()])
}

async fn accept(origin: &Origin, pki: &Pki) -> std::io::Result<Conn<TlsStream<TcpStream>>> {
    let tcp = origin.accept().await.stream;
    TlsAcceptor::from(pki.server.clone()).accept(tcp).await.map(Conn::new)
}

#[test]
fn a_verified_connection_names_its_endpoint_and_is_used_again() {
    for exchange in BOTH {
        run(async {
            let (origin, pki) = (Origin::bind().await, pki("localhost"));
            // Resolves to more than one address, of which one listens.
            let endpoint = endpoint(&origin, "localhost", UpstreamTls::Verify);
            let upstreams = upstreams(exchange, &pki);
            let big: Vec<u8> = (0..3 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
            let client = async {
                for _ in 0..2 {
                    assert_eq!(fetch(&upstreams, &endpoint, &mut get("/")).await.body, b"ok");
                    let mut request = outgoing(Method::POST, "/", Frames::exact(&[&big]));
                    assert!(fetch(&upstreams, &endpoint, &mut request).await.body == big);
                }
            };
            let server = async {
                let mut conn = accept(&origin, &pki).await.unwrap();
                let tls = conn.stream.get_ref().1;
                assert_eq!(tls.server_name(), Some("localhost"));
                assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
                for _ in 0..2 {
                    conn.request().await.unwrap();
                    conn.send(OK).await;
                    assert!(conn.request().await.unwrap().body == big);
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", big.len());
                    conn.send([head.as_bytes(), &big].concat()).await;
                }
            };
            tokio::join!(client, server);
        });
    }
}

#[test]
fn certificates_are_verified_unless_told_not_to() {
    for exchange in BOTH {
        let cases = [
            // Another name, an unknown authority, and both of it forgiven.
            ("example.com", UpstreamTls::Verify, true, Some("connect")),
            ("localhost", UpstreamTls::Verify, false, Some("connect")),
            ("127.0.0.1", UpstreamTls::Verify, true, Some("connect")),
            ("example.com", UpstreamTls::Insecure, false, None),
        ];
        for (name, tls, known, want) in cases {
            run(async {
                let (origin, pki, other) = (Origin::bind().await, pki(name), pki("localhost"));
                let endpoint = endpoint(&origin, "localhost", tls);
                let upstreams = upstreams(exchange, if known { &pki } else { &other });
                let mut request = get("/");
                let client = fetch(&upstreams, &endpoint, &mut request);
                let server = async {
                    if let Ok(mut conn) = accept(&origin, &pki).await
                        && conn.request().await.is_some()
                    {
                        conn.send(OK).await;
                    }
                };
                let outcome = tokio::join!(client, server).0;
                assert_eq!(outcome.error, want, "{exchange:?} {name} {tls:?}");
            });
        }
    }
}

#[test]
fn an_address_can_be_verified_too() {
    run(async {
        let (origin, pki) = (Origin::bind().await, pki("127.0.0.1"));
        let endpoint = endpoint(&origin, "127.0.0.1", UpstreamTls::Verify);
        let upstreams = upstreams(ExchangeKind::Codec, &pki);
        let mut request = get("/");
        let client = fetch(&upstreams, &endpoint, &mut request);
        let server = async {
            let mut conn = accept(&origin, &pki).await.unwrap();
            conn.request().await.unwrap();
            conn.send(OK).await;
        };
        assert_eq!(tokio::join!(client, server).0.status, 200);
    });
}

#[test]
fn a_handshake_that_stalls_has_an_end() {
    for exchange in BOTH {
        run(async {
            let origin = Origin::bind().await;
            let endpoint = endpoint(&origin, "127.0.0.1", UpstreamTls::Insecure);
            let upstreams = upstreams_with(exchange, |settings| {
                settings.connect_timeout = Duration::from_millis(30);
            });
            let mut request = get("/");
            let client = fetch(&upstreams, &endpoint, &mut request);
            let server = async { origin.accept().await.end().await };
            assert_eq!(tokio::join!(client, server).0.error, Some("connect timeout"));
        });
    }
}

#[test]
fn a_body_up_to_the_end_needs_a_proper_end() {
    for exchange in BOTH {
        for (proper, want) in [(true, None), (false, Some("truncated"))] {
            run(async {
                let (origin, pki) = (Origin::bind().await, pki("localhost"));
                let endpoint = endpoint(&origin, "localhost", UpstreamTls::Verify);
                let upstreams = upstreams(exchange, &pki);
                let mut request = get("/");
                let client = fetch(&upstreams, &endpoint, &mut request);
                let server = async {
                    let mut conn = accept(&origin, &pki).await.unwrap();
                    conn.request().await.unwrap();
                    conn.send("HTTP/1.1 200 OK\r\n\r\nhello").await;
                    if proper {
                        conn.stream.shutdown().await.unwrap();
                    }
                };
                let outcome = tokio::join!(client, server).0;
                assert_eq!((&outcome.body[..], outcome.error), (&b"hello"[..], want));
            });
        }
    }
}

#[test]
fn what_may_not_be_repeated_goes_out_on_a_pooled_connection_too() {
    run(async {
        let (origin, pki) = (Origin::bind().await, pki("localhost"));
        let endpoint = endpoint(&origin, "localhost", UpstreamTls::Verify);
        let upstreams = upstreams(ExchangeKind::Codec, &pki);
        let client = async {
            for _ in 0..5 {
                let mut request = outgoing(Method::POST, "/", Frames::exact(&[b"hello"]));
                assert_eq!(fetch(&upstreams, &endpoint, &mut request).await.status, 200);
            }
        };
        let server = async {
            let mut conn = accept(&origin, &pki).await.unwrap();
            for _ in 0..5 {
                conn.request().await.unwrap();
                conn.send(OK).await;
            }
        };
        tokio::join!(client, server);
    });
}
