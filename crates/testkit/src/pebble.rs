use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tls_files::TlsFiles;
use crate::{Process, free_port, https, until};

const PATIENCE: Duration = Duration::from_secs(20);
/// Starts that are tried when another process took a port first.
const TRIES: usize = 5;

/// What a [`Pebble`] is to be.
#[derive(Clone, Debug)]
pub struct PebbleOptions {
    /// The port at which it asks for proofs by HTTP-01.
    pub http_port: u16,
    /// The port at which it asks for proofs by TLS-ALPN-01.
    pub tls_port: u16,
    /// The name server it asks.
    pub dns: SocketAddr,
    /// Key id and MAC key (base64url) without which it makes no account.
    pub eab: Option<(String, String)>,
    /// How long its certificates are good, in whole seconds.
    pub validity: Duration,
    /// How many requests of a hundred it refuses with `badNonce`.
    pub nonce_reject: u8,
}

impl PebbleOptions {
    /// One that makes certificates for 90 days, without account binding, and refuses one request in twenty.
    pub fn new(dns: SocketAddr, http_port: u16, tls_port: u16) -> Self {
        Self {
            http_port,
            tls_port,
            dns,
            eab: None,
            validity: Duration::from_secs(90 * 24 * 60 * 60),
            nonce_reject: 5,
        }
    }
}

/// A certificate authority that speaks ACME: Debian's `pebble`. It validates for real, at once, and reuses a
/// proof one time in a hundred, which is as seldom as it can be told to.
pub struct Pebble {
    process: Process,
    addr: SocketAddr,
    management: SocketAddr,
    tls: TlsFiles,
    _dir: TempDir,
}

impl Pebble {
    /// Starts one on free ports and waits until it answers.
    pub async fn start(options: &PebbleOptions) -> Self {
        for _ in 0..TRIES {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let tls = TlsFiles::make(dir.path(), "pebble", &["localhost", "127.0.0.1"]);
            let [addr, management] =
                [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
            let config = config(options, addr, management, &tls);
            let process = spawn(dir.path(), options, &config);
            let mut pebble = Self { process, addr, management, tls, _dir: dir };
            if pebble.comes_up().await {
                return pebble;
            }
        }
        panic!("pebble found no ports");
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The root of the certificate that it serves its API with, PEM, in a file.
    pub fn api_root(&self) -> PathBuf {
        self.tls.ca.clone()
    }

    /// The root of the certificates it makes, PEM. Another after each start.
    pub async fn issuing_root(&self) -> String {
        self.managed("/roots/0").await.expect("pebble answers")
    }

    /// The running server.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it and starts it anew where it was: it has forgotten all accounts, orders and its own keys.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process.exit(PATIENCE).await;
        self.process.restart();
        assert!(self.comes_up().await, "pebble starts again");
    }

    /// How many orders were made so far, restarts included.
    pub fn orders(&self) -> usize {
        self.logged("Added order ")
    }

    /// How many certificates it made so far, restarts included.
    pub fn certificates(&self) -> usize {
        self.logged("Issued certificate serial ")
    }

    fn logged(&self, what: &str) -> usize {
        self.process.stdout().lines().filter(|line| line.contains(what)).count()
    }

    async fn managed(&self, path: &str) -> Option<String> {
        let root = std::fs::read_to_string(&self.tls.ca).expect("it was written");
        let answer = https::get(self.management, &root, path).await?;
        Some(String::from_utf8_lossy(answer.body()).into_owned())
    }

    /// False when it ended instead, its ports taken.
    async fn comes_up(&mut self) -> bool {
        let root = std::fs::read_to_string(&self.tls.ca).expect("it was written");
        until("pebble answers", PATIENCE, async || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            self.managed("/roots/0").await?;
            https::get(self.addr, &root, "/dir").await.map(|_| true)
        })
        .await
    }
}

fn config(
    options: &PebbleOptions,
    addr: SocketAddr,
    management: SocketAddr,
    tls: &TlsFiles,
) -> Value {
    let mut pebble = json!({
        "listenAddress": addr.to_string(),
        "managementListenAddress": management.to_string(),
        "certificate": tls.cert,
        "privateKey": tls.key,
        "httpPort": options.http_port,
        "tlsPort": options.tls_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": options.eab.is_some(),
        "certificateValidityPeriod": options.validity.as_secs(),
    });
    if let Some((kid, key)) = &options.eab {
        pebble["externalAccountMACKeys"] = json!({ kid: key });
    }
    json!({ "pebble": pebble })
}

fn spawn(dir: &Path, options: &PebbleOptions, config: &Value) -> Process {
    let file = dir.join("pebble.json");
    std::fs::write(&file, config.to_string()).expect("the directory is writable");
    let mut command = Command::new("pebble");
    command.arg("-config").arg(file).args(["-dnsserver", &options.dns.to_string()]);
    command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
    command.env("PEBBLE_WFE_NONCEREJECT", options.nonce_reject.to_string());
    Process::spawn("pebble", command, dir)
}
