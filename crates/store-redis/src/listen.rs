use std::collections::HashMap;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient, WithOptions};
use fred::error::Error as RedisError;
use fred::interfaces::{
    ClientInterface, ClientLike, ClusterInterface, EventInterface, PubsubInterface,
    TrackingInterface,
};
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, CustomCommand, Value};
use store::{Collection, HintSender, Key};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::layout::Layout;

/// The collections that other programs write, too.
const TRACKED: [Collection; 3] = [Collection::Cert, Collection::Challenge, Collection::Host];
/// For how long the server's word that a key changed may follow a commit's own.
const ECHO: Duration = Duration::from_secs(2);
/// When to ask again to be told, after Redis refused.
const AGAIN: Duration = Duration::from_secs(5);
/// How many announced keys are remembered; beyond that some look as if touched by others.
const ANNOUNCED: usize = 100_000;

/// Turns what Redis tells into hints, for as long as the client lives:
///
/// * a commit's announcement of the keys it changed, on a channel;
/// * the server's invalidation of a record's key (client-side caching in broadcast mode): somebody changed it. When no commit
///   announced it just before, that was somebody who knows nothing of revisions, or its time was over;
/// * a new connection, or a gap in either: anything may have happened.
///
/// A flush of the whole database is not told (the client library drops that message); the revision is gone with it.
pub(crate) async fn listen(
    client: Client,
    subscriber: SubscriberClient,
    layout: Layout,
    hints: HintSender,
) {
    let mut connected = client.reconnect_rx();
    let mut subscribed = subscriber.reconnect_rx();
    let mut messages = subscriber.message_rx();
    let mut invalidations = subscriber.invalidation_rx();
    let mut moved = client.cluster_change_rx();
    let mut announced = Announced::default();
    let mut told = Told::default();
    loop {
        let alive = tokio::select! {
            // A commit's announcement is sent before the invalidations that it causes; it must be taken first, too.
            biased;
            message = messages.recv() => match message {
                Ok(message) => {
                    announced.note(&message.value);
                    hints.hint();
                    true
                }
                gap => is_gap(&gap, &hints),
            },
            invalidation = invalidations.recv() => match invalidation {
                Ok(invalidation) => {
                    let keys = invalidation.keys.iter().filter_map(|key| layout.parse(key.as_str()?));
                    for key in keys.filter(|key| !announced.explains(key)) {
                        // An older control plane writes the host again once its certificate is there.
                        if key.collection == Collection::Host && layout.legacy().has_certificates() {
                            hints.touch(Key::new(Collection::Cert, key.id.as_str()));
                        }
                        hints.touch(key);
                    }
                    true
                }
                gap => is_gap(&gap, &hints),
            },
            server = subscribed.recv() => {
                // First listen, then tell: what happens in between is then either read or heard.
                told.begin(&subscriber, &layout).await;
                hints.touch_everything();
                !matches!(server, Err(RecvError::Closed))
            }
            server = connected.recv() => {
                hints.hint();
                !matches!(server, Err(RecvError::Closed))
            }
            change = moved.recv() => {
                // Nobody tells a connection that only listens that its keys live elsewhere now.
                if owner(&client, &layout) != told.by {
                    told.follow(&client, &subscriber, &layout).await;
                    hints.touch_everything();
                }
                !matches!(change, Err(RecvError::Closed))
            }
            () = tokio::time::sleep(AGAIN), if told.refused.is_some() => {
                told.begin(&subscriber, &layout).await;
                if told.refused.is_none() {
                    hints.touch_everything();
                }
                true
            }
        };
        if !alive {
            return;
        }
    }
}

/// Who tells, and whether.
#[derive(Default)]
struct Told {
    /// The node of a cluster that was asked to: the one with the keys.
    by: Option<Server>,
    /// Why it is not told of everything.
    refused: Option<String>,
}

impl Told {
    /// Asks to be told of commits and of edits by others.
    async fn begin(&mut self, subscriber: &SubscriberClient, layout: &Layout) {
        self.by = owner(subscriber, layout);
        let node = Options { cluster_node: self.by.clone(), ..Options::default() };
        let subscriber = subscriber.with_options(&node);
        let prefixes: Vec<_> = TRACKED.iter().map(|c| layout.record(&Key::new(*c, ""))).collect();
        // A second time on the same connection is an error unless it is switched off between.
        let off = subscriber.client_tracking::<(), _, _>(
            "off",
            None,
            Vec::<String>::new(),
            false,
            false,
            false,
            false,
        );
        let _ = off.await;
        let tracked = subscriber
            .client_tracking::<(), _, _>("on", None, prefixes, true, false, false, false)
            .await;
        let heard = subscribe(&subscriber, layout).await;
        let refused = heard.and(tracked).err().map(|error| error.to_string());
        if let Some(error) = refused.as_ref().filter(|_| refused != self.refused) {
            tracing::warn!(error, "Redis does not tell of changes; relying on looking");
        }
        self.refused = refused;
    }

    /// Lets the listening client see what another client has seen of the cluster.
    async fn follow(&mut self, client: &Client, subscriber: &SubscriberClient, layout: &Layout) {
        if owner(subscriber, layout) != owner(client, layout) && subscriber.is_connected() {
            let _ = subscriber.sync_cluster().await;
        }
        self.begin(subscriber, layout).await;
    }
}

/// Subscribes to the announcements of commits.
///
/// The library takes a subscription for done once it is sent, and the server's refusal for the answer to the command
/// after it. So there is one after it, and nothing else is on its way on this connection.
async fn subscribe(
    subscriber: &WithOptions<SubscriberClient>,
    layout: &Layout,
) -> Result<(), RedisError> {
    subscriber.subscribe(layout.hints()).await?;
    let ping = CustomCommand::new_static("PING", ClusterHash::Custom(layout.slot()), false);
    subscriber.custom::<String, String>(ping, Vec::new()).await.map(drop)
}

/// The node of a cluster that has the keys, as this client knows it.
fn owner(client: &impl ClusterInterface, layout: &Layout) -> Option<Server> {
    client.cached_cluster_state()?.get_server(layout.slot()).cloned()
}

/// Whether listening goes on after something was missed.
fn is_gap<T>(received: &Result<T, RecvError>, hints: &HintSender) -> bool {
    hints.touch_everything();
    !matches!(received, Err(RecvError::Closed))
}

/// Keys that commits said they changed, until the server says so as well.
///
/// It errs towards telling: of two quick commits of one record the second may look like somebody else's, which costs a needless
/// read. To take an edit for a commit would cost a minute.
#[derive(Default)]
struct Announced(HashMap<Key, Instant>);

impl Announced {
    /// Takes a commit's announcement: the names of its keys as JSON.
    fn note(&mut self, message: &Value) {
        let names = message.as_bytes().map(serde_json::from_slice::<Vec<String>>);
        let names = names.and_then(Result::ok).unwrap_or_default();
        let now = Instant::now();
        if self.0.len() + names.len() > ANNOUNCED {
            self.0.retain(|_, at| now.duration_since(*at) < ECHO);
        }
        let room = ANNOUNCED.saturating_sub(self.0.len());
        let keys = names.iter().filter_map(|name| Key::parse(name));
        self.0.extend(
            keys.filter(|key| TRACKED.contains(&key.collection)).take(room).map(|key| (key, now)),
        );
    }

    /// Whether a commit has announced this change. Each announcement explains one.
    fn explains(&mut self, key: &Key) -> bool {
        self.0.remove(key).is_some_and(|at| at.elapsed() < ECHO)
    }
}
