//! Everything goes wrong, one thing after the other, while requests come at a steady rate.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Api, App, Random, System, TestRedis, alone, seed, soak, until};
use tokio::task::JoinSet;

use crate::outages::{loads, nothing_failed, recovered, settled, table};
use crate::store_guard::{PASSWORD, alarmed, gatewright, log_in};

/// How often each fault comes.
const ROUNDS: usize = 2;
const LONG_ROUNDS: usize = 15;
/// How many changes are tried before each fault.
const CHANGES: usize = 5;
/// How many write at once while the control plane is killed.
const WRITERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kill -9` of Redis, which keeps what it acknowledged, and a start after a while; or of the master, whose place a replica
    /// takes before the dead one comes back.
    RedisKilled,
    /// Redis stands still for a while, its connections open.
    RedisPaused,
    /// The control plane is killed while it commits, and started again.
    ApiKilled,
    /// Redis loses everything; an operator brings a backup back and has it accepted.
    RedisWiped,
}

/// No request for a known host fails, whatever happens; nothing acknowledged is lost but by the wipe; and within the
/// recovery time each table is what the store has. `GATEWRIGHT_TESTS_SEED` repeats a run.
#[tokio::test(flavor = "multi_thread")]
async fn known_hosts_are_served_through_everything() {
    let _turn = alone().await;
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    everything_goes_wrong(TestRedis::setup().arguments(&durable).start().await).await;
}

/// The same with a master and two replicas under sentinels: a master that dies is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn known_hosts_are_served_through_everything_under_sentinels() {
    let _turn = alone().await;
    // Nothing is on a disk: what a dead master had is with the replica that takes its place.
    everything_goes_wrong(TestRedis::setup().password("word").sentinel(2).start().await).await;
}

async fn everything_goes_wrong(redis: TestRedis) {
    let mut random = Random::new(seed());
    let mut world = World::start(System::builder().proxies(2).redis(redis).start().await).await;

    let running = loads(&world.system);
    for _ in 0..if soak() { LONG_ROUNDS } else { ROUNDS } {
        let mut faults =
            vec![Fault::RedisKilled, Fault::RedisPaused, Fault::ApiKilled, Fault::RedisWiped];
        while !faults.is_empty() {
            let fault = faults.swap_remove(random.below(faults.len()));
            let pause = Duration::from_millis(200 + random.below(2500) as u64);
            world.change(&mut random).await;
            let since = world.suffer(fault, pause).await;
            recovered(&format!("{fault:?} for {pause:?}"), &world.system, since).await;
            world.lost_nothing().await;
        }
    }
    nothing_failed(running).await;
}

struct World {
    system: System,
    app: App,
    backup: String,
    acknowledged: BTreeSet<String>,
    changes: usize,
}

impl World {
    async fn start(system: System) -> Self {
        let app = App::start("app");
        for number in 0..12 {
            system.api.route(&format!("h{number}.localhost"), app.addr()).await;
        }
        system.api.route("app.localhost", app.addr()).await;
        settled(&system).await;
        let backup = system.dir.path().join("backup.jsonl").display().to_string();
        let (code, told) = gatewright(&system, &system.api, &["export", "--file", &backup]);
        assert_eq!(code, 0, "{told}");
        Self { system, app, backup, acknowledged: BTreeSet::new(), changes: 0 }
    }

    /// Creates and deletes hosts, and remembers what was acknowledged.
    async fn change(&mut self, random: &mut Random) {
        for _ in 0..CHANGES {
            self.changes += 1;
            let name = format!("c{}.localhost", self.changes);
            let host = record(&name, self.app.addr());
            // After a failover connections to the former master are still being replaced. What was answered with 503 may
            // have been carried out.
            until("a host is created", PATIENCE, async || {
                let status = self.system.api.post("/api/host", &host).await.status;
                (status == 201 || status == 409).then_some(())
            })
            .await;
            self.acknowledged.insert(name);
            if random.below(3) == 0
                && let Some(name) = self.acknowledged.pop_first()
            {
                self.system.api.delete(&format!("/api/host/{name}")).await.expect(200);
            }
        }
    }

    /// When the store answered again.
    async fn suffer(&mut self, fault: Fault, pause: Duration) -> Instant {
        match fault {
            Fault::RedisKilled => self.kill_redis(pause).await,
            Fault::RedisPaused => {
                let master = self.master().await;
                self.system.redis.nodes()[master].process().pause();
                tokio::time::sleep(pause).await;
                self.system.redis.nodes()[master].process().resume();
                // If it was replaced meanwhile it takes a while until it has heard of that.
                self.master().await;
            }
            Fault::ApiKilled => self.kill_api(pause).await,
            Fault::RedisWiped => self.wipe().await,
        }
        Instant::now()
    }

    /// The one server that is master; there may be two for a while when one was replaced and came back.
    ///
    /// A master that was paused is still one, with a replica that confirms what it writes, while the sentinels have agreed on
    /// another already: what it takes then is lost. So all of them must be done with it.
    async fn master(&mut self) -> usize {
        let count = if self.system.redis.sentinels().is_empty() { 1 } else { 3 };
        until("one is master for all others and all sentinels", PATIENCE, async || {
            let mut masters = Vec::new();
            for number in 0..count {
                let role = self.system.redis.node(number).try_command(&["ROLE"]).await?;
                if role.contains("\r\nmaster\r\n") {
                    masters.push(number);
                } else if !role.contains("\r\nconnected\r\n") {
                    return None;
                }
            }
            let [master] = <[usize; 1]>::try_from(masters).ok()?;
            let port = self.system.redis.node(master).addr().port().to_string();
            for sentinel in self.system.redis.sentinels().iter() {
                let named = sentinel.try_command(&["SENTINEL", "MASTER", "main"]).await?;
                // With more flags it is down for one of them, or being replaced.
                let is_calm = named.contains("\r\nflags\r\n$6\r\nmaster\r\n");
                let is_it = named.contains(&format!("\r\nport\r\n${}\r\n{port}\r\n", port.len()));
                (is_calm && is_it).then_some(())?;
            }
            Some(master)
        })
        .await
    }

    async fn kill_redis(&mut self, pause: Duration) {
        let master = self.master().await;
        self.system.redis.nodes()[master].kill().await;
        if !self.system.redis.sentinels().is_empty() {
            // Before every sentinel has heard of it, one would send a proxy to the dead one, which comes back as a master without
            // the last commits: a proxy takes that for a store that went back, and asks an operator.
            let port = self.system.redis.node(master).addr().port().to_string();
            until("every sentinel names another master", PATIENCE, async || {
                for sentinel in self.system.redis.sentinels().iter() {
                    let words = ["SENTINEL", "get-master-addr-by-name", "main"];
                    let named = sentinel.try_command(&words).await?;
                    (!named.contains(&port)).then_some(())?;
                }
                Some(())
            })
            .await;
        } else {
            tokio::time::sleep(pause).await;
        }
        self.system.redis.nodes()[master].start_again().await;
        self.master().await;
    }

    /// Kills the control plane while hosts are being created: each that it acknowledged is there, and each of the others is
    /// wholly there or not at all.
    async fn kill_api(&mut self, pause: Duration) {
        self.changes += 1;
        let mut writers = JoinSet::new();
        let killed = Arc::new(AtomicBool::new(false));
        for writer in 0..WRITERS {
            let (api, killed) = (self.system.api.clone(), killed.clone());
            let (round, addr) = (self.changes, self.app.addr());
            writers.spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(10));
                let (mut done, mut open) = (Vec::new(), Vec::new());
                for number in 0.. {
                    pace.tick().await;
                    let name = format!("w{round}-{writer}-{number}.localhost");
                    let answer = api.try_post("/api/host", &record(&name, addr)).await;
                    match answer.map(|answer| answer.status.as_u16()) {
                        Some(201) => done.push(name),
                        _ => open.push(name),
                    }
                    if killed.load(Ordering::Acquire) {
                        break;
                    }
                }
                (done, open)
            });
        }
        tokio::time::sleep(pause).await;
        self.system.api_process.kill();
        killed.store(true, Ordering::Release);
        let (mut done, mut open) = (Vec::new(), Vec::new());
        while let Some(written) = writers.join_next().await {
            let (acknowledged, unknown) = written.unwrap();
            done.extend(acknowledged);
            open.extend(unknown);
        }
        self.system.restart_api().await;
        let (master, mut there) = (self.master().await, 0);
        for name in &open {
            there += usize::from(self.is_whole(name, master).await);
        }
        println!(
            "{} creations acknowledged, {} not: {there} of them are there",
            done.len(),
            open.len()
        );
        assert!(!done.is_empty(), "the control plane was killed at work");
        for name in done {
            assert!(self.is_whole(&name, master).await, "{name} was acknowledged");
            self.acknowledged.insert(name);
        }
    }

    /// Whether a host is there, with all that belongs to it; else there is nothing of it.
    async fn is_whole(&self, name: &str, master: usize) -> bool {
        let answer = self.system.api.get(&format!("/api/host/{name}")).await;
        let node = self.system.redis.node(master);
        let redis = async |words: &[&str]| node.try_command(words).await.expect("Redis answers");
        let key = format!("Host_{name}");
        let indexed = redis(&["SISMEMBER", "proxy_Host", name]).await == ":1\r\n";
        let logged = redis(&["ZSCORE", "proxy_gw_changes", &key]).await != "$-1\r\n";
        assert_eq!(answer.status == 200, indexed, "{name} and the index");
        assert_eq!(answer.status == 200, logged, "{name} and the log");
        if answer.status == 200 {
            let upstream = answer.json()["upstreams"][0].clone();
            assert_eq!(upstream, self.app.addr().to_string(), "{name}");
        }
        answer.status == 200
    }

    async fn wipe(&mut self) {
        // The last changes are on their way.
        recovered("before the wipe", &self.system, Instant::now()).await;
        let before = table(&self.system.proxies[0]).await;
        let master = self.master().await;
        let flushed = self.system.redis.node(master).try_command(&["FLUSHALL"]).await;
        assert_eq!(flushed.as_deref(), Some("+OK\r\n"));
        alarmed(&self.system, &["epoch_missing", "epoch_changed"]).await;
        let api = log_in(&self.system).await;
        let kept = table(&self.system.proxies[0]).await;
        assert_eq!(kept["digest"], before["digest"], "the tables stay");
        let (code, told) = gatewright(&self.system, &api, &["import", &self.backup, "--replace"]);
        assert_eq!(code, 0, "{told}");
        // The backup has its own idea of who is who.
        self.system.api = Api::login(self.system.api_addr, "admin", PASSWORD).await;
        let (code, told) = gatewright(&self.system, &self.system.api, &["store", "accept"]);
        assert_eq!(code, 0, "{told}");
        self.acknowledged.clear();
    }

    async fn lost_nothing(&self) {
        for name in &self.acknowledged {
            self.system.api.get(&format!("/api/host/{name}")).await.expect(200);
        }
    }
}

fn record(name: &str, upstream: SocketAddr) -> Value {
    json!({ "host": name, "upstreams": [upstream.to_string()], "certificate": "none" })
}
