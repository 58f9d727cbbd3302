use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::error::Error as RedisError;
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{Options, ReconnectPolicy, TcpConfig, UnresponsiveConfig};
use fred::types::scripts::Script;
use fred::types::{Builder, ClusterHash, CustomCommand, FromValue, Value};
use store::{HintSender, Touched};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinSet};

use crate::layout::Layout;
use crate::listen::listen;
use crate::replicas::Replicas;
use crate::trouble::Trouble;
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
/// Between two attempts to connect, in milliseconds: from, up to, and a random part on top, so that many clients of a
/// server that comes back don't all come at once.
const BACKOFF: (u32, u32, u32) = (50, 1_000, 250);

/// The connections to Redis and the tasks that keep them. Dropping it ends both.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// For commits alone: one that waits for a replica holds up what comes behind it on its connection.
    writer: Client,
    replicas: Replicas,
    trouble: Arc<Trouble>,
    slot: u16,
    pub(crate) hints: HintSender,
    _tasks: JoinSet<()>,
}

/// Whether a script writes. Redis lets a user who may only read run those that say they don't.
#[derive(Clone, Copy)]
enum Kind {
    Reads,
    Writes,
}

impl Connection {
    /// Starts to connect and waits a little until it listens for changes; that it does not is no error. Commands wait
    /// for a connection as long as a command may take.
    pub(crate) async fn start(settings: &RedisSettings, layout: &Layout) -> Result<Self, Error> {
        let mut builder = builder(settings);
        let client = builder.build().map_err(Error::Client)?;
        let writer = builder.build().map_err(Error::Client)?;
        // The others are told of nothing but their connections, and room for messages is taken whether any come or not.
        builder.with_performance_config(|performance| {
            performance.broadcast_channel_capacity = MESSAGES;
        });
        let subscriber = builder.build_subscriber_client().map_err(Error::Client)?;
        let hints = HintSender::new();
        let trouble = Arc::new(Trouble::default());
        let mut first = hints.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(client.clone(), subscriber.clone(), layout.clone(), hints.clone()));
        tasks.spawn(note_trouble(client.clone(), trouble.clone()));
        for keep in [Kept::Client(client.clone()), Kept::Client(writer.clone())] {
            tasks.spawn(keep_connected(keep, trouble.clone()));
        }
        tasks.spawn(keep_connected(Kept::Subscriber(subscriber), trouble.clone()));
        let listening = async {
            while first.touched() != Touched::Everything {
                first.next().await;
            }
        };
        if tokio::time::timeout(CONNECT, listening).await.is_err() {
            tracing::warn!("Redis does not answer yet; trying on");
        }
        let replicas = Replicas::new(settings.unconfirmed.clone());
        let slot = layout.slot();
        Ok(Self { client, writer, replicas, trouble, slot, hints, _tasks: tasks })
    }

    /// Runs a script that only reads.
    pub(crate) async fn read<R: FromValue>(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<R, RedisError> {
        self.run(&self.client, Kind::Reads, script, keys, arguments).await
    }

    /// Runs a script that writes what may be lost: a lease, a lock.
    pub(crate) async fn write<R: FromValue>(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<R, RedisError> {
        self.run(&self.client, Kind::Writes, script, keys, arguments).await
    }

    /// Runs a script that commits, and waits until a replica has it, where there is one.
    pub(crate) async fn commit(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<Vec<String>, RedisError> {
        let writer = self.writer.with_options(&self.options());
        // Asked beside the commit, so that it costs no time of its own.
        let (answer, replicas) = tokio::join!(
            Box::pin(self.run::<Vec<String>>(&self.writer, Kind::Writes, script, keys, arguments)),
            Box::pin(Replicas::count(&writer, self.slot)),
        );
        let answer = answer?;
        if answer.first().is_some_and(|word| word == "ok") && replicas > 0 {
            Box::pin(self.replicas.confirm(&writer, self.slot)).await?;
        }
        Ok(answer)
    }

    /// The same error, or why there is no connection when that is what it comes from.
    pub(crate) fn explain(&self, error: RedisError) -> RedisError {
        self.trouble.explain(error)
    }

    /// Runs a script, by its text when the server does not know it (any more).
    ///
    /// It is sent once: after a connection is lost nobody knows whether it ran.
    async fn run<R: FromValue>(
        &self,
        client: &Client,
        kind: Kind,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<R, RedisError> {
        let client = client.with_options(&self.options());
        let slot = ClusterHash::Custom(self.slot);
        let (by_hash, by_text) = match kind {
            Kind::Reads => ("EVALSHA_RO", "EVAL_RO"),
            Kind::Writes => ("EVALSHA", "EVAL"),
        };
        let mut words = vec![Value::from(&**script.sha1()), Value::from(keys.len().to_string())];
        words.extend(keys.into_iter().map(Value::from));
        words.extend(arguments);
        let command = CustomCommand::new_static(by_hash, slot.clone(), false);
        match client.custom(command, words.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                words[0] = script.lua().map_or(Value::Null, |text| Value::from(&**text));
                client.custom(CustomCommand::new_static(by_text, slot, false), words).await
            }
            answer => answer,
        }
    }

    fn options(&self) -> Options {
        Options { max_attempts: Some(1), timeout: Some(COMMIT), ..Options::default() }
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
    });
    // Without a policy it would never reconnect. The first number: no limit of attempts.
    let (from, to, random) = BACKOFF;
    let mut policy = ReconnectPolicy::new_exponential(0, from, to, 2);
    policy.set_jitter(random);
    builder.set_policy(policy);
    builder
}

/// Notes why a client has no connection, until it has one. Ends with the client.
async fn note_trouble(client: Client, trouble: Arc<Trouble>) {
    let (mut errors, mut connected) = (client.error_rx(), client.reconnect_rx());
    loop {
        tokio::select! {
            error = errors.recv() => match error {
                Ok((error, _)) => trouble.note(error),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            server = connected.recv() => match server {
                Ok(_) => trouble.clear(),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// A client of the library whose connection is kept.
enum Kept {
    Client(Client),
    Subscriber(SubscriberClient),
}

/// Runs a client's connection for ever: the library gives up over what it takes for bad configuration, such as a
/// password that is about to be changed on the server.
async fn keep_connected(client: Kept, trouble: Arc<Trouble>) {
    loop {
        let connecting = match &client {
            Kept::Client(client) => client.connect(),
            Kept::Subscriber(client) => client.connect(),
        };
        let _end = AbortOnDrop(connecting.abort_handle());
        if let Ok(Err(error)) = connecting.await {
            trouble.note(error);
        }
        tokio::time::sleep(CONNECT + CONNECT.mul_f64(random())).await;
    }
}

/// From 0 to 1, different in every process and each time.
fn random() -> f64 {
    f64::from(u16::try_from(RandomState::new().hash_one(0) & 0xffff).unwrap_or_default()) / 65_536.0
}

/// Ends a task of the library with the one that started it.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
