//! What nobody may read: after everything that touches them, no credential and no private key stands in the store, in a log at
//! its most talkative, in a file of the data plane or in an answer of the API.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::dns_api::{CREDENTIAL, Dialect, DnsApi, Fault};
use testkit::{Api, App, System, shared};

use crate::authority::{Authority, create, served};

const PASSWORD: &str = "canary-password-8c11";

/// A text or bytes that must stand nowhere, and what it is.
struct Canary(String, Vec<u8>);

/// The forms in which a secret could get out.
fn canaries(authority: &Authority, system: &System, uploaded: &rcgen::KeyPair) -> Vec<Canary> {
    let der = uploaded.serialize_der();
    let token = system.api.token();
    let mut all = vec![
        Canary("a private key, PEM".into(), b"PRIVATE KEY".to_vec()),
        Canary("a private key, DER".into(), der.clone()),
        // The scalar of a P-256 key in PKCS #8 (RFC 5915): 32 bytes after a fixed head.
        Canary("the secret number of a key".into(), der[36..68].to_vec()),
        // The head of every P-256 key in PKCS #8, in base64; the same bytes raw.
        Canary("any P-256 key, base64".into(), STANDARD.encode(&der[..33]).into_bytes()),
        Canary("any P-256 key, DER".into(), der[..36].to_vec()),
    ];
    for (what, secret) in [
        ("a provider's token", CREDENTIAL),
        ("a TSIG secret", authority.key.secret.as_str()),
        ("a user's password", PASSWORD),
        ("a session's token", token),
    ] {
        all.push(Canary(what.into(), secret.as_bytes().to_vec()));
        // As it stands in base64 at the beginning of a text, whatever follows.
        let whole = secret.len() / 3 * 3;
        let encoded = STANDARD.encode(&secret.as_bytes()[..whole]);
        all.push(Canary(format!("{what}, base64"), encoded.into_bytes()));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stand_nowhere() {
    let _turn = shared().await;
    let authority = Authority::start(|_| {}).await;
    let cloud = DnsApi::start(Dialect::Cloudflare, ["cloud.test"]);
    let (mut system, app) = {
        let settings = [("LOG", "trace")];
        (authority.system_with(1, &settings, |it| it.set("LOG", "trace")).await, App::start("app"))
    };
    let uploaded = rcgen::KeyPair::generate().unwrap();
    touch_all(&authority, &system, &cloud, &app, &uploaded).await;

    let canaries = canaries(&authority, &system, &uploaded);
    let (mut places, mut found) = (0, Vec::new());
    let mut search = |place: &str, bytes: &[u8]| {
        places += 1;
        for Canary(what, canary) in &canaries {
            if let Some(at) = find(bytes, canary) {
                let around = &bytes[at.saturating_sub(120)..(at + 40).min(bytes.len())];
                found.push(format!("{what} in {place}: …{}…", around.escape_ascii()));
            }
        }
    };
    for (path, body) in answers(&system.api).await {
        search(&format!("GET {path}"), &body);
    }
    search("the store", &dump(&mut system).await);
    // Programs flush what they write when they end.
    system.proxies[0].process.terminate();
    system.proxies[0].process.exit(std::time::Duration::from_secs(20)).await;
    system.api_process.terminate();
    system.api_process.exit(std::time::Duration::from_secs(20)).await;
    for process in [&system.api_process, &system.proxies[0].process] {
        let (out, err) = (process.stdout(), process.stderr());
        assert!(err.contains("DEBUG"), "it logs more than it does by default");
        search("a log", out.as_bytes());
        search("a log", err.as_bytes());
    }
    for file in files(system.dir.path()) {
        search(&file.display().to_string(), &std::fs::read(&file).unwrap_or_default());
    }
    println!("{places} places searched");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Uses every secret there is: logs in, issues by HTTP and by DNS, uploads, and has providers fail.
async fn touch_all(
    authority: &Authority,
    system: &System,
    cloud: &DnsApi,
    app: &App,
    uploaded: &rcgen::KeyPair,
) {
    let api = &system.api;
    let user = json!({"username": "operator", "password": PASSWORD, "role": "manager"});
    api.post("/api/user", &user).await.expect(201);
    Api::login(system.api_addr, "operator", PASSWORD).await;
    let wrong = json!({"username": "operator", "password": format!("{PASSWORD}x")});
    api.post("/api/auth/login", &wrong).await.expect(401);

    authority.provide(api).await;
    let provider = json!({"kind": "cloudflare", "settings": cloud.settings()});
    let made = api.post("/api/dns", &provider).await.expect(201);
    let id = made["id"].as_str().unwrap();
    for fault in [Fault::ServerError, Fault::Garbage, Fault::RateLimit(Some(1)), Fault::Close] {
        cloud.inject([fault]);
        api.post(&format!("/api/dns/{id}/refresh"), &json!({})).await;
    }
    // One that is not taken.
    let mut refused = provider;
    refused["settings"]["api_token"] = json!(format!("{CREDENTIAL}-wrong"));
    assert!(api.post("/api/dns", &refused).await.status.is_client_error());

    create(api, "by-http.gw.test", app).await;
    create(api, "*.by-dns.gw.test", app).await;
    api.create(&json!({"host": "inside.test", "upstreams": [app.addr().to_string()]})).await;
    let own = json!({
        "host": "own.gw.test", "certificate": "custom", "upstreams": [app.addr().to_string()],
    });
    api.create(&own).await;
    let params = rcgen::CertificateParams::new(vec!["own.gw.test".to_owned()]).unwrap();
    let chain = params.self_signed(uploaded).unwrap().pem();
    let upload = json!({"chain": chain, "key": uploaded.serialize_pem()});
    let answer = api.put("/api/cert/own.gw.test", &upload).await;
    assert!(answer.status.is_success(), "{}", answer.json());
    served(authority, system, "by-http.gw.test").await;
    served(authority, system, "any.by-dns.gw.test").await;
}

/// Every answer that can be read, but the one that is there for taking a key elsewhere.
async fn answers(api: &Api) -> Vec<(String, Vec<u8>)> {
    let spec = api.get("/api/openapi.json").await.json();
    let mut paths = vec!["/metrics".to_owned()];
    for (path, methods) in spec["paths"].as_object().unwrap() {
        // The description of the API says what a key looks like.
        let told = ["/api/cert/{name}/export", "/api/openapi.json"].contains(&path.as_str());
        if methods["get"].is_null() || told {
            continue;
        }
        let Some((before, after)) = path.split_once('{') else {
            paths.push(path.clone());
            continue;
        };
        let (_, after) = after.split_once('}').unwrap();
        for value in values(api, before).await {
            paths.push(format!("{before}{value}{after}"));
        }
    }
    let mut all = Vec::new();
    for path in paths {
        let body = api.get(&path).await.body.to_vec();
        all.push((path, body));
    }
    assert!(all.len() > 40, "{} answers", all.len());
    all
}

/// What can stand behind the beginning of a path.
async fn values(api: &Api, before: &str) -> Vec<String> {
    let (list, key) = match before {
        "/api/cert/" => ("/api/cert", "name"),
        "/api/dns/" => ("/api/dns", "id"),
        "/api/history/" => ("/api/history", "n"),
        "/api/host/" | "/api/host/lookup/" => ("/api/host", "host"),
        "/api/user/" => ("/api/user", "username"),
        other => panic!("a parameter behind {other} that this test does not know"),
    };
    let results = api.get(list).await.json();
    let text = |one: &Value| match &one[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let values: Vec<_> = results["results"].as_array().unwrap().iter().map(text).collect();
    assert!(!values.is_empty(), "{list} lists nothing: {results}");
    values
}

/// All that Redis holds, as it stands on its disk.
async fn dump(system: &mut System) -> Vec<u8> {
    let redis = &system.redis;
    redis.command(&["CONFIG", "SET", "rdbcompression", "no"]).await;
    assert_eq!(redis.command(&["SAVE"]).await, "+OK\r\n");
    let answer = redis.command(&["CONFIG", "GET", "dir"]).await;
    let dir = answer.lines().last().unwrap().to_owned();
    let dump = std::fs::read(Path::new(&dir).join("dump.rdb")).unwrap();
    assert!(find(&dump, b"by-http.gw.test").is_some(), "the dump is readable");
    dump
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.is_file() {
            all.push(path);
        }
    }
    all
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
