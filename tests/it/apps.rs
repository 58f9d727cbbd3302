//! Apps as people write them, on a laptop and for its own address, behind a public name with HTTPS.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use testkit::client::{self, Connection, Front};
use testkit::{Curl, Process, System, node, shared, stands, until, within};

const NAME: &str = "app.test";

/// Starts an app that prints its port, and routes the name to it.
async fn start(system: &System, command: Command) -> Process {
    let app = Process::spawn("app", command, system.dir.path());
    let port = until("the app prints its port", Duration::from_secs(30), async || {
        app.stdout().lines().next()?.parse::<u16>().ok()
    })
    .await;
    let record = json!({ "host": NAME, "upstreams": [format!("127.0.0.1:{port}")] });
    system.api.create(&record).await;
    app
}

fn python() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/app.py");
    let mut command = Command::new("python3");
    command.arg(script);
    command
}

fn url(front: &Front, path: &str) -> String {
    format!("https://{NAME}:{}{path}", front.https.port())
}

/// Whoever logs in is sent on by the app's own address, arrives at the public one and stays logged in.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_express_keeps_to_the_public_name() {
    let _turn = shared().await;
    let system = System::start().await;
    let _app = start(&system, node("express.js")).await;
    let front = system.proxies[0].front();
    let jar = system.dir.path().join("cookies");
    let jar = jar.to_str().unwrap();
    let curl = |options: &[&str]| Curl::new(front).with(options);

    let first = curl(&[]).get(&url(front, "/")).await;
    assert_eq!(first.status, 302);
    assert_eq!(first.headers["location"], url(front, "/login"));

    let login = curl(&["--data", "user=ann", "--cookie-jar", jar]).get(&url(front, "/login")).await;
    assert_eq!(login.status, 302);
    assert_eq!(login.headers["location"], url(front, "/account?new=1"));
    let cookies = login.headers.get_all("set-cookie").iter();
    let cookies: Vec<_> = cookies.map(|it| it.to_str().unwrap()).collect();
    let session = cookies.iter().find(|it| it.starts_with("connect.sid=")).unwrap();
    assert!(session.contains("; Secure") && session.contains("; HttpOnly"), "{session}");
    let theme = cookies.iter().find(|it| it.starts_with("theme=")).unwrap();
    assert!(!theme.to_lowercase().contains("domain"), "{theme}");

    for version in ["--http1.1", "--http2"] {
        let me = curl(&[version, "--cookie", jar]).get(&url(front, "/me")).await;
        let me: Value = serde_json::from_slice(&me.body).unwrap();
        assert_eq!(me["user"], "ann", "{version}: {me}");
        assert_eq!((&me["secure"], &me["protocol"]), (&json!(true), &json!("https")));
        assert_eq!((&me["ip"], &me["ips"]), (&json!("127.0.0.1"), &json!(["127.0.0.1"])));
        assert_eq!(me["host"], format!("{NAME}:{}", front.https.port()));
        assert!(me["cookies"].as_str().unwrap().contains("theme=dark"), "{me}");
    }
    // What a stranger says of where he comes from is not passed on.
    let forged = ["--header", "X-Forwarded-For: 6.6.6.6", "--header", "X-Forwarded-Proto: http"];
    let me = curl(&forged).get(&url(front, "/me")).await;
    let me: Value = serde_json::from_slice(&me.body).unwrap();
    assert_eq!((&me["ip"], &me["secure"]), (&json!("127.0.0.1"), &json!(true)), "{me}");
}

/// The answer to a request, for as long as its body is read.
async fn ask(
    connection: &mut Connection,
    method: Method,
    path: &str,
    last: Option<&str>,
) -> Incoming {
    let mut request = Request::builder().method(method).uri(format!("https://{NAME}{path}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    connection.ready().await.unwrap();
    let answer = connection.send(request.body(client::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

/// The next piece of a stream of events.
async fn event(body: &mut Incoming) -> Bytes {
    let frame = within("an event", Duration::from_secs(20), body.frame()).await;
    frame.unwrap().unwrap().into_data().unwrap()
}

/// Each event is asked for by somebody who has seen the one before: if one were held back anywhere, none would follow.
#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one() {
    let _turn = shared().await;
    let system = System::start().await;
    let _app = start(&system, node("express.js")).await;
    let front = system.proxies[0].front();

    for h2 in [false, true] {
        let connect = async || match h2 {
            true => client::h2(front, NAME).await.unwrap(),
            false => client::h1(front, NAME).await.unwrap(),
        };
        let (mut listener, mut asker) = (connect().await, connect().await);
        let mut events = ask(&mut listener, Method::GET, "/events", None).await;
        for at in 1..=20 {
            let wanted = format!("id: {at}\ndata: event {at}\n\n");
            assert_eq!(event(&mut events).await, wanted, "h2: {h2}");
            ask(&mut asker, Method::POST, "/events/next", None).await.collect().await.unwrap();
        }
        assert!(event(&mut events).await.starts_with(b"id: 21\n"));
        // The listener goes away, which the app hears of, and comes back for what it has not seen.
        drop((events, listener));
        until("the app hears that nobody listens", Duration::from_secs(20), async || {
            let mut asker = connect().await;
            let told = ask(&mut asker, Method::POST, "/events/next", None).await;
            let told: Value =
                serde_json::from_slice(&told.collect().await.unwrap().to_bytes()).unwrap();
            (told["listeners"] == 0).then_some(())
        })
        .await;
        let mut listener = connect().await;
        let mut events = ask(&mut listener, Method::GET, "/events", Some("21")).await;
        assert_eq!(event(&mut events).await, "id: 22\ndata: event 22\n\n");
    }
}

/// An app whose server is of the simplest kind: HTTP/1.0, and an answer ends with its connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_python_app_redirects_and_streams() {
    let _turn = shared().await;
    let system = System::start().await;
    let _app = start(&system, python()).await;
    let front = system.proxies[0].front();
    let curl = |options: &[&str]| Curl::new(front).with(options);

    let moved = curl(&[]).get(&url(front, "/old")).await;
    assert_eq!(
        (moved.status, &moved.headers["location"]),
        (301, &url(front, "/new?from=old").parse().unwrap())
    );

    let told = curl(&[]).get(&url(front, "/some%20path?x=1")).await;
    let told = String::from_utf8(told.body).unwrap();
    let host = format!("HOST={NAME}:{}", front.https.port());
    for line in [&*host, "X_FORWARDED_PROTO=https", "X_FORWARDED_FOR=127.0.0.1"] {
        assert!(told.lines().any(|it| it == line), "{told}");
    }

    for version in ["--http1.1", "--http2"] {
        let pieces = 400;
        let download = curl(&[version]).get(&url(front, &format!("/download/{pieces}"))).await;
        assert_eq!(download.body.len(), pieces << 16, "{version}");
        assert!(download.body.chunks(256).all(|chunk| chunk.iter().copied().eq(0..=255)));
    }
    let upload = system.dir.path().join("upload");
    std::fs::write(&upload, vec![7; 10 << 20]).unwrap();
    let data = format!("@{}", upload.display());
    let uploaded = curl(&["--data-binary", &data]).get(&url(front, "/upload")).await;
    assert_eq!(uploaded.body, (10 << 20).to_string().as_bytes());
}

/// A single-page app: its files with their types, and its page for whatever it routes itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_page_app_is_served_from_a_directory() {
    let _turn = shared().await;
    let files = tempfile::tempdir().unwrap();
    let root = files.path().join("shop");
    std::fs::create_dir_all(root.join("assets")).unwrap();
    std::fs::write(root.join("index.html"), "<!doctype html><title>shop</title>").unwrap();
    std::fs::write(root.join("assets/app-3f2a.js"), "console.log('shop')").unwrap();
    let roots = files.path().to_str().unwrap();
    let system = System::builder().set("STATIC_ROOTS", roots).start().await;
    let record = json!({
        "host": NAME,
        "static": { "root": root, "fallback": "index.html", "immutable": ["assets"] },
    });
    system.api.create(&record).await;
    let front = system.proxies[0].front();
    let navigates = Curl::new(front).with(&["--header", "Accept: text/html,*/*;q=0.8"]);

    let page = navigates.get(&url(front, "/")).await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    for path in ["/cart", "/orders/17?tab=items", "/index.html"] {
        let there = navigates.get(&url(front, path)).await;
        assert_eq!((there.status, &there.body), (200, &page.body), "{path}");
    }
    let script = Curl::new(front).get(&url(front, "/assets/app-3f2a.js")).await;
    assert_eq!((script.status, &script.body[..]), (200, &b"console.log('shop')"[..]));
    assert!(script.headers["content-type"].to_str().unwrap().contains("javascript"));
    assert!(script.headers["cache-control"].to_str().unwrap().contains("immutable"));
    // A script that is gone is not the page: the browser would try to run it.
    let gone = Curl::new(front).with(&["--header", "Accept: */*"]);
    assert_eq!(gone.get(&url(front, "/assets/app-0000.js")).await.status, 404);
}

/// A browser that trusts the local authority logs in to the Express app, is sent on and stays logged in.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in() {
    if !stands("chromium") || !stands("certutil") {
        println!("SKIPPED: chromium or certutil (libnss3-tools) is not installed");
        return;
    }
    let _turn = shared().await;
    let system = System::start().await;
    let _app = start(&system, node("express.js")).await;
    let front = system.proxies[0].front();
    let home = system.dir.path().join("home");
    trust(&home, &front.ca_file).await;

    let mut browser = node("browser.js");
    browser.arg("/usr/bin/chromium").arg(NAME).arg(front.https.port().to_string());
    browser.env("HOME", &home).stdin(Stdio::null());
    let browser = tokio::process::Command::from(browser).output();
    let output = within("the browser", Duration::from_secs(240), browser).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");

    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["asked"], url(front, "/login"), "{told}");
    assert_eq!(told["hops"], json!([url(front, "/")]));
    assert_eq!(told["protocol"], "h2");
    assert_eq!(told["landed"], url(front, "/account?new=1"));
    assert_eq!(told["user"], "ann");
    assert_eq!(told["again"], url(front, "/account"));
    let cookie = |name: &str, safe: bool| json!({ "name": name, "domain": NAME, "secure": safe, "httpOnly": safe });
    assert_eq!(told["cookies"], json!([cookie("connect.sid", true), cookie("theme", false)]));
    assert_eq!(told["events"], json!(["1 event 1", "2 event 2", "3 event 3"]));
}

/// Puts an authority into the certificate database of a home directory, where Chromium looks.
async fn trust(home: &Path, ca_file: &Path) {
    let database = home.join(".pki/nssdb");
    std::fs::create_dir_all(&database).unwrap();
    let database = format!("sql:{}", database.display());
    let ca_file = ca_file.to_str().unwrap();
    for arguments in [
        &["-N", "--empty-password"][..],
        &["-A", "-t", "C,,", "-n", "local authority", "-i", ca_file],
    ] {
        let mut certutil = tokio::process::Command::new("certutil");
        certutil.args(["-d", &database]).args(arguments).stdin(Stdio::null());
        let output = certutil.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
