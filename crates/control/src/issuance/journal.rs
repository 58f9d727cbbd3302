//! What an issuer remembers, in the store, fenced by the lease of the name.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certs::{BoxFuture, Failure, Journal, JournalError, OrderState, Stage, TxtValue};
use model::{Challenge, Secret};
use serde::{Deserialize, Serialize};
use store::{
    AcmeAccount, Attempt, AttemptFailure, Collection, Expect, Issuance, Key, Lease, Record, Txn,
    Versioned,
};

use super::Lifecycle;
use super::ledger::{Admitted, order_limits};
use crate::{Control, Error};

/// How long live proxies have to take a challenge.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// How often a write is tried again when another one of the same record was quicker.
const ATTEMPTS: usize = 8;

/// The journal of one attempt.
pub(crate) struct StoreJournal<'a> {
    control: &'a Control,
    lifecycle: &'a Lifecycle,
    name: &'a str,
    lease: Lease,
    /// Whether this is to take the place of a certificate that the authority knows of.
    again: bool,
    stage: Mutex<Stage>,
    /// The authority of the last order that was begun or gone on with.
    directory: Mutex<Option<String>>,
    /// Failures of authorities after which the next one was tried, until they are kept.
    tried: Mutex<Vec<Attempt>>,
    lost: AtomicBool,
}

impl<'a> StoreJournal<'a> {
    pub(crate) fn new(
        control: &'a Control,
        lifecycle: &'a Lifecycle,
        name: &'a str,
        lease: Lease,
        again: bool,
    ) -> Self {
        let stage = Mutex::new(Stage::Account);
        let (directory, tried) = (Mutex::default(), Mutex::default());
        let lost = AtomicBool::new(false);
        Self { control, lifecycle, name, lease, again, stage, directory, tried, lost }
    }

    /// Whoever took over goes on; every write from now on fails.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// The authority of the last order.
    pub(crate) fn directory(&self) -> Option<String> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_at(&self, directory: &str) {
        let mut at = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        *at = Some(directory.to_owned());
    }

    fn tried(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record, if its last holder is still this one.
    pub(crate) async fn held(&self) -> Result<Versioned<Issuance>, JournalError> {
        if self.lost.load(Ordering::Acquire) {
            return Err(JournalError::Lost);
        }
        let found = self.control.store().get::<Issuance>(self.name).await.map_err(unkept)?;
        found.filter(|found| found.value.fence == self.lease.fence).ok_or(JournalError::Lost)
    }

    /// Changes the record.
    pub(crate) async fn change(
        &self,
        change: impl Fn(&mut Issuance) + Send,
    ) -> Result<(), JournalError> {
        self.commit(change, |_| Ok(Txn::new())).await
    }

    /// Changes the record together with others.
    pub(crate) async fn commit(
        &self,
        change: impl Fn(&mut Issuance) + Send,
        with: impl Fn(&Issuance) -> Result<Txn, store::Error> + Send,
    ) -> Result<(), JournalError> {
        for _ in 0..ATTEMPTS {
            let Versioned { value: mut record, etag } = self.held().await?;
            let before = record.clone();
            let tried = self.tried().clone();
            tried.iter().cloned().for_each(|attempt| record.remember(attempt));
            change(&mut record);
            let mut txn = with(&record).map_err(unkept)?;
            if record == before && txn.ops().is_empty() {
                return Ok(());
            }
            let fields = record.to_fields(self.control.store().sealer()).map_err(unkept)?;
            txn = txn.put(record.key(), fields, Expect::ETag(etag));
            match self.control.store().backend().commit(txn).await {
                Ok(_) => {
                    self.tried().drain(..tried.len());
                    return Ok(());
                }
                Err(store::Error::Conflict { .. }) => {}
                Err(other) => return Err(unkept(other)),
            }
        }
        Err(JournalError::Store("others keep changing the same records".into()))
    }
}

impl Journal for StoreJournal<'_> {
    fn account<'a>(
        &'a self,
        directory: &'a str,
    ) -> BoxFuture<'a, Result<Option<Secret<String>>, JournalError>> {
        Box::pin(async move {
            let found = self.control.store().get::<AcmeAccount>(directory).await;
            Ok(found.map_err(unkept)?.map(|found| found.value.account))
        })
    }

    fn keep_account<'a>(
        &'a self,
        directory: &'a str,
        account: Secret<String>,
    ) -> BoxFuture<'a, Result<Secret<String>, JournalError>> {
        Box::pin(async move {
            self.held().await?;
            let record = AcmeAccount {
                directory: directory.to_owned(),
                account,
                created_at: self.control.now(),
            };
            match self.control.store().put(&record, Expect::Absent).await {
                Ok(_) => Ok(record.account),
                Err(store::Error::Conflict { .. }) => {
                    let theirs = self.account(directory).await?;
                    theirs.ok_or_else(|| JournalError::Store("an account came and went".into()))
                }
                Err(other) => Err(unkept(other)),
            }
        })
    }

    fn forget_account<'a>(
        &'a self,
        directory: &'a str,
        account: &'a Secret<String>,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.held().await?;
            let found = self.control.store().get::<AcmeAccount>(directory).await.map_err(unkept)?;
            let Some(found) = found.filter(|found| found.value.account == *account) else {
                return Ok(());
            };
            let expect = Expect::ETag(found.etag);
            match self.control.store().delete::<AcmeAccount>(directory, expect).await {
                Ok(_) | Err(store::Error::Conflict { .. }) => Ok(()),
                Err(other) => Err(unkept(other)),
            }
        })
    }

    fn order(&self) -> BoxFuture<'_, Result<Option<OrderState>, JournalError>> {
        Box::pin(async move {
            let record = self.held().await?.value;
            let order = record.order.as_deref().and_then(|text| read_order(text, record.order_key));
            order.iter().for_each(|order| self.is_at(&order.directory));
            Ok(order)
        })
    }

    fn keep_order<'a>(&'a self, order: &'a OrderState) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.is_at(&order.directory);
            let stage = self.stage();
            let text = order_text(order);
            self.change(|record| {
                record.order = Some(text.clone());
                record.order_key = Some(order.key_pem.clone());
                record.stage = Some(stage.name().to_owned());
            })
            .await
        })
    }

    fn forget_order(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(self.change(|record| {
            record.order = None;
            record.order_key = None;
        }))
    }

    fn admit_order<'a>(&'a self, directory: &'a str) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.held().await?;
            let limits = self.lifecycle.limits(directory);
            let limits = order_limits(directory, &limits, self.name, self.again);
            match self.control.admit(&limits).await {
                Ok(Admitted::Yes) => Ok(()),
                Ok(Admitted::No { rule, retry_after }) => {
                    Err(JournalError::Limited { rule, retry_after })
                }
                Err(error) => Err(JournalError::Store(error.into())),
            }
        })
    }

    fn publish<'a>(&'a self, challenge: &'a Challenge) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.held().await?;
            let written = self.control.store().put(challenge, Expect::Any).await.map_err(unkept)?;
            let applied = self.control.wait_applied(&written.revision, SERVED_WITHIN).await;
            match applied.map_err(|error: Error| JournalError::Store(error.into()))? {
                applied if applied.applied => Ok(()),
                applied => Err(JournalError::NotServed { laggards: applied.laggards }),
            }
        })
    }

    fn withdraw<'a>(
        &'a self,
        domain: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        // Not fenced: the token is this order's alone, and the less of it is left the better.
        Box::pin(async move {
            let key = Key::new(Collection::Challenge, format!("{domain}:{token}"));
            let gone = self.control.store().backend().commit(Txn::new().delete(key, Expect::Any));
            gone.await.map(drop).map_err(unkept)
        })
    }

    fn tried(&self, failure: &Failure) {
        let attempt = Attempt {
            at: self.control.now(),
            took_ms: 0,
            holder: self.control.instance().to_owned(),
            directory: failure.directory.clone(),
            failure: Some(told(failure)),
        };
        StoreJournal::tried(self).push(attempt);
    }

    fn reached(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}

/// A failure as it is remembered.
pub(crate) fn told(failure: &Failure) -> AttemptFailure {
    AttemptFailure {
        stage: failure.stage.name().to_owned(),
        code: failure.code.clone(),
        detail: failure.detail.clone(),
        problem: failure.problem.clone(),
    }
}

fn unkept(error: store::Error) -> JournalError {
    JournalError::Store(error.into())
}

/// An order as it stands in the record; its key stands beside it, sealed.
#[derive(Serialize, Deserialize)]
struct StoredOrder {
    directory: String,
    url: String,
    txt: Vec<StoredTxt>,
    challenges: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct StoredTxt {
    provider: String,
    zone: String,
    name: String,
    value: String,
}

fn order_text(order: &OrderState) -> String {
    let txt = order.txt.iter().map(|txt| StoredTxt {
        provider: txt.provider.clone(),
        zone: txt.zone.clone(),
        name: txt.name.clone(),
        value: txt.value.clone(),
    });
    let stored = StoredOrder {
        directory: order.directory.clone(),
        url: order.url.clone(),
        txt: txt.collect(),
        challenges: order.challenges.clone(),
    };
    // Texts and lists of them can always be said in JSON.
    serde_json::to_string(&stored).unwrap_or_default()
}

/// `None` for what no version of ours wrote: there is nothing to go on with.
fn read_order(text: &str, key: Option<Secret<String>>) -> Option<OrderState> {
    let stored: StoredOrder = serde_json::from_str(text).ok()?;
    let txt = stored.txt.into_iter().map(|txt| TxtValue {
        provider: txt.provider,
        zone: txt.zone,
        name: txt.name,
        value: txt.value,
    });
    Some(OrderState {
        directory: stored.directory,
        url: stored.url,
        key_pem: key?,
        txt: txt.collect(),
        challenges: stored.challenges,
    })
}
