use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::config::{Options, ReconnectPolicy, TcpConfig, UnresponsiveConfig};
use fred::types::scripts::Script;
use fred::types::{Builder, FromValue, Value};
use store::{HintSender, Touched};
use tokio::task::{AbortHandle, JoinSet};

use crate::layout::Layout;
use crate::listen::listen;
use crate::{Error, RedisSettings};

/// How long a command may take, the wait for a connection included.
const COMMAND: Duration = Duration::from_secs(1);
/// How long a transaction may take.
const COMMIT: Duration = Duration::from_secs(2);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);
/// A connection that owes an answer for this long is dead.
const UNRESPONSIVE: Duration = Duration::from_secs(4);
/// How many commands wait for a connection before more are refused.
const QUEUE: usize = 10_000;
/// How many messages wait to be heard before there is a gap instead.
const MESSAGES: usize = 16_384;
/// Between two attempts to connect, in milliseconds: from, up to, and a random part on top.
const BACKOFF: (u32, u32, u32) = (50, 1_000, 100);

/// The connections to Redis and the tasks that keep them. Dropping it ends both.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) hints: HintSender,
    _tasks: JoinSet<()>,
}

impl Connection {
    /// Starts to connect and waits a little until it listens for changes; that it does not is no error. Commands wait
    /// for a connection as long as a command may take.
    pub(crate) async fn start(settings: &RedisSettings, layout: &Layout) -> Result<Self, Error> {
        let builder = builder(settings);
        let client = builder.build().map_err(Error::Client)?;
        let subscriber = builder.build_subscriber_client().map_err(Error::Client)?;
        let hints = HintSender::new();
        let mut first = hints.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(client.clone(), subscriber.clone(), layout.clone(), hints.clone()));
        tasks.spawn(keep_connected(client.clone()));
        tasks.spawn(keep_connected(subscriber));
        let listening = async {
            while first.touched() != Touched::Everything {
                first.next().await;
            }
        };
        if tokio::time::timeout(CONNECT, listening).await.is_err() {
            tracing::warn!("Redis does not answer yet; trying on");
        }
        Ok(Self { client, hints, _tasks: tasks })
    }

    /// Runs a script, loading it when the server does not have it (any more).
    ///
    /// It is sent once: after a connection is lost nobody knows whether it ran.
    pub(crate) async fn run<R: FromValue>(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<R, fred::error::Error> {
        let options =
            Options { max_attempts: Some(1), timeout: Some(COMMIT), ..Options::default() };
        let client = self.client.with_options(&options);
        let sha1 = script.sha1().clone();
        match client.evalsha(sha1.clone(), keys.clone(), arguments.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                script.load(&self.client).await?;
                client.evalsha(sha1, keys, arguments).await
            }
            answer => answer,
        }
    }
}

fn builder(settings: &RedisSettings) -> Builder {
    let mut builder = Builder::from_config(settings.config.expose().clone());
    builder.with_connection_config(|connection| {
        connection.connection_timeout = CONNECT;
        connection.internal_command_timeout = CONNECT;
        connection.max_command_attempts = 2;
        connection.max_command_buffer_len = QUEUE;
        connection.auto_client_setname = true;
        connection.reconnect_on_auth_error = true;
        connection.unresponsive = UnresponsiveConfig {
            max_timeout: Some(UNRESPONSIVE),
            interval: Duration::from_secs(1),
        };
        connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
    });
    builder.with_performance_config(|performance| {
        performance.default_command_timeout = COMMAND;
        performance.broadcast_channel_capacity = MESSAGES;
    });
    // Without a policy it would never reconnect. The first number: no limit of attempts.
    let (from, to, random) = BACKOFF;
    let mut policy = ReconnectPolicy::new_exponential(0, from, to, 2);
    policy.set_jitter(random);
    builder.set_policy(policy);
    builder
}

/// Runs a client's connection for ever: the library gives up over what it takes for bad configuration, such as a
/// password that is about to be changed on the server.
async fn keep_connected(client: impl ClientLike) {
    loop {
        let connecting = client.connect();
        let _end = AbortOnDrop(connecting.abort_handle());
        let why = match connecting.await {
            Ok(Ok(())) => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(error = why, "the connection to Redis was given up; starting over");
        tokio::time::sleep(CONNECT).await;
    }
}

/// Ends a task of the library with the one that started it.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
