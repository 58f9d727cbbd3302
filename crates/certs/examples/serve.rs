//! HTTPS for any name under `.localhost`, with a certificate made when a client first asks for it.
//!
//! ```text
//! cargo run --release -p gatewright-certs --example serve -- /tmp/root.pem
//! curl --cacert /tmp/root.pem --connect-to ::127.0.0.1:8443 https://anything.localhost/
//! ```
#![expect(clippy::print_stdout, reason = "it is an example")]

use std::error::Error;
use std::sync::Arc;

use certs::{CertTable, LocalCa};
use model::HostPattern;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::LazyConfigAcceptor;

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let now = runtime_now();
    let ca = LocalCa::generate(now)?;
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(&path, ca.root_pem())?;
        println!("clients are to trust {path}");
    }
    let table = Arc::new(CertTable::new(now)?);
    let config = certs::server_config(&table)?;
    let listener = TcpListener::bind("127.0.0.1:8443").await?;
    println!("https://anything.localhost:8443/");
    loop {
        let (stream, _) = listener.accept().await?;
        // One at a time: an example need not be quick.
        if let Err(error) = answer(stream, &ca, &table, &config).await {
            println!("a client: {error}");
        }
    }
}

async fn answer(
    stream: tokio::net::TcpStream,
    ca: &LocalCa,
    table: &Arc<CertTable>,
    config: &Arc<rustls::ServerConfig>,
) -> Result<(), Box<dyn Error>> {
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let name = hello.client_hello().server_name().unwrap_or("localhost").to_owned();
    if name.ends_with(".localhost") && table.find(&name).is_none() {
        let pattern: HostPattern = name.parse()?;
        table.apply(&name, Some(&ca.issue(&pattern, runtime_now())?))?;
    }
    let mut stream = hello.into_stream(config.clone()).await?;
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    let body = format!("this is {name}\n");
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "nobody turns the clock of an example")]
fn runtime_now() -> model::Timestamp {
    std::time::SystemTime::now().into()
}
