//! In one process, each plane's probe answers for both.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use testkit::{Process, TestRedis, alone, binary, client, free_port, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// The proxy of `gatewright up` said that it was ready while the API could not commit.
#[tokio::test(flavor = "multi_thread")]
async fn both_probes_of_up_say_the_same() {
    let _turn = alone().await;
    let dir = tempfile::tempdir().unwrap();
    let mut redis = TestRedis::start().await;
    let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let (admin, api) = (address(), address());
    let mut command = Command::new(binary("gatewright"));
    command
        .arg("up")
        .current_dir(dir.path())
        .env("GATEWRIGHT_STORE", redis.url())
        .env("GATEWRIGHT_STATE_DIR", dir.path().join("state"))
        .env("GATEWRIGHT_HTTP_LISTEN", address().to_string())
        .env("GATEWRIGHT_HTTPS_LISTEN", address().to_string())
        .env("GATEWRIGHT_PROXY_ADMIN_LISTEN", admin.to_string())
        .env("GATEWRIGHT_API_LISTEN", api.to_string());
    let _up = Process::spawn("up", command, dir.path());

    for round in 0..2 {
        for probe in [admin, api] {
            until("ready", PATIENCE, async || (ask(probe).await? == 200).then_some(())).await;
        }
        redis.stop().await;
        for probe in [admin, api] {
            until("not ready", PATIENCE, async || (ask(probe).await? == 503).then_some(())).await;
        }
        if round == 0 {
            redis.start_again().await;
        }
    }
}

async fn ask(address: SocketAddr) -> Option<u16> {
    let mut connection = client::plain(address).await.ok()?;
    let request = http::Request::get(format!("http://{address}/readyz")).body(client::empty());
    Some(connection.fetch(request.ok()?).await.ok()?.status().as_u16())
}
