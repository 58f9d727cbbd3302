use std::path::Path;

use crate::redis_node::{PATIENCE, RedisNode};
use crate::tls_files::TlsFiles;
use crate::{TestRedis, free_port, until};

/// How many slots a cluster's keys are spread over.
const SLOTS: usize = 16_384;
/// After how many milliseconds a silent server is taken for dead by sentinels and cluster.
const DOWN_AFTER: u32 = 1_000;

/// What a [`TestRedis`] is to be.
#[derive(Clone, Default)]
pub struct RedisSetup {
    pub(crate) shape: Shape,
    replicas: usize,
    pub(crate) password: Option<String>,
    users: Vec<String>,
    tls: Option<Vec<&'static str>>,
    arguments: Vec<String>,
}

/// How its servers are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A master with any number of replicas.
    #[default]
    Replicated,
    /// The same, watched by three sentinels.
    Sentinel,
    /// Three masters with a replica each.
    Cluster,
}

impl RedisSetup {
    /// A password for the default user.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// A user, as `ACL SETUSER` takes one: `name on >password ~keys +commands`.
    pub fn user(mut self, rules: &str) -> Self {
        self.users.push(rules.to_owned());
        self
    }

    /// TLS on a second port, by an authority of its own, with a certificate for these names.
    pub fn tls(mut self, names: &[&'static str]) -> Self {
        self.tls = Some(names.to_vec());
        self
    }

    /// So many replicas of the one master.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// The same under three sentinels that call their master `main`.
    pub fn sentinel(mut self, replicas: usize) -> Self {
        self.shape = Shape::Sentinel;
        self.replicas(replicas)
    }

    /// A cluster of three masters with a replica each.
    pub fn cluster(mut self) -> Self {
        self.shape = Shape::Cluster;
        self
    }

    /// Arguments for every server that holds data.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|text| (*text).to_owned()));
        self
    }

    /// Starts everything and waits until it is as it is to be.
    pub async fn start(self) -> TestRedis {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let tls = self
            .tls
            .as_ref()
            .map(|names| (TlsFiles::make(dir.path(), "redis", names), free_port()));
        let mut redis = TestRedis { setup: self, nodes: vec![], sentinels: vec![], tls, dir };
        let servers =
            if redis.setup.shape == Shape::Cluster { 6 } else { 1 + redis.setup.replicas };
        for number in 0..servers {
            let node = redis.server(number).await;
            redis.nodes.push(node);
        }
        match redis.setup.shape {
            Shape::Cluster => redis.join_cluster().await,
            shape => {
                redis.wait_for_replicas().await;
                if shape == Shape::Sentinel {
                    redis.watch().await;
                }
            }
        }
        redis
    }
}

impl TestRedis {
    async fn server(&self, number: usize) -> RedisNode {
        let setup = &self.setup;
        let name = format!("redis{number}");
        RedisNode::start(&name, self.dir.path(), setup.password.as_deref(), |_| {
            let mut line = "--save \"\" --appendonly no --repl-diskless-sync-delay 0".to_owned();
            if let Some(password) = &setup.password {
                line += &format!(" --requirepass {password} --masterauth {password}");
            }
            for user in &setup.users {
                line += &format!(" --user {user}");
            }
            if setup.shape == Shape::Cluster {
                let bus = free_port();
                line += &format!(" --cluster-enabled yes --cluster-port {bus}");
                line += &format!(" --cluster-node-timeout {DOWN_AFTER}");
            } else if number > 0 {
                line += &format!(" --replicaof 127.0.0.1 {}", self.addr().port());
            } else if let Some((files, port)) = &self.tls {
                line += &format!(" --tls-port {port} --tls-auth-clients no --tls-cert-file ");
                line += &format!("{} --tls-key-file {}", files.cert.display(), files.key.display());
                line += &format!(" --tls-ca-cert-file {}", files.ca.display());
            }
            if number == 0 {
                line += &format!(" --unixsocket {}", self.socket().display());
            }
            let words = line.split(' ').map(|word| word.trim_matches('"').to_owned());
            words.chain(setup.arguments.iter().cloned()).collect()
        })
        .await
    }

    /// Waits until a write to the master is confirmed by every replica. A replica that says it is connected may not be
    /// sent anything yet: after its first copy of the data the master waits for its word, which comes once a second.
    async fn wait_for_replicas(&self) {
        let wanted = self.setup.replicas.to_string();
        until("the replicas follow", PATIENCE, async || {
            for node in &self.nodes[1..] {
                (node.info("master_link_status").await? == "up").then_some(())?;
            }
            (self.nodes[0].info("connected_slaves").await? == wanted).then_some(())
        })
        .await;
        if self.setup.replicas > 0 {
            // `WAIT` asks about the writes of its own connection.
            let script = "redis.call('SET', 'replicas', '1') return redis.call('DEL', 'replicas')";
            until("the replicas confirm", PATIENCE, async || {
                let answers = self.nodes[0]
                    .try_commands(&[&["EVAL", script, "0"], &["WAIT", &wanted, "1000"]])
                    .await?;
                answers.ends_with(&format!(":{wanted}\r\n")).then_some(())
            })
            .await;
        }
    }

    /// Starts the sentinels, and waits until each knows the others and the replicas.
    async fn watch(&mut self) {
        for number in 0..3 {
            let name = format!("sentinel{number}");
            let file = self.dir.path().join(format!("{name}.conf"));
            std::fs::write(&file, self.sentinel_file()).expect("the directory is writable");
            let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
            let start = RedisNode::start(&name, self.dir.path(), None, |_| arguments.clone());
            self.sentinels.push(start.await);
        }
        let replicas = format!("*{}\r\n", self.setup.replicas);
        until("the sentinels agree", PATIENCE, async || {
            for sentinel in &self.sentinels {
                let quorum = sentinel.try_command(&["SENTINEL", "CKQUORUM", "main"]).await?;
                quorum.contains("3 usable").then_some(())?;
                let found = sentinel.try_command(&["SENTINEL", "REPLICAS", "main"]).await?;
                found.starts_with(&replicas).then_some(())?;
            }
            Some(())
        })
        .await;
    }

    fn sentinel_file(&self) -> String {
        let port = self.addr().port();
        let mut text = format!(
            "sentinel monitor main 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds main {DOWN_AFTER}\n\
             sentinel failover-timeout main 5000\n"
        );
        if let Some(password) = &self.setup.password {
            text += &format!("sentinel auth-pass main {password}\n");
        }
        text
    }

    /// Makes a cluster of the servers: the first three are masters.
    async fn join_cluster(&self) {
        let mut ids = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let epoch = (number + 1).to_string();
            expect(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            if number < 3 {
                let (from, to) = (number * SLOTS / 3, (number + 1) * SLOTS / 3 - 1);
                let (from, to) = (from.to_string(), to.to_string());
                expect(node, &["CLUSTER", "ADDSLOTSRANGE", &from, &to]).await;
            }
            let id = node.command(&["CLUSTER", "MYID"]).await;
            ids.push(id.lines().nth(1).expect("an id").to_owned());
            let bus = self.nodes[0].command(&["CONFIG", "GET", "cluster-port"]).await;
            let bus = bus.lines().last().expect("a port").to_owned();
            let port = self.addr().port().to_string();
            if number > 0 {
                expect(node, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
            }
        }
        self.cluster_says("cluster_known_nodes:6").await;
        for (number, node) in self.nodes.iter().enumerate().skip(3) {
            let id = ids[number - 3].as_str();
            until("a node becomes a replica", PATIENCE, async || {
                let answer = node.try_command(&["CLUSTER", "REPLICATE", id]).await?;
                answer.starts_with("+OK").then_some(())
            })
            .await;
        }
        self.cluster_says("cluster_state:ok").await;
        until("the replicas follow and are known", PATIENCE, async || {
            for node in &self.nodes {
                let slots = node.try_command(&["CLUSTER", "SLOTS"]).await?;
                (slots.matches("127.0.0.1").count() == 6).then_some(())?;
            }
            for node in &self.nodes[3..] {
                (node.info("master_link_status").await? == "up").then_some(())?;
            }
            Some(())
        })
        .await;
    }

    async fn cluster_says(&self, line: &str) {
        until(line, PATIENCE, async || {
            for node in &self.nodes {
                let info = node.try_command(&["CLUSTER", "INFO"]).await?;
                info.lines().any(|it| it == line).then_some(())?;
            }
            Some(())
        })
        .await;
    }
}

async fn expect(node: &RedisNode, words: &[&str]) {
    let answer = node.command(words).await;
    assert!(answer.starts_with("+OK"), "{words:?}: {answer}");
}

/// An authority that signed nothing, for a client that shall trust the wrong one.
pub fn stranger_ca(dir: &Path) -> std::path::PathBuf {
    let dir = dir.join("stranger");
    std::fs::create_dir_all(&dir).expect("the directory is writable");
    TlsFiles::make(&dir, "stranger", &["stranger.test"]).ca
}
