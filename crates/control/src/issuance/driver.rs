use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{CertWanted, Revision};
use runtime::{Activator, Shutdown};
use store::{Changes, Collection, Lease};
use tokio::task::{Id, JoinError, JoinSet};

use super::Lifecycle;
use super::attempt::{LEASE, Outcome, attempt};
use super::ledger::{Admitted, demand_limits};
use super::plan::{due, wish_counts};
use crate::agenda::Agenda;
use crate::mirror::{Tables, for_each};
use crate::{Control, Error};

/// How many names are worked on at once. Others wait for none of them: an order takes as long as the authority does.
const AT_ONCE: usize = 32;
/// How many wishes of clients may wait.
const WISHES: usize = 1_000;
/// How often everything is looked at when nothing wakes it.
const TURN: Duration = Duration::from_secs(1);
/// When a name is looked at again that another replica works on, or whose work could not even begin.
const AGAIN: Duration = Duration::from_secs(5);
/// How long leases are given back at the end.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// Works off what is due, for many names at once. Any number of replicas do so; the lease of a name keeps them apart.
pub(crate) struct Driver<'a> {
    control: &'a Control,
    lifecycle: &'a Lifecycle,
    /// Up to where changes were looked at.
    reached: Option<Revision>,
    agenda: Agenda,
    wishes: VecDeque<String>,
    busy: HashSet<String>,
    under_way: HashMap<Id, String>,
}

/// The leases that attempts under way hold, to be given back when they are broken off.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<HashMap<String, Lease>>);

impl Held {
    pub(crate) fn insert(&self, name: &str, lease: Lease) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), lease);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn take(&self) -> Vec<Lease> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.drain().map(|(_, lease)| lease).collect()
    }
}

impl<'a> Driver<'a> {
    pub(crate) fn new(control: &'a Control, lifecycle: &'a Lifecycle) -> Self {
        Self {
            control,
            lifecycle,
            reached: None,
            agenda: Agenda::default(),
            wishes: VecDeque::new(),
            busy: HashSet::new(),
            under_way: HashMap::new(),
        }
    }

    /// Works until the drain. Attempts under way are then broken off: what they were at stands in the store, and their
    /// leases are given back, so that whoever goes on can do so at once.
    pub(crate) async fn run(mut self, activator: &Activator, shutdown: &Shutdown) {
        let held = Arc::<Held>::default();
        // Tasks of their own: they and this loop ask the same mirror, and who holds its lock must go on while others wait.
        let mut attempts = JoinSet::new();
        loop {
            if let Err(error) = self.look_at_changes().await {
                tracing::debug!(%error, "certificates can't be looked after now");
            }
            for (name, demanded) in self.next_up().await {
                let (control, lifecycle) = (self.control.clone(), self.lifecycle.clone());
                let (held, asked) = (held.clone(), name.clone());
                let begun = attempts.spawn(async move {
                    attempt(&control, &lifecycle, &held, &asked, demanded).await
                });
                self.under_way.insert(begun.id(), name);
            }
            tokio::select! {
                Some(ended) = attempts.join_next_with_id() => self.settle(ended),
                () = activator.woken() => {}
                () = self.control.clock().sleep(TURN) => {}
                () = shutdown.draining() => break,
            }
        }
        attempts.shutdown().await;
        let give_back = async {
            for lease in held.take() {
                if let Err(error) = self.control.store().backend().release(&lease).await {
                    tracing::debug!(%error, lock = lease.name, "a lock was not released");
                }
            }
        };
        tokio::select! {
            () = give_back => {}
            () = self.control.clock().sleep(GIVE_BACK) => {}
        }
    }

    /// Puts every name that changed on the agenda, and notes what clients wish for.
    async fn look_at_changes(&mut self) -> Result<(), Error> {
        let backend = self.control.store().backend().clone();
        let changes = match &self.reached {
            Some(revision) => backend.changes_since(revision).await?,
            None => Changes::Reset { revision: backend.revision().await? },
        };
        self.control.refresh().await?;
        let revision = match changes {
            Changes::Keys { revision, keys } => {
                let tables = self.control.tables();
                let mut all = false;
                for key in &keys {
                    match key.collection {
                        Collection::Cert | Collection::Issuance => {}
                        Collection::CertWanted => {
                            wish(&mut self.wishes, &key.id);
                            continue;
                        }
                        // Either may take or leave any name below it.
                        Collection::Domain => all = true,
                        Collection::Host => all |= key.id.contains('*'),
                        _ => continue,
                    }
                    self.agenda.set(&key.id, due(&tables, &key.id).map(|(at, _)| at));
                    // The certificate of a wildcard serves, or serves no longer, names beside it.
                    all |= key.collection == Collection::Cert && key.id.starts_with("*.");
                }
                if all {
                    plan_all(&mut self.agenda, &tables);
                }
                revision
            }
            Changes::Reset { revision } => {
                self.agenda.clear();
                plan_all(&mut self.agenda, &self.control.tables());
                let wishes = &mut self.wishes;
                let stored = for_each::<CertWanted>(self.control.store(), |wanted| {
                    wish(wishes, wanted.name.as_str());
                });
                stored.await?;
                revision
            }
        };
        self.reached = Some(revision);
        Ok(())
    }

    /// The names to begin with now, and whether a client waits for them.
    async fn next_up(&mut self) -> Vec<(String, bool)> {
        let now = self.control.now();
        let mut up = Vec::new();
        for name in self.agenda.due(now, AT_ONCE + self.busy.len()) {
            if self.busy.len() >= AT_ONCE {
                break;
            }
            let still = due(&self.control.tables(), &name);
            if still.is_none_or(|(at, _)| at > now) {
                self.agenda.set(&name, still.map(|(at, _)| at));
            } else if self.busy.insert(name.clone()) {
                up.push((name, false));
            }
        }
        while self.busy.len() < AT_ONCE {
            let Some(name) = self.wishes.pop_front() else { break };
            if !wish_counts(&self.control.tables(), &name, now) || self.busy.contains(&name) {
                continue;
            }
            match self.control.admit(&demand_limits(&name)).await {
                Ok(Admitted::Yes) => {
                    self.busy.insert(name.clone());
                    up.push((name, true));
                }
                Ok(Admitted::No { rule, .. }) => {
                    tracing::warn!(name, rule, "a certificate on demand is not ordered");
                }
                Err(error) => tracing::debug!(%error, name, "a wish could not be answered"),
            }
        }
        up
    }

    fn settle(&mut self, ended: Result<(Id, Result<Outcome, Error>), JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(broken) => (broken.id(), Err(Error::Internal(broken.into()))),
        };
        let Some(name) = self.under_way.remove(&id) else { return };
        let name = name.as_str();
        self.busy.remove(name);
        let now = self.control.now();
        let at = due(&self.control.tables(), name).map(|(at, _)| at);
        let at = match outcome {
            Ok(Outcome::Left) => at.map(|at| at.max(now.plus(AGAIN))),
            Ok(outcome) => {
                if let Outcome::Failed(code) = &outcome {
                    self.control.count_failure(code);
                }
                // The change of the record comes back, and with it the next date; until then not at once again.
                at.map(|at| at.max(now.plus(TURN)))
            }
            Err(error) => {
                tracing::warn!(name, %error, "a certificate could not be looked after");
                at.map(|at| at.max(now.plus(AGAIN)))
            }
        };
        self.agenda.set(name, at);
    }
}

fn wish(wishes: &mut VecDeque<String>, name: &str) {
    if wishes.len() < WISHES && !wishes.iter().any(|known| known == name) {
        wishes.push_back(name.to_owned());
    }
}

fn plan_all(agenda: &mut Agenda, tables: &Tables) {
    let names = tables.patterns.iter().chain(tables.certs.keys()).chain(tables.issuance.keys());
    for name in names {
        agenda.set(name, due(tables, name).map(|(at, _)| at));
    }
}

const _: () = assert!(AGAIN.as_secs() < LEASE.as_secs(), "a dead holder's name is soon looked at");
