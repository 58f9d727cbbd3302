use std::net::SocketAddr;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Front;
use crate::system::{PASSWORD, ready, start};
use crate::{Api, Process, binary};

/// `nobody`, who runs the program when the test itself runs as root.
const NOBODY: u32 = 65_534;

/// `gatewright up` by an ordinary user in an empty directory; dereferences to what a client needs to know.
pub struct Up {
    front: Front,
    /// The REST API, logged in as administrator.
    pub api: Api,
    /// Where the REST API listens.
    pub api_addr: SocketAddr,
    /// The data plane's administration listener.
    pub admin: SocketAddr,
    /// The one process.
    pub process: Process,
    /// From its start to its readiness.
    pub took: Duration,
    program: PathBuf,
    dir: TempDir,
}

impl Deref for Up {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

impl Up {
    /// Starts it with a known administrator's password and waits until it is ready.
    pub async fn start() -> Self {
        Self::launch(Some(PASSWORD)).await
    }

    /// Starts it as the README says, with the password it prints.
    pub async fn first_run() -> Self {
        Self::launch(None).await
    }

    async fn launch(password: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = dir.path().join("home");
        std::fs::create_dir(&home).expect("the directory is writable");
        give_away(dir.path(), &home);
        let program = lend(dir.path());
        let mut began = Instant::now();
        let (ports, process) = start("up", dir.path(), 4, |ports| {
            let command = up(&program, &home, ports, password);
            began = Instant::now();
            (command, ports[3])
        })
        .await;
        let took = began.elapsed();
        let said = process.stdout() + &process.stderr();
        let password = password.map_or_else(|| printed_password(&said), ToOwned::to_owned);
        let api = Api::login(ports[3], "admin", &password).await;
        let ca_pem =
            String::from_utf8(api.get("/api/ca").await.body.to_vec()).expect("PEM is text");
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, &ca_pem).expect("the directory is writable");
        let front = Front { http: ports[0], https: ports[1], ca_pem, ca_file };
        Self { front, api, api_addr: ports[3], admin: ports[2], process, took, program, dir }
    }

    /// Starts it again on the same ports and data, after its end, and waits until it is ready.
    pub async fn restart(&mut self) {
        assert!(self.process.ended().is_some(), "it still runs");
        let ports = [self.front.http, self.front.https, self.admin, self.api_addr];
        let command = up(&self.program, &self.home(), &ports, None);
        self.process = Process::spawn("up-again", command, self.dir.path());
        ready("up again", self.api_addr, &mut self.process, true).await;
    }

    /// Runs the CLI as the same user in the same place; `GATEWRIGHT_API` points at this system.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with(arguments, &[])
    }

    /// The same with more environment.
    pub fn cli_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        as_user(&self.program, &self.home())
            .args(arguments)
            .env("GATEWRIGHT_API", format!("http://{}", self.api_addr))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the program runs")
    }

    /// The directory in which it was started, the user's home as well.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The password it printed at its first start.
    pub fn printed_password(&self) -> String {
        printed_password(&(self.process.stdout() + &self.process.stderr()))
    }
}

/// `gatewright up` on these ports: HTTP, HTTPS, the proxy's administration, the API.
fn up(program: &Path, home: &Path, ports: &[SocketAddr], password: Option<&str>) -> Command {
    let mut command = as_user(program, home);
    let names = ["HTTP_LISTEN", "HTTPS_LISTEN", "PROXY_ADMIN_LISTEN", "API_LISTEN"];
    command.arg("up");
    for (name, port) in names.iter().zip(ports) {
        command.env(format!("GATEWRIGHT_{name}"), port.to_string());
    }
    if let Some(password) = password {
        command.env("GATEWRIGHT_ADMIN_PASSWORD", password);
    }
    command
}

/// Finds the password in what was printed: the last word of the line that names it.
fn printed_password(said: &str) -> String {
    let line = said.lines().find(|line| line.to_lowercase().contains("password"));
    let line = line.unwrap_or_else(|| panic!("no password in what was printed:\n{said}"));
    let word = line.split([' ', '=', ':']).rfind(|word| !word.is_empty());
    word.expect("a word after it").trim_matches(['"', '`', '\'']).to_owned()
}

/// A command that runs as `nobody` where this process is root, else as this user.
fn as_user(program: &Path, home: &Path) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(home).env("HOME", home).env("GATEWRIGHT_ACME_DIRECTORY", "off");
    command
}

/// Lets the ordinary user into `dir` and gives him `home`.
fn give_away(dir: &Path, home: &Path) {
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, open).expect("it is ours");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(home, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
}

/// Puts the program where an ordinary user may read it: a clone may lie under a closed directory.
fn lend(dir: &Path) -> PathBuf {
    let program = dir.join("gatewright");
    std::fs::copy(binary("gatewright"), &program).expect("the directory is writable");
    program
}
