//! A journal whose holder can be killed, stopped and robbed of its lease at any call.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acme::{MemoryJournal, Publication};
use certs::{BoxFuture, Failure, Journal, JournalError, OrderState, Stage};
use model::{Challenge, Secret};
use tokio::sync::Notify;

type Publish = Box<dyn Fn(Publication) + Send + Sync>;

/// What happens to a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is killed: it gets no answer, to this call or any other.
    Killed,
    /// It stands still, and when it [goes on](Holder::go_on) the lease is lost.
    Stopped,
    /// It hears that the lease is lost.
    Robbed,
    /// This once the state can't be written.
    Unwritable,
    /// A proxy takes no challenge.
    Unserved,
}

/// Who works on a name, on the state that all holders of it share, one after the other.
pub(crate) struct Holder {
    kept: Arc<MemoryJournal<Publish>>,
    pub(crate) tried: Mutex<Vec<String>>,
    pub(crate) stages: Mutex<Vec<Stage>>,
    /// What a new order is refused with.
    pub(crate) limit: Mutex<Option<Duration>>,
    fate: Option<(usize, Fate)>,
    calls: AtomicUsize,
    befallen: Notify,
    resumed: Notify,
}

impl Holder {
    pub(crate) fn new(publish: impl Fn(Publication) + Send + Sync + 'static) -> Self {
        Self::on(Arc::new(MemoryJournal::new(Box::new(publish))), None)
    }

    fn on(kept: Arc<MemoryJournal<Publish>>, fate: Option<(usize, Fate)>) -> Self {
        Self {
            kept,
            tried: Mutex::default(),
            stages: Mutex::default(),
            limit: Mutex::default(),
            fate,
            calls: AtomicUsize::new(0),
            befallen: Notify::new(),
            resumed: Notify::new(),
        }
    }

    /// The holder after this one.
    pub(crate) fn next(&self) -> Self {
        Self::on(self.kept.clone(), None)
    }

    /// The same, to whom something happens at one of its calls, the first being 1.
    pub(crate) fn doomed(&self, call: usize, fate: Fate) -> Self {
        Self::on(self.kept.clone(), Some((call, fate)))
    }

    /// Waits until it has happened.
    pub(crate) async fn befallen(&self) {
        self.befallen.notified().await;
    }

    pub(crate) fn go_on(&self) {
        self.resumed.notify_one();
    }

    /// That no order is kept.
    pub(crate) async fn check_empty(&self) {
        let order = self.kept.order().await.unwrap();
        assert!(order.is_none(), "still kept: {order:?}");
    }

    pub(crate) async fn kept_order(&self) -> Option<OrderState> {
        self.kept.order().await.unwrap()
    }

    async fn call(&self) -> Result<(), JournalError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let Some((at, fate)) = self.fate.filter(|(at, _)| call >= *at) else { return Ok(()) };
        if call == at {
            self.befallen.notify_one();
        }
        match fate {
            Fate::Killed => pending().await,
            Fate::Stopped if call == at => self.resumed.notified().await,
            Fate::Unwritable if call == at => {
                return Err(JournalError::Store("the disk is full".into()));
            }
            Fate::Unwritable | Fate::Unserved => return Ok(()),
            Fate::Stopped | Fate::Robbed => {}
        }
        Err(JournalError::Lost)
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, JournalError>>;

impl Journal for Holder {
    fn account<'a>(&'a self, directory: &'a str) -> Answer<'a, Option<Secret<String>>> {
        self.kept.account(directory)
    }

    fn keep_account<'a>(
        &'a self,
        directory: &'a str,
        account: Secret<String>,
    ) -> Answer<'a, Secret<String>> {
        Box::pin(async move {
            self.call().await?;
            self.kept.keep_account(directory, account).await
        })
    }

    fn forget_account<'a>(
        &'a self,
        directory: &'a str,
        account: &'a Secret<String>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            self.call().await?;
            self.kept.forget_account(directory, account).await
        })
    }

    fn order(&self) -> Answer<'_, Option<OrderState>> {
        self.kept.order()
    }

    fn keep_order<'a>(&'a self, order: &'a OrderState) -> Answer<'a, ()> {
        Box::pin(async move {
            self.call().await?;
            self.kept.keep_order(order).await
        })
    }

    fn forget_order(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.call().await?;
            self.kept.forget_order().await
        })
    }

    fn admit_order<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.call().await?;
            let limit = *self.limit.lock().unwrap();
            limit.map_or(Ok(()), |retry_after| {
                Err(JournalError::Limited { rule: "three orders a day".to_owned(), retry_after })
            })
        })
    }

    fn publish<'a>(&'a self, challenge: &'a Challenge) -> Answer<'a, ()> {
        Box::pin(async move {
            self.call().await?;
            if matches!(self.fate, Some((_, Fate::Unserved))) {
                return Err(JournalError::NotServed { laggards: vec!["slow-proxy".to_owned()] });
            }
            self.kept.publish(challenge).await
        })
    }

    fn withdraw<'a>(&'a self, domain: &'a str, token: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.call().await?;
            self.kept.withdraw(domain, token).await
        })
    }

    fn reached(&self, stage: Stage) {
        self.stages.lock().unwrap().push(stage);
    }

    fn tried(&self, failure: &Failure) {
        self.tried.lock().unwrap().push(failure.code.clone());
    }
}
