//! A backup made of one installation brings up another, on the same store or a different one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Api, Process, System, TestRedis, Up, binary, free_port, shared, until};

const PASSWORD: &str = "correct horse battery";
const KEY: &str = "QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ=";

/// A control plane alone, on any store.
struct Plane {
    api: Api,
    addr: SocketAddr,
    _process: Process,
}

impl Plane {
    async fn start(dir: &Path, name: &str, store: &str, key: &str) -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(binary("gatewright-api"));
        command
            .env("GATEWRIGHT_STORE", store)
            .env("GATEWRIGHT_STATE_DIR", dir.join(format!("{name}-state")))
            .env("GATEWRIGHT_API_LISTEN", addr.to_string())
            .env("GATEWRIGHT_LOOKUP_SOCKET", "")
            .env("GATEWRIGHT_ADMIN_PASSWORD", PASSWORD)
            .env("GATEWRIGHT_SECRET_KEY", key)
            .env("GATEWRIGHT_CERT_KEY", key);
        let process = Process::spawn(name, command, dir);
        until("it is ready", Duration::from_secs(15), async || {
            tokio::net::TcpStream::connect(addr).await.ok()?;
            (Api::new(addr).get("/readyz").await.status == 200).then_some(())
        })
        .await;
        Self { api: Api::login(addr, "admin", PASSWORD).await, addr, _process: process }
    }

    fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(binary("gatewright"))
            .args(arguments)
            .env("GATEWRIGHT_API", format!("http://{}", self.addr))
            .env("GATEWRIGHT_TOKEN", self.api.token())
            .stdin(Stdio::null())
            .output()
            .expect("the program runs")
    }

    async fn records(&self) -> Vec<String> {
        let answer = self.api.get("/api/export").await;
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let count = text.lines().count();
        let mut lines: Vec<_> = text.lines().skip(1).take(count - 2).map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

fn text(output: &Output) -> String {
    let (out, errors) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(errors))
}

async fn fill(api: &Api) {
    for number in 0..50 {
        let host = json!({
            "host": format!("h{number}.example.com"), "upstreams": [format!("127.0.0.1:{}", 9000 + number)],
        });
        api.post("/api/host", &host).await.expect(201);
    }
    let user = json!({ "username": "ann", "role": "manager", "password": "correct horse" });
    api.post("/api/user", &user).await.expect(201);
    api.post("/api/host", &json!({ "host": "app.localhost" })).await.expect(201);
    until("its certificate is made", Duration::from_secs(15), async || {
        let host = api.get("/api/host/app.localhost").await.json();
        (host["certificate_status"] == "valid").then_some(())
    })
    .await;
}

/// Embedded to Redis, wiped, and again; by command line.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_the_embedded_store_goes_into_redis() {
    let _turn = shared().await;
    let dir = tempfile::tempdir().unwrap();
    let embedded = format!("embedded:{}", dir.path().join("store").display());
    let first = Plane::start(dir.path(), "first", &embedded, KEY).await;
    fill(&first.api).await;
    let file = dir.path().join("backup.jsonl");
    let file = file.to_str().unwrap();
    let output = first.cli(&["export", "--file", file]);
    assert!(output.status.success(), "{}", text(&output));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let wanted = first.records().await;
    let saved = std::fs::read_to_string(file).unwrap();
    assert!(!saved.contains("PRIVATE KEY"), "a key in clear");

    let redis = TestRedis::start().await;
    for round in 0..2 {
        let second = Plane::start(dir.path(), &format!("second{round}"), &redis.url(), KEY).await;
        second.api.post("/api/host", &json!({ "host": "extra.example.com" })).await.expect(201);
        let output = second.cli(&["import", file, "--dry-run", "--replace"]);
        let said = text(&output);
        assert!(said.contains("delete Host extra.example.com"), "{said}");
        assert!(said.contains("create Host h7.example.com"), "{said}");
        second.api.get("/api/host/h7.example.com").await.expect(404);
        let output = second.cli(&["import", file, "--replace"]);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(second.records().await, wanted);
        Api::login(second.addr, "ann", "correct horse").await;
        let output = second.cli(&["--json", "import", file, "--replace"]);
        let again: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(again["changes"], json!([]));
        drop(second);
        redis.command(&["FLUSHALL"]).await;
    }
}

/// A file that is sealed with other keys is refused by naming them; so is one that was altered.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_does_not_fit_is_refused_up_front() {
    let _turn = shared().await;
    let system = System::builder().proxies(0).start().await;
    fill(&system.api).await;
    let file = system.dir.path().join("backup.jsonl");
    let saved = system.api.get("/api/export").await.body;
    std::fs::write(&file, &saved).unwrap();
    let store = format!("embedded:{}", system.dir.path().join("store").display());
    let other = Plane::start(system.dir.path(), "other", &store, &KEY.replace('Q', "Z")).await;
    let before = other.records().await;
    let output = other.cli(&["import", file.to_str().unwrap(), "--merge"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another CERT_KEY") && said.contains("another SECRET_KEY"), "{said}");
    let altered = String::from_utf8_lossy(&saved).replace("h7.example.com", "x7.example.com");
    std::fs::write(&file, altered).unwrap();
    let output = other.cli(&["import", file.to_str().unwrap(), "--merge"]);
    assert!(text(&output).contains("checksum"), "{}", text(&output));
    assert_eq!(other.records().await, before);
    let output = other.cli(&["import", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64), "{}", text(&output));
}

/// `up` has its own keys beside its store, and takes its own backup back.
#[tokio::test(flavor = "multi_thread")]
async fn up_takes_its_own_backup_back() {
    let _turn = shared().await;
    let up = Up::start().await;
    fill(&up.api).await;
    let env = [("GATEWRIGHT_TOKEN", up.api.token())];
    let output = up.cli_with(&["export", "--file", "backup.jsonl"], &env);
    assert!(output.status.success(), "{}", text(&output));
    up.api.delete("/api/host/h7.example.com").await.expect(200);
    let output = up.cli_with(&["import", "backup.jsonl", "--merge"], &env);
    assert!(output.status.success(), "{}", text(&output));
    up.api.get("/api/host/h7.example.com").await.expect(200);
}
