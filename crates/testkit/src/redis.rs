use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Process, free_port, until};

const PATIENCE: Duration = Duration::from_secs(10);

/// A `redis-server` of its own on a free port, without persistence.
pub struct TestRedis {
    addr: SocketAddr,
    process: Process,
    dir: TempDir,
}

impl TestRedis {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let process = spawn(addr, dir.path());
        let redis = Self { addr, process, dir };
        redis.answers().await;
        redis
    }

    /// Saves what it holds and ends it.
    pub async fn stop(&mut self) {
        self.command(&["SAVE"]).await;
        self.process.kill();
        self.process.exit(PATIENCE).await;
    }

    /// Starts it again where it was, with what it held.
    pub async fn start_again(&mut self) {
        assert!(self.process.ended().is_some(), "it still runs");
        self.process = spawn(self.addr, self.dir.path());
        self.answers().await;
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL for a `STORE` setting.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Sends one command and gives the raw reply, as an operator with `redis-cli` would.
    pub async fn command(&self, words: &[&str]) -> String {
        self.try_command(words).await.expect("redis answers")
    }

    /// The running server.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    async fn answers(&self) {
        until("redis answers", PATIENCE, async || {
            (self.try_command(&["PING"]).await.ok()?.trim() == "+PONG").then_some(())
        })
        .await;
    }

    async fn try_command(&self, words: &[&str]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.addr).await?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        // The second command makes the server close, which ends the reply.
        request += "*1\r\n$4\r\nQUIT\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        let reply = String::from_utf8_lossy(&reply);
        Ok(reply.strip_suffix("+OK\r\n").unwrap_or(&reply).to_owned())
    }
}

fn spawn(addr: SocketAddr, dir: &Path) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--port", &addr.port().to_string(), "--dir"]).arg(dir);
    Process::spawn("redis", command, dir)
}

#[cfg(test)]
mod tests {
    use super::TestRedis;

    #[tokio::test]
    async fn it_is_a_redis() {
        let mut redis = TestRedis::start().await;
        assert_eq!(redis.command(&["SET", "a", "b c"]).await, "+OK\r\n");
        redis.stop().await;
        redis.start_again().await;
        assert_eq!(redis.command(&["GET", "a"]).await, "$3\r\nb c\r\n");
    }
}
