use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::redis_node::{PATIENCE, RedisNode};
use crate::redis_setup::{RedisSetup, Shape};
use crate::tls_files::TlsFiles;
use crate::{Process, until};

/// A Redis of its own, as operators run it: one `redis-server`, one with replicas, under three sentinels, or a
/// cluster; on free ports, without persistence.
pub struct TestRedis {
    pub(crate) setup: RedisSetup,
    pub(crate) nodes: Vec<RedisNode>,
    pub(crate) sentinels: Vec<RedisNode>,
    pub(crate) tls: Option<(TlsFiles, u16)>,
    pub(crate) dir: TempDir,
}

impl TestRedis {
    /// Starts a single one and waits until it answers.
    pub async fn start() -> Self {
        Self::setup().start().await
    }

    /// Chooses what it is.
    pub fn setup() -> RedisSetup {
        RedisSetup::default()
    }

    /// Saves what it holds and ends it.
    pub async fn stop(&mut self) {
        self.command(&["SAVE"]).await;
        self.nodes[0].kill().await;
    }

    /// Starts it again where it was, with what it held.
    pub async fn start_again(&mut self) {
        self.nodes[0].start_again().await;
    }

    /// Where it listens, the first server if there are several.
    pub fn addr(&self) -> SocketAddr {
        self.nodes[0].addr()
    }

    /// The URL for a `STORE` setting.
    pub fn url(&self) -> String {
        let password = self.setup.password.as_deref();
        self.url_for(&password.map(|word| format!(":{word}@")).unwrap_or_default())
    }

    /// The same for a user of the server.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.url_for(&format!("{user}:{password}@"))
    }

    /// What programs need to know besides the URL: names and values of settings.
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        if self.setup.shape == Shape::Cluster {
            settings.push(("KEY_PREFIX".to_owned(), "{proxy}_".to_owned()));
        }
        if let Some(ca) = self.ca() {
            settings.push(("STORE_ROOT_CA".to_owned(), ca.display().to_string()));
        }
        settings
    }

    /// The certificate of the authority that signed the server's.
    pub fn ca(&self) -> Option<&Path> {
        self.tls.as_ref().map(|(files, _)| files.ca.as_path())
    }

    /// A Unix socket that it listens on as well.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Sends one command and gives the raw reply, as an operator with `redis-cli` would; to the first server.
    pub async fn command(&self, words: &[&str]) -> String {
        self.nodes[0].command(words).await
    }

    /// The running server, the first.
    pub fn process(&mut self) -> &mut Process {
        self.nodes[0].process()
    }

    /// The servers that hold data. The first began as a master.
    pub fn nodes(&mut self) -> &mut [RedisNode] {
        &mut self.nodes
    }

    /// One of them.
    pub fn node(&self, number: usize) -> &RedisNode {
        &self.nodes[number]
    }

    /// The sentinels.
    pub fn sentinels(&mut self) -> &mut [RedisNode] {
        &mut self.sentinels
    }

    /// The number of the server that is master of `key` now.
    pub async fn master_of(&self, key: &str) -> usize {
        until("a master", PATIENCE, async || {
            for (number, node) in self.nodes.iter().enumerate() {
                let role = node.try_command(&["ROLE"]).await.unwrap_or_default();
                // A master of other keys answers MOVED.
                let has = node.try_command(&["EXISTS", key]).await.unwrap_or_default();
                if role.contains("\r\nmaster\r\n") && has.starts_with(':') {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    fn url_for(&self, login: &str) -> String {
        let hosts = |nodes: &[RedisNode]| {
            let others = nodes.iter().skip(1).map(|node| format!("node={}", node.addr()));
            (nodes[0].addr(), others.collect::<Vec<_>>().join("&"))
        };
        match (self.setup.shape, &self.tls) {
            (Shape::Sentinel, _) => {
                let (first, others) = hosts(&self.sentinels);
                format!("redis-sentinel://{login}{first}?sentinelServiceName=main&{others}")
            }
            (Shape::Cluster, _) => {
                let (first, others) = hosts(&self.nodes);
                format!("redis-cluster://{login}{first}?{others}")
            }
            (Shape::Replicated, Some((_, port))) => format!("rediss://{login}127.0.0.1:{port}"),
            (Shape::Replicated, None) => format!("redis://{login}{}", self.addr()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TestRedis;

    #[tokio::test]
    async fn it_is_a_redis() {
        let mut redis = TestRedis::start().await;
        assert_eq!(redis.command(&["SET", "a", "b c"]).await, "+OK\r\n");
        redis.stop().await;
        redis.start_again().await;
        assert_eq!(redis.command(&["GET", "a"]).await, "$3\r\nb c\r\n");
    }

    #[tokio::test]
    async fn it_has_users() {
        let setup = TestRedis::setup().password("word").user("gw on >pass ~a* +get");
        let redis = setup.start().await;
        let login = Some(("gw", "pass"));
        let node = &redis.nodes[0];
        assert_eq!(redis.command(&["SET", "a", "1"]).await, "+OK\r\n");
        assert_eq!(node.command_as(login, &["GET", "a"]).await.unwrap(), "$1\r\n1\r\n");
        assert!(node.command_as(login, &["GET", "b"]).await.unwrap().starts_with("-NOPERM"));
        assert!(node.command_as(None, &["GET", "a"]).await.unwrap().starts_with("-NOAUTH"));
    }

    #[tokio::test]
    async fn sentinels_and_a_cluster_come_up() {
        let (sentinel, cluster) = tokio::join!(
            TestRedis::setup().sentinel(2).start(),
            TestRedis::setup().cluster().start()
        );
        assert_eq!((sentinel.nodes.len(), sentinel.sentinels.len()), (3, 3));
        assert_eq!(sentinel.master_of("a").await, 0);
        assert_eq!(cluster.nodes.len(), 6);
        assert!(cluster.master_of("{proxy}_x").await < 3);
    }
}
