//! Everything goes wrong, one thing after the other, while requests come at a steady rate.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Api, App, System, TestRedis, alone, seed, soak};

use crate::outages::{loads, nothing_failed, recovered, settled, table};
use crate::store_guard::{PASSWORD, alarmed, gatewright, log_in};

/// How often each fault comes.
const ROUNDS: usize = 2;
const LONG_ROUNDS: usize = 15;
/// How many changes are tried before each fault.
const CHANGES: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kill -9` of Redis, which keeps what it acknowledged, and a start after a while.
    RedisKilled,
    /// Redis stands still for a while, its connections open.
    RedisPaused,
    /// The control plane is killed and started again.
    ApiKilled,
    /// Redis loses everything; an operator brings a backup back and has it accepted.
    RedisWiped,
}

/// No request for a known host fails, whatever happens; nothing acknowledged is lost but by the wipe; and within the
/// recovery time each table is what the store has. `GATEWRIGHT_TESTS_SEED` repeats a run.
#[tokio::test(flavor = "multi_thread")]
async fn known_hosts_are_served_through_everything() {
    let _turn = alone().await;
    let mut random = Random(seed() | 1);
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let redis = TestRedis::setup().arguments(&durable).start().await;
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
            let upstreams = [self.app.addr().to_string()];
            let host = json!({ "host": name, "upstreams": upstreams, "certificate": "none" });
            self.system.api.post("/api/host", &host).await.expect(201);
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
            Fault::RedisKilled => {
                self.system.redis.nodes()[0].kill().await;
                tokio::time::sleep(pause).await;
                self.system.redis.start_again().await;
            }
            Fault::RedisPaused => {
                self.system.redis.process().pause();
                tokio::time::sleep(pause).await;
                self.system.redis.process().resume();
            }
            Fault::ApiKilled => self.system.restart_api().await,
            Fault::RedisWiped => self.wipe().await,
        }
        Instant::now()
    }

    async fn wipe(&mut self) {
        // The last changes are on their way.
        recovered("before the wipe", &self.system, Instant::now()).await;
        let before = table(&self.system.proxies[0]).await;
        self.system.redis.command(&["FLUSHALL"]).await;
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

/// A small generator of pseudo-random numbers (xorshift): a run can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}
