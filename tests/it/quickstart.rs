//! `gatewright up`, as the README begins: an ordinary user, an empty directory, one command.

use std::time::Duration;

use serde_json::Value;
use testkit::{App, Curl, Up, alone};

/// Wanted: 2 s from start to the first answer. Asserted at four times that, for a busy machine.
const DEADLINE: Duration = Duration::from_secs(8);

/// It is ready in time, tells where it listens and how to log in; the same program then adds a host, and curl gets the
/// app's bytes over HTTPS.
#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_https_with_the_command_line_alone() {
    let _turn = alone().await;
    let up = Up::first_run().await;
    println!("ready after {:?}", up.took);
    assert!(up.took < DEADLINE, "ready after {:?}", up.took);
    let said = up.process.stdout() + &up.process.stderr();
    for port in [up.http.port(), up.https.port(), up.api_addr.port()] {
        assert!(said.contains(&port.to_string()), "the URL with port {port} is printed:\n{said}");
    }

    let app = App::start("app");
    let password = up.printed_password();
    run(&up, &["login", "admin"], &[("GATEWRIGHT_PASSWORD", &password)]);
    run(&up, &["host", "add", "hello.localhost", &app.addr().to_string()], &[]);
    let shown = run(&up, &["host", "list", "--json"], &[]);
    assert_eq!(hosts(&shown), ["hello.localhost"]);
    let found = run(&up, &["lookup", "hello.localhost", "--json"], &[]);
    assert!(found.contains("hello.localhost"), "{found}");
    run(&up, &["status"], &[]);

    let answer = Curl::new(&up).get("https://hello.localhost/hi").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["x-app"], "app");

    run(&up, &["host", "rm", "hello.localhost"], &[]);
    assert_eq!(Curl::new(&up).get("http://hello.localhost/").await.status, 404);
}

/// What was written is there after a restart by `kill -9`, and a second start prints no password.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_survives_kill_9() {
    let _turn = alone().await;
    let mut up = Up::start().await;
    let app = App::start("app");
    up.api.route("kept.localhost", app.addr()).await;

    up.process.kill();
    up.process.exit(Duration::from_secs(5)).await;
    up.restart().await;

    assert_eq!(Curl::new(&up).get("https://kept.localhost/").await.status, 200);
    assert_eq!(up.api.get("/api/host/kept.localhost").await.status, 200, "the session lives too");
}

/// A second `up` in the same directory says who holds it, and touches nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_in_the_same_directory_is_told_so() {
    let _turn = alone().await;
    let up = Up::start().await;
    let listen = ["HTTP", "HTTPS", "PROXY_ADMIN", "API"].map(|it| {
        (format!("GATEWRIGHT_{it}_LISTEN"), format!("127.0.0.1:{}", testkit::free_port()))
    });
    let environment: Vec<_> = listen.iter().map(|(name, value)| (&**name, &**value)).collect();

    let second = up.cli_with(&["up"], &environment);

    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("gatewright-data"), "the directory is named: {said}");
    assert_eq!(up.api.get("/api/user/me").await.status, 200, "the first one goes on");
}

/// Runs the command line; panics with what it said when it fails.
fn run(up: &Up, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = up.cli_with(arguments, environment);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gatewright {arguments:?}: {}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The patterns of a listing in JSON, whether a bare list or a page.
fn hosts(json: &str) -> Vec<String> {
    let listing: Value = serde_json::from_str(json).unwrap();
    let records = listing.as_array().or_else(|| listing["results"].as_array()).expect("a list");
    records.iter().map(|it| it["host"].as_str().unwrap().to_owned()).collect()
}
