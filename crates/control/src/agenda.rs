use std::collections::{BTreeSet, HashMap};

use model::Timestamp;

/// Names in the order in which something is due for them. Setting and taking cost O(log n).
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    by_name: HashMap<String, Timestamp>,
    by_time: BTreeSet<(Timestamp, String)>,
}

impl Agenda {
    /// Something is due for a name at this moment, or nothing is.
    pub(crate) fn set(&mut self, name: &str, due: Option<Timestamp>) {
        let before = match due {
            Some(at) => self.by_name.insert(name.to_owned(), at),
            None => self.by_name.remove(name),
        };
        if let Some(at) = before {
            self.by_time.remove(&(at, name.to_owned()));
        }
        if let Some(at) = due {
            self.by_time.insert((at, name.to_owned()));
        }
    }

    /// The names that are due, longest due first, at most `limit`. They stay until they are set anew.
    pub(crate) fn due(&self, now: Timestamp, limit: usize) -> Vec<String> {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now);
        due.take(limit).map(|(_, name)| name.clone()).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.by_name.clear();
        self.by_time.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain map: the same names are due, in the order of their times.
        #[test]
        fn agrees_with_a_plain_map(steps in proptest::collection::vec((0..6u8, proptest::option::of(0..20u64)), 0..60)) {
            let (mut agenda, mut plain) = (Agenda::default(), BTreeMap::new());
            for (name, due) in steps {
                let name = name.to_string();
                agenda.set(&name, due.map(Timestamp::from_millis));
                match due {
                    Some(at) => plain.insert(name, at),
                    None => plain.remove(&name),
                };
                for now in [0, 5, 30] {
                    let mut expected: Vec<_> = plain.iter().filter(|(_, at)| **at <= now).collect();
                    expected.sort_by_key(|(name, at)| (**at, *name));
                    let expected: Vec<_> = expected.into_iter().map(|(name, _)| name.clone()).collect();
                    prop_assert_eq!(agenda.due(Timestamp::from_millis(now), 99), expected);
                }
            }
        }
    }
}
