//! What is told of a request is what becomes of it: by the control plane, by the data plane, and when it is really made.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use testkit::client::{self, Connection};
use testkit::{App, Random, System, seed, shared};

use crate::random_rules::{Parts, record, set};

const ROUNDS: usize = 25;
const REQUESTS: usize = 80;

const PATTERNS: [&str; 4] =
    ["app.localhost", "*.app.localhost", "www.app.localhost", "**.localhost"];
const NAMES: [&str; 6] = [
    "app.localhost",
    "www.app.localhost",
    "x.app.localhost",
    "y.x.app.localhost",
    "APP.localhost",
    "nobody.example",
];
const PATHS: [&str; 18] = [
    "/",
    "/api",
    "/api/",
    "/api/v2/users",
    "/api/v3",
    "/apix",
    "//api//v2/",
    "/%61pi/x",
    "/a:b",
    "/a:b/c",
    "/files",
    "/files/index.html",
    "/abc/d/e",
    "/api/../x",
    "/x/%2e%2e/y",
    "/x/..;/y",
    "/x%5cy",
    "/index.html",
];
const CLIENTS: [&str; 5] = ["192.0.2.7", "192.0.2.8", "10.1.2.3", "2001:db8::1", "203.0.113.9"];

/// A request by chance, as it is asked about and as it is made.
#[derive(Debug)]
struct Asked {
    method: &'static str,
    url: String,
    client: &'static str,
    authorization: Option<&'static str>,
}

/// Two thousand requests over hosts with rules by chance. What `GET /api/explain` and `/debug/explain` tell is the same, and
/// so does the request come out.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_what_becomes_of_it() {
    let _turn = shared().await;
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("index.html"), "the start page").unwrap();
    let root = files.path().to_str().unwrap();
    // Clients and their schemes are told by a trusted proxy, which is this test.
    let system = System::builder()
        .set("STATIC_ROOTS", root)
        .set("TRUSTED_PROXIES", "127.0.0.0/8")
        .set("HTTPS_PUBLIC_PORT", "443");
    let system = system.start().await;
    let apps = [App::start("0"), App::start("1"), App::start("2")];
    let upstreams = apps.each_ref().map(App::addr);
    let parts = Parts { upstreams: &upstreams, root: Path::new(root) };
    let mut random = Random::new(seed());
    let mut world =
        World { system: &system, upstreams: &upstreams, connection: None, told: [0; 4] };
    for _ in 0..ROUNDS {
        for pattern in PATTERNS {
            if random.once_in(2) {
                set(&system, &record(&mut random, &parts, pattern)).await;
            }
        }
        for _ in 0..REQUESTS {
            world.compare(&asked(&mut random)).await;
        }
    }
    let [answered, passed_on, filed, open] = world.told;
    println!(
        "{answered} answered by the gateway, {passed_on} passed on, {filed} to a directory, {open} open"
    );
    assert!(answered.min(passed_on).min(filed) > 0, "a mixed lot");
}

fn asked(random: &mut Random) -> Asked {
    let scheme = random.one(&["http", "https"]);
    let port = random.one(&["", "", ":8080"]);
    let query = random.one(&["", "", "?a=b&c=%2F", "?"]);
    Asked {
        method: random.one::<&str>(&["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE"]),
        url: format!("{scheme}://{}{port}{}{query}", random.one(&NAMES), random.one(&PATHS)),
        client: random.one::<&str>(&CLIENTS),
        // The right password, a wrong one, and what is none.
        authorization: match random.below(12) {
            0 => Some("Basic YW5uOmNvcnJlY3QgaG9yc2U="),
            1 => Some("Basic YW5uOndyb25nIGhvcnNl"),
            2 => Some("Bearer x"),
            _ => None,
        },
    }
}

struct World<'a> {
    system: &'a System,
    upstreams: &'a [SocketAddr],
    connection: Option<Connection>,
    /// How many were answered by the gateway, passed on, sent to a directory, and depended on a password.
    told: [usize; 4],
}

impl World<'_> {
    async fn compare(&mut self, asked: &Asked) {
        let query = asked.query();
        let by_control = self.system.api.get(&format!("/api/explain?{query}")).await.expect(200);
        let (status, told) = self.system.proxies[0].admin(&format!("/debug/explain?{query}")).await;
        assert_eq!(status, 200, "{told}");
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(comparable(&told, &told), comparable(&by_control, &told), "{asked:?}");
        let answer = self.make(asked).await;
        self.check(asked, &told, &answer);
    }

    async fn make(&mut self, asked: &Asked) -> Response<Bytes> {
        let (scheme, _) = asked.url.split_once("://").unwrap();
        let mut request = Request::builder()
            .method(asked.method)
            .uri(&asked.url)
            .header("x-forwarded-for", asked.client)
            .header("x-forwarded-proto", scheme);
        if let Some(authorization) = asked.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(client::empty()).unwrap();
        // A refused request may cost its connection.
        let mut open = self.connection.take();
        if let Some(connection) = &mut open
            && connection.ready().await.is_err()
        {
            open = None;
        }
        let mut connection = match open {
            Some(open) => open,
            None => client::plain(self.system.proxies[0].http).await.unwrap(),
        };
        let answer = connection.fetch(request).await.unwrap();
        self.connection = Some(connection);
        answer
    }

    /// Whether the answer is what was told.
    fn check(&mut self, asked: &Asked, told: &Value, answer: &Response<Bytes>) {
        let field = |name: &str| answer.headers().get(name).map(|it| it.to_str().unwrap());
        let by_app = field("x-app");
        let all = || format!("{asked:?}: {told:#} but {answer:?}");
        if let Some(status) = told["status"].as_u64() {
            self.told[0] += 1;
            assert_eq!(u64::from(answer.status().as_u16()), status, "{}", all());
            assert_eq!((field("location"), by_app), (told["location"].as_str(), None), "{}", all());
        } else if let Some([_, ..]) = told["upstreams"].as_array().map(Vec::as_slice) {
            self.told[1] += 1;
            assert_eq!(answer.status(), 200, "{}", all());
            let app: usize = by_app.unwrap_or_else(|| panic!("{}", all())).parse().unwrap();
            let upstream = Value::from(self.upstreams[app].to_string());
            assert!(told["upstreams"].as_array().unwrap().contains(&upstream), "{}", all());
            let query = asked.url.split_once('?').map_or(String::new(), |(_, it)| format!("?{it}"));
            let target = format!("{}{query}", told["path"].as_str().unwrap());
            let seen: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            assert!(asked.method == "HEAD" || seen["uri"] == target.as_str(), "{}: {seen}", all());
        } else if told["directory"].is_string() {
            self.told[2] += 1;
            let status = answer.status().as_u16();
            assert!([200, 307, 404, 405].contains(&status) && by_app.is_none(), "{}", all());
        } else {
            self.told[3] += 1;
            assert!(told["outcome"].as_str().unwrap().contains("password"), "{}", all());
        }
    }
}

impl Asked {
    fn query(&self) -> String {
        let mut query = format!("method={}&client={}&url=", self.method, self.client);
        escape(&mut query, &self.url);
        if let Some(authorization) = self.authorization {
            query.push_str("&header=");
            escape(&mut query, &format!("authorization: {authorization}"));
        }
        query
    }
}

fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            _ if byte.is_ascii_alphanumeric() => out.push(byte.into()),
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
    }
}

/// What both must tell alike. The proxy knows who has asked how often and which passwords are right: how many requests are
/// left is its own, and from the gate on at which that made a difference, so is the rest.
fn comparable(explained: &Value, by_proxy: &Value) -> Value {
    let mut explained = explained.clone();
    let differs = |step: &Value| {
        step["gate"] == "credentials" || step["gate"] == "rate limit" && step["passed"] == false
    };
    let own = by_proxy["steps"].as_array().unwrap().iter().position(differs);
    let steps = explained["steps"].as_array_mut().unwrap();
    steps.truncate(own.unwrap_or(steps.len()));
    for step in steps.iter_mut().filter(|step| step["gate"] == "rate limit") {
        step["why"] = Value::Null;
    }
    match own {
        Some(_) => explained["steps"].clone(),
        None => explained,
    }
}
