use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::Request;
use tempfile::TempDir;

use crate::client::Front;
use crate::{Api, Process, TestRedis, binary, client, free_port, until};

/// The administrator's password of every system.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// How long a program may take from start to ready.
const READY: Duration = Duration::from_secs(15);
/// Starts that are tried when another process took a port first.
const TRIES: usize = 3;

/// A Redis, a `gatewright-api` and one or more `gatewright-proxy`, as separate processes.
pub struct System {
    /// The data planes.
    pub proxies: Vec<Proxy>,
    /// The control plane, logged in as administrator.
    pub api: Api,
    /// Where the control plane listens.
    pub api_addr: SocketAddr,
    /// The control plane's process.
    pub api_process: Process,
    /// The shared state.
    pub redis: TestRedis,
    api_store: Settings,
    /// Everything the programs write.
    pub dir: TempDir,
}

/// Names and values of settings.
type Settings = Vec<(String, String)>;

/// A running data plane; dereferences to what a client needs to know.
pub struct Proxy {
    front: Front,
    /// Its administration listener.
    pub admin: SocketAddr,
    /// Its process.
    pub process: Process,
}

impl Deref for Proxy {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

impl Proxy {
    /// One without a control plane, which trusts nobody but `ca_file`, and waits until it is ready.
    pub async fn alone(
        dir: &Path,
        redis: &TestRedis,
        ca_file: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        let ca_pem = std::fs::read_to_string(ca_file).expect("a file of authorities");
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings: Vec<_> = settings.iter().map(own).collect();
        let settings = [store(redis, None), settings].concat();
        start_proxy(dir, 0, &settings, |http, https| Front {
            http,
            https,
            ca_pem: ca_pem.clone(),
            ca_file: ca_file.to_owned(),
        })
        .await
    }

    /// What a client needs to know of it.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// `GET path` of the administration listener: status and body.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        ask(self.admin, path).await.expect("the administration listener answers")
    }
}

/// What a [`System`] is to be.
pub struct Builder {
    proxies: usize,
    settings: Vec<(String, String)>,
    redis: Option<TestRedis>,
    logins: [Option<(String, String)>; 2],
    api_settings: Vec<(String, String)>,
}

impl System {
    /// One proxy, default settings.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Chooses what it is.
    pub fn builder() -> Builder {
        Builder {
            proxies: 1,
            settings: Vec::new(),
            api_settings: Vec::new(),
            redis: None,
            logins: [None, None],
        }
    }

    /// Starts another replica of the control plane, and logs in there.
    pub async fn another_api(&self) -> (Api, Process) {
        let dir = self.dir.path().join("api2");
        std::fs::create_dir_all(&dir).expect("the directory is writable");
        let (addr, process) = start_api(&dir, &self.api_store).await;
        (Api::login(addr, "admin", PASSWORD).await, process)
    }

    /// Kills the control plane and starts it again on the same port.
    pub async fn restart_api(&mut self) {
        self.api_process.kill();
        self.api_process.exit(READY).await;
        let command = api_command(self.dir.path(), &self.api_store, self.api_addr);
        self.api_process = Process::spawn("api-again", command, self.dir.path());
        ready("api again", self.api_addr, &mut self.api_process, true).await;
    }
}

impl Builder {
    /// How many proxies.
    pub fn proxies(mut self, count: usize) -> Self {
        self.proxies = count;
        self
    }

    /// A setting of the proxies: `set("WORKERS", "1")`.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On this Redis instead of a plain one.
    pub fn redis(mut self, redis: TestRedis) -> Self {
        self.redis = Some(redis);
        self
    }

    /// As these users of it, with their passwords: the control plane, the data planes.
    pub fn logins(mut self, api: (&str, &str), proxy: (&str, &str)) -> Self {
        let own = |(user, word): (&str, &str)| Some((user.to_owned(), word.to_owned()));
        self.logins = [own(api), own(proxy)];
        self
    }

    /// A setting of the control plane.
    pub fn set_api(mut self, name: &str, value: &str) -> Self {
        self.api_settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts everything and waits until it is ready.
    pub async fn start(self) -> System {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let redis = match self.redis {
            Some(redis) => redis,
            None => TestRedis::start().await,
        };
        let [api_store, proxy_store] = self.logins.map(|login| store(&redis, login));
        let api_store = [api_store, self.api_settings].concat();
        let (api_addr, api_process) = start_api(dir.path(), &api_store).await;
        let api = Api::login(api_addr, "admin", PASSWORD).await;
        let ca = api.get("/api/ca").await;
        assert_eq!(ca.status, 200, "GET /api/ca");
        let ca_pem = String::from_utf8(ca.body.to_vec()).expect("PEM is text");
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, &ca_pem).expect("the directory is writable");
        let mut proxies = Vec::new();
        for number in 0..self.proxies {
            let front = |http, https| Front {
                http,
                https,
                ca_pem: ca_pem.clone(),
                ca_file: ca_file.clone(),
            };
            let settings = [proxy_store.clone(), self.settings.clone()].concat();
            proxies.push(start_proxy(dir.path(), number, &settings, front).await);
        }
        System { proxies, api, api_addr, api_process, redis, api_store, dir }
    }
}

/// What programs need to know to reach this Redis as this user.
fn store(redis: &TestRedis, login: Option<(String, String)>) -> Settings {
    let url = login.map_or_else(|| redis.url(), |(user, word)| redis.url_as(&user, &word));
    [redis.settings(), vec![("STORE".to_owned(), url)]].concat()
}

async fn start_api(dir: &Path, store: &Settings) -> (SocketAddr, Process) {
    let (ports, process) =
        start("api", dir, 1, |ports| (api_command(dir, store, ports[0]), ports[0])).await;
    (ports[0], process)
}

fn api_command(dir: &Path, store: &Settings, listen: SocketAddr) -> Command {
    let mut command = Command::new(binary("gatewright-api"));
    command
        .env("GATEWRIGHT_API_LISTEN", listen.to_string())
        .env("GATEWRIGHT_ADMIN_PASSWORD", PASSWORD)
        .env("GATEWRIGHT_SECRET_KEY", key('A'));
    // No test asks an authority elsewhere unless it says which; a file may name several.
    if !store.iter().any(|(name, _)| name == "CONFIG") {
        command.env("GATEWRIGHT_ACME_DIRECTORY", "off");
    }
    shared_settings(&mut command, &dir.join("api-state"), store);
    command
}

async fn start_proxy(
    dir: &Path,
    number: usize,
    settings: &Settings,
    front: impl Fn(SocketAddr, SocketAddr) -> Front,
) -> Proxy {
    let name = format!("proxy{number}");
    let (ports, process) = start(&name, dir, 3, |ports| {
        let mut command = Command::new(binary("gatewright-proxy"));
        command
            .env("GATEWRIGHT_HTTP_LISTEN", ports[0].to_string())
            .env("GATEWRIGHT_HTTPS_LISTEN", ports[1].to_string())
            .env("GATEWRIGHT_PROXY_ADMIN_LISTEN", ports[2].to_string())
            .env("GATEWRIGHT_INSTANCE", &name);
        shared_settings(&mut command, &dir.join(format!("{name}-state")), settings);
        (command, ports[2])
    })
    .await;
    Proxy { front: front(ports[0], ports[1]), admin: ports[2], process }
}

/// A sealing key: 32 bytes in base64.
fn key(filler: char) -> String {
    format!("{}=", filler.to_string().repeat(43))
}

fn shared_settings(command: &mut Command, state: &Path, settings: &Settings) {
    command
        .env("GATEWRIGHT_STATE_DIR", state)
        .env("GATEWRIGHT_LOOKUP_SOCKET", state.with_file_name("lookup.sock"))
        .env("GATEWRIGHT_CERT_KEY", key('Q'));
    for (setting, value) in settings {
        command.env(format!("GATEWRIGHT_{setting}"), value);
    }
}

/// Starts a program on `count` fresh ports until it is ready; `command` also says which port to ask.
pub(crate) async fn start(
    name: &str,
    dir: &Path,
    count: usize,
    mut command: impl FnMut(&[SocketAddr]) -> (Command, SocketAddr),
) -> (Vec<SocketAddr>, Process) {
    for attempt in 1..=TRIES {
        let addrs: Vec<SocketAddr> =
            (0..count).map(|_| (Ipv4Addr::LOCALHOST, free_port()).into()).collect();
        let (command, asked) = command(&addrs);
        let mut process = Process::spawn(name, command, dir);
        if ready(name, asked, &mut process, attempt == TRIES).await {
            return (addrs, process);
        }
    }
    unreachable!("the last attempt is ready or panics");
}

/// Waits for readiness; false when it ended because a port was taken and another attempt is allowed.
pub(crate) async fn ready(
    name: &str,
    asked: SocketAddr,
    process: &mut Process,
    last: bool,
) -> bool {
    let what = format!("{name} is ready");
    until(&what, READY, async || {
        if let Some(status) = process.ended() {
            let clash = process.stderr().to_lowercase().contains("in use");
            assert!(clash && !last, "{name} ended with {status}");
            return Some(false);
        }
        (ask(asked, "/readyz").await?.0 == 200).then_some(true)
    })
    .await
}

/// `GET path`: status and body; `None` when nothing answers.
pub(crate) async fn ask(addr: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut connection = client::plain(addr).await.ok()?;
    let request = Request::get(format!("http://{addr}{path}")).body(client::empty());
    let answer = connection.fetch(request.expect("a request")).await.ok()?;
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    Some((answer.status().as_u16(), body))
}
