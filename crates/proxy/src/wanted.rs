use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::Hostname;
use tokio::sync::Notify;

/// As many names are remembered; further ones are not asked for until there is room again.
const CAPACITY: usize = 1000;

/// The names that handshakes wanted a certificate for and found none: bounded, each name once.
#[derive(Debug, Default)]
pub struct Wanted {
    names: Mutex<BTreeSet<Hostname>>,
    added: Notify,
}

impl Wanted {
    /// Takes a name out; waits for one when there is none. For a single reader.
    pub async fn next(&self) -> Hostname {
        loop {
            if let Some(name) = self.names().pop_first() {
                return name;
            }
            self.added.notified().await;
        }
    }

    /// Puts a name in; `false` when there is no room.
    pub fn ask(&self, name: Hostname) -> bool {
        let mut names = self.names();
        let fits = names.len() < CAPACITY || names.contains(&name);
        if fits && names.insert(name) {
            self.added.notify_one();
        }
        fits
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<Hostname>> {
        // Every state of a set is a good one.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
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
}
