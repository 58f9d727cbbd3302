//! An older data plane beside our control plane: nginx with a Lua script routes by the Redis that our API fills, exact
//! names by their record, names under a pattern by asking the lookup socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::Request;
use serde_json::json;
use tempfile::TempDir;
use testkit::{App, Process, System, client, free_port, shared, until};

const PATIENCE: Duration = Duration::from_secs(15);
/// Four times the second that a change by others may take.
const SOON: Duration = Duration::from_secs(4);
const TEMPLATE: &str = include_str!("legacy_lua/nginx.conf");
const SCRIPT: &str = include_str!("legacy_lua/target.lua");

/// nginx, whose workers are no root and get in by the socket's group.
struct Nginx {
    addr: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Nginx {
    async fn start(redis: SocketAddr, socket: &Path) -> Self {
        let dir = open_dir();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let script = dir.path().join("target.lua");
        std::fs::write(&script, SCRIPT).unwrap();
        let config = TEMPLATE
            .replace("@DIR@", dir.path().to_str().unwrap())
            .replace("@LISTEN@", &addr.to_string())
            .replace("@REDIS_PORT@", &redis.port().to_string())
            .replace("@SOCKET@", socket.to_str().unwrap());
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
        let process = Process::spawn("nginx", command, dir.path());
        until("nginx listens", PATIENCE, async || client::plain(addr).await.ok()).await;
        Self { addr, _process: process, _dir: dir }
    }

    /// The status for a name and the app that answered.
    async fn ask(&self, host: &str) -> (u16, Option<String>) {
        let mut connection = client::plain(self.addr).await.unwrap();
        let request = Request::get(format!("http://{host}/")).body(client::empty()).unwrap();
        let answer = connection.fetch(request).await.unwrap();
        let app = answer.headers().get("x-app").map(|it| it.to_str().unwrap().to_owned());
        (answer.status().as_u16(), app)
    }
}

/// A directory that others may enter.
fn open_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_with_lua_routes_what_the_api_writes() {
    let _turn = shared().await;
    let dir = open_dir();
    let socket = dir.path().join("lookup.sock");
    let mut builder = System::builder().set_api("LOOKUP_SOCKET", socket.to_str().unwrap());
    if is_root() {
        builder = builder.set_api("LOOKUP_SOCKET_GROUP", "nogroup");
    }
    let system = builder.start().await;
    let (exact, second, wild) = (App::start("exact"), App::start("second"), App::start("wild"));
    let upstreams = [exact.addr().to_string(), second.addr().to_string()];
    system.api.create(&json!({ "host": "app.localhost", "upstreams": upstreams })).await;
    system.api.route("*.wild.localhost", wild.addr()).await;
    system.api.route("api.**.localhost", second.addr()).await;
    let disabled = json!({
        "host": "off.localhost", "upstreams": [exact.addr().to_string()], "enabled": false,
    });
    system.api.create(&disabled).await;

    let nginx = Nginx::start(system.redis.addr(), &socket).await;
    let mut apps = [nginx.ask("app.localhost").await, nginx.ask("app.localhost").await];
    apps.sort();
    let by = |app: &str| (200, Some(app.to_owned()));
    assert_eq!(apps, [by("exact"), by("second")]);
    for name in ["x.wild.localhost", "wild.localhost", "y.wild.localhost", "X.WILD.localhost"] {
        assert_eq!(nginx.ask(name).await, by("wild"), "{name}");
    }
    assert_eq!(nginx.ask("api.a.b.localhost").await, by("second"));
    for name in ["nobody.localhost", "x.y.wild.localhost", "off.localhost"] {
        assert_eq!(nginx.ask(name).await, (406, None), "{name}");
    }

    // An edit by hand is as good as one by the API.
    let port = exact.addr().port().to_string();
    let edit = ["HSET", "proxy_Host_*.wild.localhost", "targetPort", &port];
    system.redis.command(&edit).await;
    until("the edit is seen", SOON, async || {
        (nginx.ask("x.wild.localhost").await == by("exact")).then_some(())
    })
    .await;
    // The truth is the store's: a change needs nothing else.
    system.api.delete("/api/host/*.wild.localhost?wait=applied").await;
    assert_eq!(nginx.ask("x.wild.localhost").await, (406, None));
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}
