use tokio::sync::{broadcast, watch};

use crate::Key;

/// How many touched records wait for a reader before it hears `Everything` instead.
const TOUCHED: usize = 4_096;

/// Tells that something may have changed: coalesced, may be lost, and also told after a reconnect.
#[derive(Debug)]
pub struct Hints {
    counter: watch::Receiver<u64>,
    touched: broadcast::Receiver<Option<Key>>,
}

/// Records that somebody changed without a revision: a program that knows nothing of revisions, or an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Possibly any record.
    Everything,
    /// These, as far as it was noticed; some may turn out to be as they were.
    Keys(Vec<Key>),
}

impl Hints {
    /// Waits for a hint that came after the last one returned here. Cancel safe. Never returns once the backend is
    /// gone.
    pub async fn next(&mut self) {
        if self.counter.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What was touched since this was last asked. Every touch is a hint as well; to notice none of them is allowed.
    pub fn touched(&mut self) -> Touched {
        use broadcast::error::TryRecvError;
        let (mut keys, mut everything) = (Vec::new(), false);
        loop {
            match self.touched.try_recv() {
                Ok(Some(key)) => keys.push(key),
                Ok(None) | Err(TryRecvError::Lagged(_)) => everything = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if everything {
            return Touched::Everything;
        }
        keys.sort_unstable();
        keys.dedup();
        Touched::Keys(keys)
    }
}

/// A backend's end of [`Hints`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HintSender {
    counter: watch::Sender<u64>,
    touched: broadcast::Sender<Option<Key>>,
}

impl HintSender {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Self { counter: watch::Sender::new(0), touched: broadcast::Sender::new(TOUCHED) }
    }

    /// Something may have changed.
    pub fn hint(&self) {
        self.counter.send_modify(|count| *count += 1);
    }

    /// This record changed without a revision; a hint.
    pub fn touch(&self, key: Key) {
        // Nobody to hear it is fine.
        let _ = self.touched.send(Some(key));
        self.hint();
    }

    /// Any record may have changed without a revision; a hint.
    pub fn touch_everything(&self) {
        let _ = self.touched.send(None);
        self.hint();
    }

    /// Hints from now on.
    pub fn subscribe(&self) -> Hints {
        let mut counter = self.counter.subscribe();
        counter.mark_unchanged();
        Hints { counter, touched: self.touched.subscribe() }
    }
}

impl Default for HintSender {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collection;

    #[tokio::test]
    async fn touches_are_listed_once_to_each_listener() {
        let key = |id: &str| Key::new(Collection::Host, id);
        let sender = HintSender::new();
        sender.touch(key("before"));
        let (mut one, mut other) = (sender.subscribe(), sender.subscribe());
        assert_eq!(one.touched(), Touched::Keys(Vec::new()));
        for id in ["b", "a", "b"] {
            sender.touch(key(id));
        }
        one.next().await;
        assert_eq!(one.touched(), Touched::Keys(vec![key("a"), key("b")]));
        assert_eq!(one.touched(), Touched::Keys(Vec::new()));
        sender.touch_everything();
        assert_eq!(other.touched(), Touched::Everything);
        assert_eq!(other.touched(), Touched::Keys(Vec::new()));
    }

    #[test]
    fn who_falls_behind_hears_everything() {
        let sender = HintSender::new();
        let mut hints = sender.subscribe();
        for i in 0..=TOUCHED {
            sender.touch(Key::new(Collection::Host, i.to_string()));
        }
        assert_eq!(hints.touched(), Touched::Everything);
        assert_eq!(hints.touched(), Touched::Keys(Vec::new()));
    }
}
