//! Opens TLS connections as fast as the other side lets it: a full handshake, one request, close.
//!
//! No load tool of the distribution counts that. Prints one JSON object: connections, errors, per second, and the time
//! from connect to the last byte in microseconds. The client must stay cheaper than the server, so it verifies
//! nothing; it offers X25519 alone, because servers differ in post-quantum key exchange and the client must not choose.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the result of a program for scripts")]

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

/// Opens TLS connections as fast as the other side lets it.
#[derive(Parser)]
struct Args {
    /// Where to connect.
    address: SocketAddr,
    /// The name for SNI and Host.
    name: String,
    /// Connections at a time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How long.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(args))
}

#[derive(Default)]
struct Tally {
    /// Microseconds of each connection that went well.
    micros: RefCell<Vec<u128>>,
    errors: Cell<u64>,
    last_error: RefCell<String>,
}

async fn run(args: Args) -> anyhow::Result<()> {
    let client = Rc::new(Client {
        address: args.address,
        name: ServerName::try_from(args.name.clone())?,
        request: format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", args.name),
        connector: TlsConnector::from(Arc::new(config()?)),
    });
    let tally = Rc::new(Tally::default());
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.seconds);
    let tasks: Vec<_> = (0..args.connections)
        .map(|_| tokio::task::spawn_local(repeat(client.clone(), tally.clone(), end)))
        .collect();
    for task in tasks {
        task.await?;
    }
    print(&tally, start.elapsed());
    Ok(())
}

async fn repeat(client: Rc<Client>, tally: Rc<Tally>, end: Instant) {
    while Instant::now() < end {
        let start = Instant::now();
        match client.connect_and_get().await {
            Ok(()) => tally.micros.borrow_mut().push(start.elapsed().as_micros()),
            Err(error) => {
                tally.errors.set(tally.errors.get() + 1);
                tally.last_error.replace(error.to_string());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

struct Client {
    address: SocketAddr,
    name: ServerName<'static>,
    request: String,
    connector: TlsConnector,
}

impl Client {
    async fn connect_and_get(&self) -> io::Result<()> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut stream = self.connector.connect(self.name.clone(), stream).await?;
        stream.write_all(self.request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(4096);
        // The end without close_notify is as good: the length is checked.
        let read = stream.read_to_end(&mut answer).await;
        if !answer.starts_with(b"HTTP/1.1 200 ") || answer.len() < 1024 {
            read?;
            return Err(io::Error::other("not the whole answer"));
        }
        Ok(())
    }
}

fn print(tally: &Tally, elapsed: Duration) {
    let mut micros = tally.micros.take();
    micros.sort_unstable();
    let quantile = |q: usize| micros.get(micros.len() * q / 1000).copied().unwrap_or_default();
    let count = micros.len();
    let result = serde_json::json!({
        "requests": count,
        "errors": tally.errors.get(),
        "last_error": *tally.last_error.borrow(),
        "rps": f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / elapsed.as_secs_f64(),
        "p50": u64::try_from(quantile(500)).unwrap_or(u64::MAX),
        "p99": u64::try_from(quantile(990)).unwrap_or(u64::MAX),
        "p999": u64::try_from(quantile(999)).unwrap_or(u64::MAX),
    });
    println!("{result}");
}

fn config() -> Result<ClientConfig, rustls::Error> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnyone))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

#[derive(Debug)]
struct TrustAnyone;

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
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

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}
