use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{Process, free_port, https, until};

const PATIENCE: Duration = Duration::from_secs(20);
/// Starts that are tried when another process took a port first.
const TRIES: usize = 5;

/// The name server that Debian's `pebble` brings along (`pebble-challtestsrv`): every name has the address 127.0.0.1, and a
/// test adds what else there is to be. For proofs in a real zone there are real name servers.
pub struct AcmeDns {
    _process: Process,
    addr: SocketAddr,
    management: SocketAddr,
    _dir: TempDir,
}

impl AcmeDns {
    /// Starts one on free ports.
    pub async fn start() -> Self {
        for _ in 0..TRIES {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let [addr, management] =
                [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
            let mut command = Command::new("pebble-challtestsrv");
            command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
            command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
            command.args(["-dns01", &addr.to_string(), "-management", &management.to_string()]);
            let mut process = Process::spawn("acme-dns", command, dir.path());
            let up = until("the name server answers", PATIENCE, async || {
                if process.ended().is_some() {
                    return Some(false);
                }
                // The DNS is served over TCP as well; both listeners are bound one after the other.
                TcpStream::connect(addr).await.ok()?;
                TcpStream::connect(management).await.ok().map(|_| true)
            });
            if up.await {
                return Self { _process: process, addr, management, _dir: dir };
            }
        }
        panic!("the name server found no ports");
    }

    /// Where it answers, by UDP and TCP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds a TXT value beside those that stand at `name`.
    pub async fn add_txt(&self, name: &str, value: &str) {
        self.post("/set-txt", json!({"host": format!("{name}."), "value": value})).await;
    }

    /// Removes every TXT value at `name`.
    pub async fn clear_txt(&self, name: &str) {
        self.post("/clear-txt", json!({"host": format!("{name}.")})).await;
    }

    /// Points `name` at another.
    pub async fn set_cname(&self, name: &str, target: &str) {
        let target = format!("{target}.");
        self.post("/set-cname", json!({"host": format!("{name}."), "target": target})).await;
    }

    /// Queries for `name` fail.
    pub async fn fail(&self, name: &str) {
        self.post("/set-servfail", json!({"host": format!("{name}.")})).await;
    }

    async fn post(&self, path: &str, json: serde_json::Value) {
        https::post(self.management, path, &json).await;
    }
}
