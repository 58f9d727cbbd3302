//! A real `redis-server` of the test's own, in a private directory, gone when dropped.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fred::interfaces::ClientLike;
use fred::types::{Builder, config::Config};
use tempfile::TempDir;

pub(crate) struct Server {
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts one on a free port of 127.0.0.1, with these arguments besides.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        let mut server = Self { dir, port: free_port(), arguments, child: None };
        while !server.begin() {
            // Somebody else was quicker to take the port.
            server.port = free_port();
        }
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A path for a Unix socket in its directory.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Kills it; its data is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.is_none() && self.begin());
    }

    /// A plain client, as an operator's.
    pub(crate) async fn client(&self) -> fred::clients::Client {
        let config = Config::from_url(&self.url()).unwrap();
        let client = Builder::from_config(config).build().unwrap();
        client.init().await.unwrap();
        client
    }

    /// Whether it came up: it says so in its log.
    fn begin(&mut self) -> bool {
        let mut child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.dir.path())
            .arg("--unixsocket")
            .arg(self.socket())
            .args(&self.arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let log = BufReader::new(child.stdout.take().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        let up = lines.any(|line| line.contains("Ready to accept connections"));
        // It goes on writing its log, and must not meet a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
        if !up {
            self.kill();
        }
        up
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
