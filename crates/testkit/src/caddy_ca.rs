use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Process, free_port, https, until};

const PATIENCE: Duration = Duration::from_secs(30);
/// Starts that are tried when another process took a port first.
const TRIES: usize = 5;

/// A certificate authority that speaks ACME and is no Pebble: the `acme_server` of Caddy. It looks for proofs by HTTP on port 80 and
/// for those by TLS on port 443, which a test has not got: it takes proofs by DNS.
pub struct CaddyCa {
    process: Process,
    port: u16,
    dir: TempDir,
}

impl CaddyCa {
    /// Starts one that asks this name server.
    pub async fn start(dns: SocketAddr) -> Self {
        for _ in 0..TRIES {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let port = free_port();
            let data = dir.path().join("data");
            let file = dir.path().join("Caddyfile");
            let text = caddyfile(port, free_port(), &data.display().to_string(), dns);
            std::fs::write(&file, text).expect("the directory is writable");
            let mut command = Command::new("caddy");
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
            command.env("HOME", dir.path());
            let process = Process::spawn("caddy", command, dir.path());
            let mut caddy = Self { process, port, dir };
            if caddy.comes_up().await {
                return caddy;
            }
        }
        panic!("caddy found no ports");
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/acme/local/directory", self.port)
    }

    /// The root both of its API's certificate and of those it makes, PEM, in a file.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("data/pki/authorities/local/root.crt")
    }

    /// False when it ended instead, its ports taken.
    async fn comes_up(&mut self) -> bool {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        until("caddy answers", PATIENCE, async || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            let root = std::fs::read_to_string(self.root()).ok()?;
            let answer = https::get(addr, &root, "/acme/local/directory").await?;
            answer.status().is_success().then_some(true)
        })
        .await
    }
}

fn caddyfile(port: u16, http_port: u16, data: &str, dns: SocketAddr) -> String {
    format!(
        "{{
            admin off
            http_port {http_port}
            skip_install_trust
            auto_https disable_redirects
            storage file_system {data}
            pki {{
                ca local {{
                    name \"the test's second authority\"
                }}
            }}
        }}
        https://localhost:{port} {{
            bind 127.0.0.1
            tls internal
            acme_server {{
                resolvers udp/{dns}
                lifetime 24h
            }}
        }}
        "
    )
}
