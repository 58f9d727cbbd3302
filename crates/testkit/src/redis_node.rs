use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Process, free_port, until};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long one command may take, since a server may be stopped or half-dead.
const COMMAND: Duration = Duration::from_secs(5);
/// Starts that are tried when another process took a port first.
const TRIES: usize = 5;

/// One server process: a `redis-server` that holds data, or a sentinel.
pub struct RedisNode {
    name: String,
    addr: SocketAddr,
    process: Process,
    dir: PathBuf,
    arguments: Vec<String>,
    password: Option<String>,
}

impl RedisNode {
    /// Starts one on a free port and waits until it answers; `arguments` are made for that port.
    pub(crate) async fn start(
        name: &str,
        dir: &Path,
        password: Option<&str>,
        arguments: impl Fn(u16) -> Vec<String>,
    ) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).expect("the directory is writable");
        for _ in 0..TRIES {
            let port = free_port();
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let arguments = arguments(port);
            let process = spawn(name, &dir, addr, &arguments);
            let mut node = Self {
                name: name.to_owned(),
                addr,
                process,
                dir: dir.clone(),
                arguments,
                password: password.map(str::to_owned),
            };
            if node.comes_up().await {
                return node;
            }
        }
        panic!("{name} found no port");
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The running server.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it by `SIGKILL` and waits for that.
    pub async fn kill(&mut self) {
        self.process.kill();
        self.process.exit(PATIENCE).await;
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) {
        assert!(self.process.ended().is_some(), "it still runs");
        self.process = spawn(&self.name, &self.dir, self.addr, &self.arguments);
        assert!(self.comes_up().await, "{} starts again", self.name);
    }

    /// Sends one command and gives the raw reply, as an operator with `redis-cli` would.
    pub async fn command(&self, words: &[&str]) -> String {
        self.try_command(words).await.unwrap_or_else(|| panic!("{} answers {words:?}", self.name))
    }

    /// As [`command`](Self::command); `None` when there is no answer.
    pub async fn try_command(&self, words: &[&str]) -> Option<String> {
        let login = self.password.as_deref().map(|password| ("default", password));
        self.command_as(login, words).await
    }

    /// Sends several commands on one connection, `WAIT` among them, and gives the raw replies; `None` when there is no
    /// answer. Not for a sentinel.
    pub async fn try_commands(&self, commands: &[&[&str]]) -> Option<String> {
        let login = self.password.as_deref().map(|password| ("default", password));
        let commands = [commands, &[&["QUIT"]]].concat();
        let exchange = exchange(self.addr, login, &commands, Ending::Quit);
        let answers = tokio::time::timeout(COMMAND, exchange).await.ok()?.ok()?;
        answers.strip_suffix("+OK\r\n").map(str::to_owned)
    }

    /// As [`command`](Self::command), logged in as this user; `None` when there is no answer.
    pub async fn command_as(&self, login: Option<(&str, &str)>, words: &[&str]) -> Option<String> {
        let commands = [words];
        let exchange = exchange(self.addr, login, &commands, Ending::HalfClose);
        tokio::time::timeout(COMMAND, exchange).await.ok()?.ok()
    }

    /// The lines of `INFO` that say `name:value`.
    pub async fn info(&self, name: &str) -> Option<String> {
        let info = self.try_command(&["INFO", "everything"]).await?;
        let mut lines = info.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }

    /// False when it ended instead, its port taken.
    async fn comes_up(&mut self) -> bool {
        let what = format!("{} answers", self.name);
        until(&what, PATIENCE, async || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            (self.try_command(&["PING"]).await?.trim() == "+PONG").then_some(true)
        })
        .await
    }
}

/// How a server is told that no further command comes, so that it ends the replies by closing.
#[derive(PartialEq)]
enum Ending {
    /// By the end of what is sent. A client that waits in `WAIT` is given up at once.
    HalfClose,
    /// By `QUIT`, the last command. A sentinel knows none.
    Quit,
}

/// Commands on a connection of their own.
async fn exchange(
    addr: SocketAddr,
    login: Option<(&str, &str)>,
    commands: &[&[&str]],
    ending: Ending,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let mut request = login.map(|(user, word)| encode(&["AUTH", user, word])).unwrap_or_default();
    request.extend(commands.iter().map(|words| encode(words)));
    stream.write_all(request.as_bytes()).await?;
    if ending == Ending::HalfClose {
        stream.shutdown().await?;
    }
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    let reply = String::from_utf8_lossy(&reply);
    let answer = login.and_then(|_| reply.strip_prefix("+OK\r\n")).unwrap_or(&reply);
    Ok(answer.to_owned())
}

fn encode(words: &[&str]) -> String {
    let words_text = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words_text.collect::<String>())
}

fn spawn(name: &str, dir: &Path, addr: SocketAddr, arguments: &[String]) -> Process {
    let mut command = Command::new("redis-server");
    // A sentinel's configuration is a file, and the first argument.
    let (file, arguments): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|argument| argument.ends_with(".conf"));
    command.args(file).args(["--bind", "127.0.0.1", "--port", &addr.port().to_string(), "--dir"]);
    command.arg(dir).args(arguments);
    Process::spawn(name, command, dir)
}
