//! Strangers ask for names that nobody has, by the hundred thousand: it costs no memory that stays, no write to the
//! store and no known host its speed; in sync, and while the store can't be read and the lookup socket is asked instead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use serde_json::json;
use testkit::load::{Load, Plan, Report};
use testkit::{App, Curl, Proxy, System, alone, client, shared, soak, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const NAMES: usize = 100_000;
/// How many of them are asked for by SNI, unless there is time: at the rate below all of them take 50 s, twice.
const QUICK_NAMES: usize = NAMES / 5;
/// Connections that ask at once.
const STRANGERS: usize = 64;
/// How many names are asked for in a second by `Host`, and how many handshakes are begun. Less than the machine can do: what
/// is judged is what strange names cost the known, and not how a busy machine shares its cores.
const BY_HOST: u32 = 20_000;
const BY_SNI: u32 = 2_000;
/// What may stay in memory: buffers of the connections, what the allocator keeps.
const GROWTH: u64 = 64 << 20;
/// Added to four times the calm percentile: strangers and load share two cores with the proxy.
const FLOOR: Duration = Duration::from_millis(100);
/// How long the known host is asked for before the flood.
const CALM: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(20);
/// Four times the two seconds after which an unknown name is asked for again.
const SOON: Duration = Duration::from_secs(8);
/// The account in Redis that only the proxy uses, so that only the proxy can be shut out.
const USER: &str = "gwproxy";

/// A control plane, and a data plane that can be kept from the store.
struct World {
    system: System,
    proxy: Proxy,
    app: App,
}

impl World {
    async fn start() -> Self {
        let system = System::builder().proxies(0).start().await;
        let app = App::start("app");
        let acl = ["ACL", "SETUSER", USER, "on", ">word", "~*", "&*", "+@all"];
        system.redis.command(&acl).await;
        let store = format!("redis://{USER}:word@{}", system.redis.addr());
        let ca_file = system.dir.path().join("ca.pem");
        let settings = [("STORE", store.as_str()), ("ACCESS_LOG", "off")];
        let proxy = Proxy::alone(system.dir.path(), &system.redis, &ca_file, &settings).await;
        system.api.route("known.localhost", app.addr()).await;
        Self { system, proxy, app }
    }

    async fn may_read(&self, may: bool) {
        let word = if may { "on" } else { "off" };
        self.system.redis.command(&["ACL", "SETUSER", USER, word]).await;
        self.system.redis.command(&["CLIENT", "KILL", "USER", USER]).await;
        let wanted = format!("\ngatewright_table_stale {}\n", u8::from(!may));
        until(&wanted, PATIENCE, async || {
            self.proxy.admin("/metrics").await.1.contains(&wanted).then_some(())
        })
        .await;
    }

    /// How often commits and locks wrote, and how many keys there are. Leases are renewed whoever asks for what.
    async fn writes(&self) -> (u64, u64) {
        let stats = self.system.redis.command(&["INFO", "commandstats"]).await;
        let calls = |name: &str| {
            let line = format!("cmdstat_{name}:calls=");
            let rest = stats.split(&line).nth(1).unwrap_or("0");
            rest.split(',').next().unwrap().parse::<u64>().unwrap()
        };
        let size = self.system.redis.command(&["DBSIZE"]).await;
        let size = size.trim_start_matches(':').trim().parse().unwrap();
        (["hincrby", "publish", "set", "zadd"].map(calls).iter().sum(), size)
    }

    fn load(&self) -> Load {
        let plan = Plan {
            label: "known",
            rate: 200,
            connections: 4,
            host: "known.localhost".to_owned(),
            path: "/delay/0".to_owned(),
            per_connection: 0,
        };
        Load::h1(self.proxy.http, &plan)
    }

    /// Both floods, with what they may not cost.
    async fn endure(&self, state: &str, calm: &Report) {
        let label = |number: usize| format!("{state}{number:06}");
        let (memory, before) = (self.proxy.process.memory(), self.writes().await);
        let load = self.load();
        let began = Instant::now();
        by_host(self.proxy.http, label).await;
        let hosts = began.elapsed();
        let names = if soak() { NAMES } else { QUICK_NAMES };
        by_sni(&self.proxy, names, label).await;
        let took = began.elapsed();
        let report = load.finish().await;
        let grown = self.proxy.process.memory().saturating_sub(memory);
        println!(
            "{state}: {NAMES} names by Host in {hosts:.1?}, {names} by SNI in {:.1?}; {} KiB more; calm {calm}; \
             then {report}",
            took - hosts,
            grown / 1024
        );
        let after = self.writes().await;
        assert_eq!(before.0, after.0, "{state}: something was written");
        assert!(after.1 <= before.1, "{state}: {} keys became {}", before.1, after.1);
        assert!(grown < GROWTH, "{state}: {grown} bytes more");
        let (limit, p99) = (calm.percentile(0.99) * 4 + FLOOR, report.percentile(0.99));
        assert!(p99 < limit, "{state}: p99 {p99:?}, {:?} when calm", calm.percentile(0.99));
        assert!(report.records.iter().all(|it| it.ending == testkit::load::Ending::Whole(200)));
    }
}

/// Asks for each name once, over connections that stay.
async fn by_host(proxy: SocketAddr, label: impl Fn(usize) -> String) {
    let mut strangers = JoinSet::new();
    for stranger in 0..STRANGERS {
        let labels: Vec<_> = (stranger..NAMES).step_by(STRANGERS).map(&label).collect();
        strangers.spawn(async move {
            let mut connection = client::plain(proxy).await.unwrap();
            let mut pace = pace(BY_HOST);
            for label in labels {
                pace.tick().await;
                let request = Request::get(format!("http://{label}.flood.test/"));
                let request = request.body(client::empty()).unwrap();
                assert_eq!(connection.fetch(request).await.unwrap().status(), 404);
            }
        });
    }
    while let Some(ended) = strangers.join_next().await {
        ended.unwrap();
    }
}

/// One stranger's share of a rate.
fn pace(rate: u32) -> tokio::time::Interval {
    let strangers = u32::try_from(STRANGERS).expect("a few");
    tokio::time::interval(Duration::from_secs(1) * strangers / rate)
}

/// Begins a handshake for each name and leaves at the first byte of the proxy's answer. The greeting is made once, since
/// making keys for each would cost more than answering it.
async fn by_sni(proxy: &Proxy, names: usize, label: impl Fn(usize) -> String) {
    let name = |number: usize| format!("{}.flood.test", label(number));
    let config = Arc::new(client::tls_config(&proxy.ca_pem, &["http/1.1"]));
    let first = ServerName::try_from(name(0)).unwrap();
    let mut greeting = Vec::new();
    ClientConnection::new(config, first).unwrap().write_tls(&mut greeting).unwrap();
    let asked = name(0);
    let at = greeting.windows(asked.len()).position(|it| it == asked.as_bytes()).unwrap();
    let mut strangers = JoinSet::new();
    for stranger in 0..STRANGERS {
        let names: Vec<_> = (stranger..names).step_by(STRANGERS).map(name).collect();
        let (to, mut greeting) = (proxy.https, greeting.clone());
        strangers.spawn(async move {
            let mut pace = pace(BY_SNI);
            for name in names {
                pace.tick().await;
                greeting[at..at + name.len()].copy_from_slice(name.as_bytes());
                let mut stream = TcpStream::connect(to).await.unwrap();
                // No wait for the port to be free again: there are fewer of them than names.
                stream.set_zero_linger().unwrap();
                stream.write_all(&greeting).await.unwrap();
                assert_eq!(stream.read_u8().await.unwrap(), 22, "a handshake record");
            }
        });
    }
    while let Some(ended) = strangers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_names_costs_nothing_that_stays() {
    let _turn = alone().await;
    let world = World::start().await;
    let load = world.load();
    tokio::time::sleep(CALM).await;
    let calm = load.finish().await;

    world.endure("insync", &calm).await;
    world.may_read(false).await;
    world.endure("outofsync", &calm).await;
}

/// A host that came while the proxy could not read the store is served by asking; once it can, by the tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_out_of_sync_asks_the_lookup_socket() {
    let _turn = shared().await;
    let world = World::start().await;
    let curl = Curl::new(&world.proxy).with(&["--insecure"]);
    world.may_read(false).await;
    assert_eq!(curl.get("http://late.localhost/").await.status, 404);
    let host = json!({
        "host": "*.late.localhost", "upstreams": [world.app.addr().to_string()], "force_https": false,
    });
    world.system.api.post("/api/host", &host).await.expect(201);

    for url in ["http://a.late.localhost/", "https://b.late.localhost/"] {
        let answer = curl.get(url).await;
        assert_eq!(answer.status, 200, "{url}");
        assert_eq!(answer.headers["x-app"], "app");
    }
    // What was not there is asked for again before long.
    until("late.localhost is known", SOON, async || {
        (curl.get("http://late.localhost/").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(curl.get("http://nobody.localhost/").await.status, 404);

    world.may_read(true).await;
    until("the tables have it", SOON, async || {
        let (_, table) = world.proxy.admin("/debug/table").await;
        table.contains("\"hosts\":2").then_some(())
    })
    .await;
    assert_eq!(curl.get("http://a.late.localhost/").await.status, 200);
    world.system.api.delete("/api/host/*.late.localhost?wait=applied").await;
    assert_eq!(curl.get("http://a.late.localhost/").await.status, 404, "nothing heard is kept");
}
