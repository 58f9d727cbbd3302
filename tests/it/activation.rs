//! Sockets that a service manager opens and hands over (systemd's socket activation).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use testkit::{Process, binary, client, free_port, shared, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Hands standard input over as the first of the sockets, as systemd does: the process keeps its id over `exec`.
const HAND_OVER: &str = r#"exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@""#;

fn handed_over(program: &str, names: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", HAND_OVER, "bash"]).arg(binary(program));
    command.env("LISTEN_FDNAMES", names);
    command
}

/// A client that comes before the program waits in the socket's queue and is answered by it: nothing is lost while a
/// program is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_serves_on_a_socket_it_is_given() {
    let _turn = shared().await;
    let dir = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let early = tokio::net::TcpStream::connect(address).await.unwrap();

    let mut command = handed_over("gatewright", "web");
    let port = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())).to_string();
    let api = port();
    command
        .arg("up")
        .current_dir(dir.path())
        .env("GATEWRIGHT_HTTP_LISTEN", "fd:web")
        .env("GATEWRIGHT_HTTPS_LISTEN", port())
        .env("GATEWRIGHT_PROXY_ADMIN_LISTEN", port())
        .env("GATEWRIGHT_API_LISTEN", &api)
        .env("GATEWRIGHT_WORKERS", "2");
    let _up = Process::spawn_on("up", command, dir.path(), OwnedFd::from(socket));

    for stream in [early, tokio::net::TcpStream::connect(address).await.unwrap()] {
        let mut connection = client::Connection::h1(stream).await.unwrap();
        let request = http::Request::get("http://nobody.test/").body(client::empty()).unwrap();
        let answer = testkit::within("an answer", PATIENCE, connection.fetch(request)).await;
        assert!([404, 503].contains(&answer.unwrap().status().as_u16()));
    }
}

/// The API too takes a socket by its name.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_serves_on_a_socket_it_is_given() {
    let _turn = shared().await;
    let dir = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut command = handed_over("gatewright-api", "api");
    command
        .current_dir(dir.path())
        .env("GATEWRIGHT_STORE", format!("embedded:{}", dir.path().join("data").display()))
        .env("GATEWRIGHT_STATE_DIR", dir.path().join("state"))
        .env("GATEWRIGHT_ALLOW_PLAINTEXT_SECRETS", "true")
        .env("GATEWRIGHT_API_LISTEN", "fd:api");
    let _api = Process::spawn_on("api", command, dir.path(), OwnedFd::from(socket));
    let mut connection = client::plain(address).await.unwrap();
    let request = http::Request::get(format!("http://{address}/livez")).body(client::empty());
    let answer = testkit::within("an answer", PATIENCE, connection.fetch(request.unwrap())).await;
    assert_eq!(answer.unwrap().status(), 200);
}

/// A name that was not handed over is an error that says which ones were.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_was_not_handed_over_is_named() {
    let _turn = shared().await;
    let dir = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = handed_over("gatewright-proxy", "web");
    command
        .current_dir(dir.path())
        .env("GATEWRIGHT_STORE", format!("embedded:{}", dir.path().join("data").display()))
        .env("GATEWRIGHT_STATE_DIR", dir.path().join("state"))
        .env("GATEWRIGHT_HTTP_LISTEN", "fd:wed")
        .env("GATEWRIGHT_HTTPS_LISTEN", "");
    let mut proxy = Process::spawn_on("proxy", command, dir.path(), OwnedFd::from(socket));
    let status = until("it ends", PATIENCE, async || proxy.ended()).await;
    assert_eq!(status.code(), Some(1));
    let said = proxy.stderr();
    assert!(said.contains("fd:wed") && said.contains("but: web"), "{said}");
}
