use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many records are remembered. More at once would need as many unfinished proofs.
const MOST: usize = 1_000;

/// The ids of records that this process created. Some providers list a new record only after a while; without its id it could not
/// be removed by then and would stay for ever.
#[derive(Default)]
pub(crate) struct Created(Mutex<VecDeque<Entry>>);

struct Entry {
    zone: String,
    name: String,
    value: String,
    id: String,
}

impl Created {
    pub(crate) fn remember(&self, zone: &str, name: &str, value: &str, id: &str) {
        let entry = Entry {
            zone: zone.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
            id: id.to_owned(),
        };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push_back(entry);
        if entries.len() > MOST {
            entries.pop_front();
        }
    }

    /// The ids for one value: those listed by the provider, then those that it does not list yet.
    pub(crate) fn with(
        &self,
        zone: &str,
        name: &str,
        value: &str,
        listed: impl Iterator<Item = String>,
    ) -> Vec<String> {
        let mut ids: Vec<String> = listed.collect();
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in
            entries.iter().filter(|it| it.zone == zone && it.name == name && it.value == value)
        {
            if !ids.contains(&entry.id) {
                ids.push(entry.id.clone());
            }
        }
        ids
    }

    pub(crate) fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|it| it.id != id);
    }
}
