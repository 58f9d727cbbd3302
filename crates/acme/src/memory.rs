use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use certs::{BoxFuture, Journal, JournalError, OrderState, Stage};
use model::{Challenge, Secret};

/// A journal in memory, for programs that need no more: one process, one name at a time, and an account of which the program
/// keeps a copy if it wants to use it again.
///
/// How challenges are answered is the program's business: `publish` is called with each, and with the domain and token of one
/// that is over. It answers when the next request can see the change.
pub struct MemoryJournal<P> {
    publish: P,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    accounts: HashMap<String, Secret<String>>,
    order: Option<OrderState>,
    stage: Option<Stage>,
}

/// What a [`MemoryJournal`] tells its program.
#[derive(Clone, Debug)]
pub enum Publication {
    /// Answer this challenge from now on.
    Answer(Challenge),
    /// Don't, any longer.
    Forget {
        /// The name.
        domain: String,
        /// The challenge's token.
        token: String,
    },
}

impl<P: Fn(Publication) + Send + Sync> MemoryJournal<P> {
    /// An empty one.
    pub fn new(publish: P) -> Self {
        Self { publish, kept: Mutex::default() }
    }

    /// How far the order is.
    pub fn stage(&self) -> Option<Stage> {
        self.kept().stage
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, JournalError>>;

fn at_once<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl<P: Fn(Publication) + Send + Sync> Journal for MemoryJournal<P> {
    fn account<'a>(&'a self, directory: &'a str) -> Answer<'a, Option<Secret<String>>> {
        at_once(self.kept().accounts.get(directory).cloned())
    }

    fn keep_account<'a>(
        &'a self,
        directory: &'a str,
        account: Secret<String>,
    ) -> Answer<'a, Secret<String>> {
        at_once(self.kept().accounts.entry(directory.to_owned()).or_insert(account).clone())
    }

    fn forget_account<'a>(
        &'a self,
        directory: &'a str,
        account: &'a Secret<String>,
    ) -> Answer<'a, ()> {
        let mut kept = self.kept();
        if kept.accounts.get(directory) == Some(account) {
            kept.accounts.remove(directory);
        }
        at_once(())
    }

    fn order(&self) -> Answer<'_, Option<OrderState>> {
        at_once(self.kept().order.clone())
    }

    fn keep_order<'a>(&'a self, order: &'a OrderState) -> Answer<'a, ()> {
        self.kept().order = Some(order.clone());
        at_once(())
    }

    fn forget_order(&self) -> Answer<'_, ()> {
        self.kept().order = None;
        at_once(())
    }

    fn admit_order<'a>(&'a self, _directory: &'a str) -> Answer<'a, ()> {
        at_once(())
    }

    fn publish<'a>(&'a self, challenge: &'a Challenge) -> Answer<'a, ()> {
        (self.publish)(Publication::Answer(challenge.clone()));
        at_once(())
    }

    fn withdraw<'a>(&'a self, domain: &'a str, token: &'a str) -> Answer<'a, ()> {
        (self.publish)(Publication::Forget { domain: domain.to_owned(), token: token.to_owned() });
        at_once(())
    }

    fn reached(&self, stage: Stage) {
        self.kept().stage = Some(stage);
    }
}
