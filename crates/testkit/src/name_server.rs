//! Real name servers on a free port: BIND and Knot, authoritative for the zones that a test writes, open to updates with keys.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UdpSocket;

use crate::{Process, free_port, until};

const PATIENCE: Duration = Duration::from_secs(20);
/// Starts that are tried when another process took a port first.
const TRIES: usize = 5;

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// `named` of Debian's `bind9`.
    Bind,
    /// `knotd` of Debian's `knot`.
    Knot,
}

/// A key for updates (TSIG).
#[derive(Clone, Debug)]
pub struct TsigKey {
    /// As both sides call it.
    pub name: String,
    /// `hmac-sha256` and so on.
    pub algorithm: String,
    /// Base64.
    pub secret: String,
}

impl TsigKey {
    /// A key of this name and algorithm; its secret is fixed, so that a test can search for it.
    pub fn new(name: &str, algorithm: &str) -> Self {
        // base64 of "canary-tsig-secret-of-32-octets!"
        let secret = "Y2FuYXJ5LXRzaWctc2VjcmV0LW9mLTMyLW9jdGV0cyE=".to_owned();
        Self { name: name.to_owned(), algorithm: algorithm.to_owned(), secret }
    }
}

/// A zone of a [`NameServer`].
#[derive(Clone, Debug)]
pub struct ZoneFile {
    /// Its name, without a dot at the end.
    pub name: String,
    /// Lines of a zone file beside SOA, NS and the address of `ns.<zone>`, which are there already.
    pub records: String,
}

impl ZoneFile {
    /// A zone with these further lines.
    pub fn new(name: &str, records: &str) -> Self {
        Self { name: name.to_owned(), records: records.to_owned() }
    }
}

/// A running authoritative server; ends with its value.
pub struct NameServer {
    process: Process,
    addr: SocketAddr,
    key: Option<TsigKey>,
    _dir: TempDir,
}

impl NameServer {
    /// Starts one on a free port of 127.0.0.1, by UDP and TCP, and waits until it answers. Every key may update every zone.
    pub async fn start(software: Software, zones: &[ZoneFile], keys: &[TsigKey]) -> Self {
        for _ in 0..TRIES {
            let addr = (Ipv4Addr::LOCALHOST, free_port()).into();
            if let Some(server) = Self::start_at(software, addr, zones, keys).await {
                return server;
            }
        }
        panic!("{software:?} found no port");
    }

    /// As [`start`](Self::start), at this address; `None` when it is taken.
    pub async fn start_at(
        software: Software,
        addr: SocketAddr,
        zones: &[ZoneFile],
        keys: &[TsigKey],
    ) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for zone in zones {
            std::fs::write(zone_path(dir.path(), zone), zone_text(zone, addr))
                .expect("a zone file");
        }
        let text = match software {
            Software::Bind => named_conf(dir.path(), addr, zones, keys),
            Software::Knot => knot_conf(dir.path(), addr, zones, keys),
        };
        // Knot's journal, without which it refuses updates.
        std::fs::create_dir(dir.path().join("db")).expect("a directory");
        let conf = dir.path().join("server.conf");
        std::fs::write(&conf, text).expect("a configuration");
        let command = match software {
            Software::Bind => {
                let mut command = Command::new(program("named"));
                command.args(["-g", "-4", "-n", "1", "-c"]).arg(&conf);
                command
            }
            Software::Knot => {
                let mut command = Command::new(program("knotd"));
                command.arg("-c").arg(&conf);
                command
            }
        };
        let process = Process::spawn("name-server", command, dir.path());
        let mut server = Self { process, addr, key: keys.first().cloned(), _dir: dir };
        server.comes_up(zones).await.then_some(server)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The running server, to stop, pause or kill it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The TXT values that it shows at a name, sorted.
    pub fn txt(&self, name: &str) -> Vec<String> {
        let mut command = Command::new("dig");
        command.arg(format!("@{}", self.addr.ip())).args(["-p", &self.addr.port().to_string()]);
        let output =
            command.args(["+short", "+norecurse", name, "TXT"]).output().expect("dig runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut values: Vec<_> = text.lines().map(|it| it.trim_matches('"').to_owned()).collect();
        values.sort();
        values
    }

    /// Lets a name have these TXT values and no others, by the first key. Blocks until it is done, so that it can serve as the
    /// hook of a [`DnsApi`](crate::dns_api::DnsApi).
    pub fn set_txt(&self, zone: &str, name: &str, values: &[String]) {
        self.updater().expect("a key was given")(zone, name, values);
    }

    /// [`set_txt`](Self::set_txt) as a function of its own, without the server's lifetime. `None` without a key.
    pub fn updater(&self) -> Option<impl Fn(&str, &str, &[String]) + Send + Sync + 'static> {
        let (addr, key) = (self.addr, self.key.clone()?);
        Some(move |zone: &str, name: &str, values: &[String]| {
            let mut script = format!("server {} {}\nzone {zone}\n", addr.ip(), addr.port());
            script += &format!("update delete {name} TXT\n");
            for value in values {
                script += &format!("update add {name} 1 TXT \"{value}\"\n");
            }
            nsupdate(&key, &(script + "send\n"));
        })
    }

    /// False when it ended instead, its port taken.
    async fn comes_up(&mut self, zones: &[ZoneFile]) -> bool {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a socket");
        until("the name server answers", PATIENCE, async || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            for zone in zones {
                socket.send_to(&soa_question(&zone.name), self.addr).await.ok()?;
                let mut answer = [0; 512];
                let received = socket.recv_from(&mut answer);
                let waited = tokio::time::timeout(Duration::from_millis(200), received).await;
                waited.ok()?.ok()?;
                // Authoritative, no error.
                if answer[2] & 4 == 0 || answer[3] & 15 != 0 {
                    return None;
                }
            }
            Some(true)
        })
        .await
    }
}

/// Whether both servers and the tools that ask them are installed.
pub fn name_servers_stand() -> bool {
    ["named", "knotd", "dig", "nsupdate"].iter().all(|it| program(it).is_file())
}

/// On the `PATH`, or where Debian puts servers, which is not on the `PATH` of ordinary users.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|it| it.is_file());
    found.unwrap_or_else(|| Path::new("/usr/sbin").join(name))
}

fn nsupdate(key: &TsigKey, script: &str) {
    let mut command = Command::new("nsupdate");
    command.args(["-t", "5", "-y", &format!("{}:{}:{}", key.algorithm, key.name, key.secret)]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("nsupdate runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(script.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

fn soa_question(zone: &str) -> Vec<u8> {
    // id, no flags, one question
    let mut question = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in zone.split('.') {
        question.push(u8::try_from(label.len()).expect("a label"));
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 6, 0, 1]);
    question
}

fn zone_path(dir: &Path, zone: &ZoneFile) -> PathBuf {
    dir.join(format!("{}.zone", zone.name))
}

fn zone_text(zone: &ZoneFile, addr: SocketAddr) -> String {
    format!(
        "$ORIGIN {}.\n$TTL 1\n@ SOA ns host 1 60 60 60 1\n@ NS ns\nns A {}\n{}\n",
        zone.name,
        addr.ip(),
        zone.records
    )
}

fn named_conf(dir: &Path, addr: SocketAddr, zones: &[ZoneFile], keys: &[TsigKey]) -> String {
    let (dir_text, ip, port) = (dir.display(), addr.ip(), addr.port());
    let mut text = format!(
        "options {{ directory \"{dir_text}\"; pid-file \"{dir_text}/pid\"; session-keyfile \"{dir_text}/session.key\";\n\
         listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; notify no;\n\
         allow-query {{ any; }}; }};\ncontrols {{ }};\n"
    );
    for TsigKey { name, algorithm, secret } in keys {
        text += &format!("key \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n");
    }
    let allowed: String = keys.iter().map(|key| format!("key \"{}\"; ", key.name)).collect();
    let allowed = if allowed.is_empty() { "none; ".to_owned() } else { allowed };
    for zone in zones {
        let path = zone_path(dir, zone);
        text += &format!(
            "zone \"{}\" {{ type primary; file \"{}\"; allow-update {{ {allowed}}}; }};\n",
            zone.name,
            path.display()
        );
    }
    text
}

fn knot_conf(dir: &Path, addr: SocketAddr, zones: &[ZoneFile], keys: &[TsigKey]) -> String {
    let dir = dir.display();
    let mut text = format!(
        "server:\n  rundir: {dir}\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         log:\n- target: stderr\n  any: info\ndatabase:\n  storage: {dir}/db\n  journal-db-max-size: 16M\n",
        addr.ip(),
        addr.port()
    );
    if !keys.is_empty() {
        text += "key:\n";
        for TsigKey { name, algorithm, secret } in keys {
            text += &format!("- id: {name}\n  algorithm: {algorithm}\n  secret: {secret}\n");
        }
        let names: Vec<_> = keys.iter().map(|it| it.name.as_str()).collect();
        text += &format!("acl:\n- id: keys\n  key: [{}]\n  action: update\n", names.join(", "));
    }
    text += &format!(
        "template:\n- id: default\n  storage: {dir}\n  file: \"%s.zone\"\n  zonefile-sync: -1\n"
    );
    text += "zone:\n";
    for zone in zones {
        text += &format!("- domain: {}\n", zone.name);
        if !keys.is_empty() {
            text += "  acl: keys\n";
        }
    }
    text
}
