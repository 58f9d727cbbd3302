use std::collections::HashMap;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface, TrackingInterface};
use fred::types::Value;
use store::{Collection, HintSender, Key};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::layout::Layout;

/// The collections that other programs write, too.
const TRACKED: [Collection; 3] = [Collection::Cert, Collection::Challenge, Collection::Host];
/// For how long the server's word that a key changed may follow a commit's own.
const ECHO: Duration = Duration::from_secs(2);
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
    let mut announced = Announced::default();
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
                begin(&subscriber, &layout).await;
                hints.touch_everything();
                !matches!(server, Err(RecvError::Closed))
            }
            server = connected.recv() => {
                hints.hint();
                !matches!(server, Err(RecvError::Closed))
            }
        };
        if !alive {
            return;
        }
    }
}

async fn begin(subscriber: &SubscriberClient, layout: &Layout) {
    if let Err(error) = subscriber.subscribe(layout.hints()).await {
        tracing::warn!(%error, "Redis does not tell of commits; relying on looking");
    }
    if subscriber.is_clustered() {
        // Broadcast tracking covers the one node that is asked, which need not be the one with the keys.
        return;
    }
    let prefixes: Vec<_> = TRACKED.iter().map(|c| layout.record(&Key::new(*c, ""))).collect();
    if let Err(error) = subscriber.start_tracking(prefixes, true, false, false, false).await {
        tracing::warn!(%error, "Redis does not tell of edits by others; relying on reconciling");
    }
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
