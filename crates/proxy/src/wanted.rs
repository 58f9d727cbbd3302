use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::Hostname;
use tokio::sync::Notify;

/// As many names are remembered; further ones are not asked for until there is room again.
const CAPACITY: usize = 1000;

/// The names that handshakes wanted a certificate for and found none: bounded, each name once, first come, first
/// served.
#[derive(Debug, Default)]
pub struct Wanted {
    names: Mutex<Names>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Names {
    waiting: VecDeque<Hostname>,
    /// The same, to be found by name.
    known: HashSet<Hostname>,
}

impl Wanted {
    /// Takes a name out; waits for one when there is none. For a single reader.
    pub async fn next(&self) -> Hostname {
        loop {
            if let Some(name) = self.names().take_first() {
                return name;
            }
            self.added.notified().await;
        }
    }

    /// Puts a name in; `false` when there is no room.
    pub fn ask(&self, name: Hostname) -> bool {
        let mut names = self.names();
        if names.known.contains(&name) {
            return true;
        }
        if names.waiting.len() >= CAPACITY {
            return false;
        }
        names.known.insert(name.clone());
        names.waiting.push_back(name);
        self.added.notify_one();
        true
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // Nothing in between two states of it can panic.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    fn take_first(&mut self) -> Option<Hostname> {
        let name = self.waiting.pop_front()?;
        self.known.remove(&name);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_handed_out_once_and_the_queue_is_bounded() {
        let wanted = Wanted::default();
        let name = |n: usize| format!("h{n}.test").parse::<Hostname>().unwrap();
        assert!(wanted.ask(name(0)) && wanted.ask(name(0)));
        assert_eq!(wanted.next().await, name(0));
        let (next, asked) = tokio::join!(wanted.next(), async { wanted.ask(name(1)) });
        assert!(asked);
        assert_eq!(next, name(1));
        assert!((0..CAPACITY).all(|n| wanted.ask(name(n))));
        assert!(!wanted.ask(name(CAPACITY)));
        assert!(wanted.ask(name(3)));
    }

    /// Names came out in alphabetical order: under a flood of `a…` names a handshake for `z.test` waited in vain.
    #[tokio::test]
    async fn who_came_first_is_served_first() {
        let wanted = Wanted::default();
        for name in ["z.test", "a.test", "m.test", "a.test", "z.test"] {
            assert!(wanted.ask(name.parse().unwrap()));
        }
        for name in ["z.test", "a.test", "m.test"] {
            assert_eq!(wanted.next().await.as_str(), name);
        }
    }
}
