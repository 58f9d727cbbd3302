//! Gets one certificate, answering HTTP-01 itself.
//!
//! ```text
//! cargo run --release -p gatewright-acme --example issue -- NAME LISTEN DIRECTORY [ROOT_CA_FILE]
//! cargo run --release -p gatewright-acme --example issue -- www.example.com 0.0.0.0:80 \
//!     https://acme-staging-v02.api.letsencrypt.org/directory
//! ```
//!
//! The authority must find LISTEN behind port 80 of NAME. Chain and key go to standard output.
#![allow(clippy::print_stdout, reason = "what it makes goes there")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};

use acme::{AcmeIssuer, AcmeSettings, Authority, ChallengeKind, MemoryJournal, Publication, Roots};
use certs::{Issuer, KeyKind, Request};
use dns::{BoxFuture, Directory, Found};
use runtime::Clock;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Key authorisations by token.
type Answers = Arc<Mutex<HashMap<String, String>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [name, listen, directory, root @ ..] = &arguments[..] else {
        return Err("usage: issue NAME LISTEN DIRECTORY [ROOT_CA_FILE]".into());
    };
    let mut authority = Authority::new(directory);
    if let Some(file) = root.first() {
        authority.roots = Roots::File(file.into());
    }
    let mut settings = AcmeSettings::new(vec![authority]);
    settings.challenges = vec![ChallengeKind::Http01];
    let issuer = AcmeIssuer::new(settings, Arc::new(NoProviders), Clock::system())?;

    let answers = Answers::default();
    let answered = answers.clone();
    // A program that is to survive a crash keeps the journal; this one would begin anew.
    let journal = MemoryJournal::new(move |publication| {
        let Ok(mut answers) = answered.lock() else { return };
        match publication {
            Publication::Answer(it) => answers.insert(it.token, it.key_authorisation),
            Publication::Forget { token, .. } => answers.remove(&token),
        };
    });
    let listener = TcpListener::bind(listen).await?;
    let request = Request { name: name.parse()?, key_kind: KeyKind::EcdsaP256, replaces: None };
    let record = tokio::select! {
        record = Issuer::issue(&issuer, &request, &journal) => record?,
        failed = serve(listener, answers) => return Err(failed.into()),
    };
    print!("{}{}", record.chain_pem, record.key_pem.expose());
    Ok(())
}

/// Answers one request after the other, until it fails.
async fn serve(listener: TcpListener, answers: Answers) -> std::io::Error {
    loop {
        match listener.accept().await {
            // A visitor that breaks off is no reason to stop.
            Ok((stream, _)) => drop(answer(stream, &answers).await),
            Err(error) => return error,
        }
    }
}

async fn answer(stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).unwrap_or_default();
    let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
    let body = answers.lock().ok().and_then(|answers| answers.get(token).cloned());
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}

/// Without DNS providers there is no DNS-01.
struct NoProviders;

impl Directory for NoProviders {
    fn find<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Found>, dns::Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn by_id<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, dns::Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
