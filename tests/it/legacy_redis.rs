//! A Redis filled by the older control plane, served by our data plane alone: its hosts, its certificates, and what it
//! left lying about.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use testkit::{App, Curl, Proxy, TestRedis, shared, until};

/// Four times the second that a change by others may take where something tells of it.
const SOON: Duration = Duration::from_secs(4);
/// The end that the older control plane writes for certificates that its data plane is not to renew.
const NEVER: u64 = 4_120_307_657;

/// Writes what the older control plane writes, in its forms.
struct Fixture {
    redis: TestRedis,
    dir: TempDir,
}

/// A certificate and its key.
struct Pair {
    chain: String,
    key: String,
    file: PathBuf,
}

impl Fixture {
    async fn start() -> Self {
        Self { redis: TestRedis::start().await, dir: tempfile::tempdir().unwrap() }
    }

    /// A record of a collection: an entry in its set, then one write per field, all values text.
    async fn record(&self, collection: &str, id: &str, fields: &[(&str, &str)]) {
        self.redis.command(&["SADD", &format!("proxy_{collection}"), id]).await;
        let key = format!("proxy_{collection}_{id}");
        for (name, value) in fields {
            self.redis.command(&["HSET", &key, name, value]).await;
        }
    }

    /// A host with every field that each has, then its own.
    async fn host(&self, name: &str, to: SocketAddr, own: &[(&str, &str)]) {
        let (ip, port) = (to.ip().to_string(), to.port().to_string());
        let all = [
            ("created_by", "admin"),
            ("created_on", "1751328000000"),
            ("updated_by", "__NONE__"),
            ("updated_on", "1751328000000"),
            ("host", name),
            ("ip", &ip),
            ("targetPort", &port),
            ("targets", "[]"),
            ("forcessl", "false"),
            ("targetssl", "false"),
            ("ratelimit_enabled", "false"),
            ("ratelimit_rate", "10"),
            ("ratelimit_burst", "20"),
            ("respcache_enabled", "false"),
            ("hsts_enabled", "false"),
            ("basicauth_enabled", "false"),
            ("basicauth_realm", "Restricted"),
            ("basicauth_users", "{}"),
            ("sso_enabled", "false"),
            ("sso_allow_users", "[]"),
            ("sso_allow_groups", "[]"),
            ("req_headers", "{}"),
            ("resp_headers", "{}"),
            ("ip_allow", "[]"),
            ("ip_deny", "[]"),
            ("is_cache", "false"),
            ("is_wildcard", "false"),
            ("wildcard_matchAny", "false"),
        ];
        self.record("Host", name, &[&all, own].concat()).await;
    }

    /// A copy that its lookup made of the host behind a wildcard, good for an hour.
    async fn cached(&self, name: &str, parent: &str, to: SocketAddr) {
        self.host(name, to, &[("is_cache", "true"), ("wildcard_parent", parent)]).await;
        self.redis.command(&["EXPIRE", &format!("proxy_Host_{name}"), "3600"]).await;
        self.record("Cached", name, &[("host", name), ("parent", parent)]).await;
    }

    /// A certificate as its data plane stores one that it got over HTTP.
    async fn plain_certificate(&self, name: &str) -> Pair {
        let pair = self.make(&[name]);
        let stored = json!({
            "fullchain_pem": pair.chain, "privkey_pem": pair.key, "cert_pem": pair.chain,
            "expiry": in_days(30),
        });
        self.redis.command(&["SET", &format!("{name}:latest"), &stored.to_string()]).await;
        pair
    }

    /// A certificate as its control plane stores one that it got over DNS: for the base, too.
    async fn wildcard_certificate(&self, name: &str) -> Pair {
        let pair = self.make(&[name, name.trim_start_matches("*.")]);
        let stored = json!({
            "cert_pem": pair.chain, "fullchain_pem": pair.chain, "privkey_pem": pair.key,
            "csr_pem": "-----BEGIN CERTIFICATE REQUEST-----", "expiry": NEVER,
            "real_expiry": in_days(30),
        });
        self.redis.command(&["SET", &format!("{name}:latest"), &stored.to_string()]).await;
        pair
    }

    /// RSA with 2,048 bits and its own authority.
    fn make(&self, names: &[&str]) -> Pair {
        let number = std::fs::read_dir(self.dir.path()).unwrap().count();
        let path = |kind: &str| self.dir.path().join(format!("{number}.{kind}"));
        let (file, key) = (path("pem"), path("key"));
        let names: Vec<_> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"])
            .args(["-subj", "/CN=older", "-addext"])
            .arg(format!("subjectAltName={}", names.join(",")))
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        Pair { chain: read(&file), key: read(&key), file }
    }
}

/// Seconds since the epoch so many days from now.
fn in_days(days: u64) -> u64 {
    let output = Command::new("date").args(["-d", &format!("{days} days"), "+%s"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().parse().unwrap()
}

async fn app_of(proxy: &Proxy, url: &str, authority: Option<&Pair>) -> Result<String, String> {
    let options: Vec<String> = match authority {
        Some(pair) => vec!["--cacert".to_owned(), pair.file.to_str().unwrap().to_owned()],
        None => vec!["--insecure".to_owned()],
    };
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let answer = Curl::new(proxy).with(&options).try_get(url).await?;
    let app = answer.headers.get("x-app").map(|it| it.to_str().unwrap().to_owned());
    app.ok_or_else(|| answer.status.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_of_the_older_control_plane_is_served() {
    let _turn = shared().await;
    let fixture = Fixture::start().await;
    let apps = ["exact", "wild", "child", "copy", "deep"].map(App::start);
    let [exact, wild, child, copy, deep] = apps.each_ref().map(App::addr);

    fixture.host("app.example.test", exact, &[]).await;
    let of_exact = fixture.plain_certificate("app.example.test").await;
    fixture.host("forced.example.test", exact, &[("forcessl", "true")]).await;
    // A wildcard got over DNS that serves any name under it, one child, and copies of it.
    let done = [
        ("is_wildcard", "true"),
        ("wildcard_status", "Done"),
        ("wildcard_issued", "1751328000000"),
        ("wildcard_expires", "1759104000000"),
        ("wildcard_parent", "*.wild.example.test"),
    ];
    let any = [&done[..], &[("wildcard_matchAny", "true")]].concat();
    fixture.host("*.wild.example.test", wild, &any).await;
    let of_wild = fixture.wildcard_certificate("*.wild.example.test").await;
    let parent = [("wildcard_parent", "*.wild.example.test")];
    fixture.host("child.wild.example.test", child, &parent).await;
    fixture.cached("q.wild.example.test", "*.wild.example.test", copy).await;
    fixture.redis.command(&["SADD", "proxy_Host", "gone.wild.example.test"]).await;
    // One that is there for its certificate alone, with a child.
    fixture.host("*.only.example.test", wild, &done[..4]).await;
    let of_only = fixture.wildcard_certificate("*.only.example.test").await;
    let parent = [("wildcard_parent", "*.only.example.test")];
    fixture.host("child.only.example.test", child, &parent).await;
    // A child whose parent was deleted, which leaves the certificate.
    let parent = [("wildcard_parent", "*.orphan.example.test")];
    fixture.host("kid.orphan.example.test", child, &parent).await;
    let of_orphan = fixture.wildcard_certificate("*.orphan.example.test").await;
    // No certificate can be had for this one.
    fixture.host("**.deep.example.test", deep, &[]).await;
    // What nothing can be made of costs nothing else.
    fixture.host("Upper.Example.test", exact, &[]).await;
    fixture.redis.command(&["SET", "forced.example.test:latest", "nonsense"]).await;
    fixture.record("User", "admin", &[("username", "admin"), ("backing", "redis")]).await;

    let settings = [("CERT_KEY", "")];
    let dir = fixture.dir.path();
    let proxy = Proxy::alone(dir, &fixture.redis, &of_exact.file, &settings).await;

    let by = |app: &str| Ok::<_, String>(app.to_owned());
    let status = |status: &str| Err::<String, _>(status.to_owned());
    for (name, expected) in [
        ("app.example.test", by("exact")),
        ("forced.example.test", status("301")),
        ("x.wild.example.test", by("wild")),
        ("wild.example.test", by("wild")),
        ("child.wild.example.test", by("child")),
        // The copy is out of date and the pattern is not.
        ("q.wild.example.test", by("wild")),
        ("gone.wild.example.test", by("wild")),
        ("x.only.example.test", status("404")),
        ("only.example.test", status("404")),
        ("child.only.example.test", by("child")),
        ("kid.orphan.example.test", by("child")),
        ("a.b.deep.example.test", by("deep")),
        ("upper.example.test", status("404")),
    ] {
        assert_eq!(app_of(&proxy, &format!("http://{name}/"), None).await, expected, "{name}");
    }
    for (name, authority, expected) in [
        ("app.example.test", &of_exact, "exact"),
        ("x.wild.example.test", &of_wild, "wild"),
        ("wild.example.test", &of_wild, "wild"),
        ("child.wild.example.test", &of_wild, "child"),
        ("q.wild.example.test", &of_wild, "wild"),
        ("child.only.example.test", &of_only, "child"),
        ("kid.orphan.example.test", &of_orphan, "child"),
    ] {
        let url = format!("https://{name}/");
        assert_eq!(app_of(&proxy, &url, Some(authority)).await, by(expected), "{name}");
    }

    // Its data plane proves a name, and the authority comes to ours. Nothing tells of it.
    let answer = async |url: &str| {
        let answer = Curl::new(&proxy).get(url).await;
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    for (name, token) in [("app.example.test", "to-ken_1"), ("a.b.deep.example.test", "to-ken_2")] {
        let url = format!("http://{name}/.well-known/acme-challenge/{token}");
        assert_eq!(answer(&url.replace(token, "other")).await.0, 200, "the app's");
        let (key, authorisation) = (format!("{name}:challenge:{token}"), format!("{token}.thumb"));
        fixture.redis.command(&["SET", &key, &authorisation]).await;
        assert_eq!(answer(&url).await, (200, authorisation));
    }
    fixture.redis.command(&["SET", "no.example.test:challenge:x", "x.y"]).await;
    assert_eq!(answer("http://no.example.test/.well-known/acme-challenge/x").await.0, 404);

    // It renews a certificate and then writes the host again, which tells.
    let renewed = fixture.wildcard_certificate("*.wild.example.test").await;
    let key = "proxy_Host_*.wild.example.test";
    fixture.redis.command(&["HSET", key, "updated_on", "1751328000001"]).await;
    until("the renewed certificate is served", SOON, async || {
        app_of(&proxy, "https://x.wild.example.test/", Some(&renewed)).await.ok()
    })
    .await;
}
