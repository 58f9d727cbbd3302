use std::time::Duration;

use certs::{Failure, Journal, JournalError, RenewalWindow, Request, Stage, codes};
use model::{CertRecord, CertSource, Timestamp};
use store::{Attempt, AttemptFailure, Expect, Issuance, Lease, Record, Txn, Versioned, Window};

use super::Lifecycle;
use super::driver::Held;
use super::journal::{StoreJournal, told};
use super::ledger::failed_validation;
use super::plan::{Step, backoff, due};
use crate::{Control, Error};
use runtime::with_causes;

/// How long the lease of a name lasts when its holder dies.
pub(crate) const LEASE: Duration = Duration::from_secs(20);
/// How long before its end a lease that can't be renewed counts as lost.
const MARGIN: Duration = Duration::from_secs(4);
/// How long an issuer may take to clear up when its lease is lost.
const CLEAR_UP: Duration = Duration::from_secs(60);
/// When an authority without an opinion on renewal is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);
/// When one is asked again that could not be asked.
const ASK_SOON: Duration = Duration::from_secs(60 * 60);
/// Bounds of how soon an authority may have itself asked again (RFC 9773 §4.3).
const ASK_BOUNDS: (Duration, Duration) = (Duration::from_secs(60), ASK_AGAIN);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Issued,
    /// With the code of the failure.
    Failed(String),
    /// Somebody else is at it, or nothing was to be done any more.
    Left,
    Cleared,
    Asked,
}

/// Does for one name what is due, if it still is once the lease is held. `demanded`: a client waits for a certificate
/// for which nothing is planned.
pub(crate) async fn attempt(
    control: &Control,
    lifecycle: &Lifecycle,
    held: &Held,
    name: &str,
    demanded: bool,
) -> Result<Outcome, Error> {
    let backend = control.store().backend().clone();
    let lock = format!("certificate-{name}");
    let Some(lease) = backend.acquire(&lock, control.instance(), LEASE).await? else {
        return Ok(Outcome::Left);
    };
    held.insert(name, lease.clone());
    let one = One { control, lifecycle, name, lease: &lease };
    let outcome = one.run(demanded).await;
    held.remove(name);
    if let Err(error) = backend.release(&lease).await {
        tracing::debug!(%error, lock, "a lock was not released");
    }
    outcome
}

/// One name, while its lease is held.
struct One<'a> {
    control: &'a Control,
    lifecycle: &'a Lifecycle,
    name: &'a str,
    lease: &'a Lease,
}

impl One<'_> {
    async fn run(&self, demanded: bool) -> Result<Outcome, Error> {
        // Whoever had the lease before may have done it all.
        self.control.refresh().await?;
        let now = self.control.now();
        let step = due(&self.control.tables(), self.name).filter(|(at, _)| *at <= now);
        let step = match step.map(|(_, step)| step) {
            Some(step) => step,
            None if demanded
                && super::plan::wish_counts(&self.control.tables(), self.name, now) =>
            {
                Step::Issue
            }
            None => return Ok(Outcome::Left),
        };
        match step {
            Step::Issue => self.issue(now).await,
            Step::AskWindow => self.ask_window(now).await,
            Step::Drop => self.drop().await,
        }
    }

    async fn issue(&self, started: Timestamp) -> Result<Outcome, Error> {
        let found = self.control.store().get::<CertRecord>(self.name).await?;
        let replaced = found.as_ref().filter(|it| it.value.source == CertSource::Acme);
        let request = Request {
            name: self.name.parse().map_err(|error| Error::Internal(Box::new(error)))?,
            key_kind: self.lifecycle.key_kind,
            replaces: replaced.map(|found| found.value.chain_pem.clone()),
        };
        let journal = self.journal(request.replaces.is_some());
        self.take_over(started).await?;
        tracing::info!(name = self.name, "getting a certificate");
        let made = self.guarded(&journal, self.lifecycle.issuer.issue(&request, &journal)).await;
        let kept = match made {
            Ok(cert) => self.keep(&journal, &cert, found, started).await,
            Err(failure) => Err(failure),
        };
        match kept {
            Ok(()) => Ok(Outcome::Issued),
            Err(failure) if failure.code == codes::LOST => Ok(Outcome::Left),
            Err(failure) => self.fail(&journal, failure, started).await,
        }
    }

    fn journal(&self, again: bool) -> StoreJournal<'_> {
        StoreJournal::new(self.control, self.lifecycle, self.name, self.lease.clone(), again)
    }

    /// Writes the fence into the record, which shuts out whoever held the lease before.
    async fn take_over(&self, now: Timestamp) -> Result<(), Error> {
        loop {
            let found = self.control.store().get::<Issuance>(self.name).await?;
            let (mut record, expect) = match found {
                Some(Versioned { value, etag }) => (value, Expect::ETag(etag)),
                None => {
                    let name = self.name.parse();
                    let name = name.map_err(|error| Error::Internal(Box::new(error)))?;
                    (Issuance::new(name), Expect::Absent)
                }
            };
            if record.fence > self.lease.fence {
                return Err(Error::Busy { retry_after: LEASE });
            }
            record.fence = self.lease.fence;
            record.holder = self.control.instance().to_owned();
            record.started_at = Some(now);
            match self.control.store().put(&record, expect).await {
                Ok(_) => return Ok(()),
                Err(store::Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Lets the issuer work for as long as the lease can be kept. When it is lost the journal refuses everything, and
    /// the issuer has a while to clear up after itself.
    async fn guarded<T>(
        &self,
        journal: &StoreJournal<'_>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        let lost = self.keep_lease();
        tokio::select! {
            biased;
            () = lost => journal.lose(),
            outcome = &mut work => return outcome,
        }
        tracing::warn!(
            name = self.name,
            "the lease of a certificate was lost; another replica goes on"
        );
        tokio::select! {
            outcome = work => Err(outcome.err().unwrap_or_else(|| self.lost())),
            () = self.control.clock().sleep(CLEAR_UP) => Err(self.lost()),
        }
    }

    /// Ends when the lease is lost.
    async fn keep_lease(&self) {
        let backend = self.control.store().backend();
        let mut good_until = self.control.now().plus(LEASE);
        loop {
            self.control.clock().sleep(LEASE / 4).await;
            let asked = self.control.now();
            match backend.renew(self.lease, LEASE).await {
                Ok(true) => good_until = asked.plus(LEASE),
                Ok(false) => return,
                Err(error) => tracing::debug!(%error, name = self.name, "a lease was not renewed"),
            }
            if self.control.now().plus(MARGIN) > good_until {
                return;
            }
        }
    }

    fn lost(&self) -> Failure {
        failure(Stage::Order, codes::LOST, "another replica has taken over this name".to_owned())
    }

    /// Commits the certificate and the end of the order at once, if the lease is still held.
    async fn keep(
        &self,
        journal: &StoreJournal<'_>,
        cert: &CertRecord,
        before: Option<Versioned<CertRecord>>,
        started: Timestamp,
    ) -> Result<(), Failure> {
        let ended = self.control.now();
        let expect = before.map_or(Expect::Absent, |found| Expect::ETag(found.etag));
        let attempt = self.told(started, journal.directory(), None);
        let done = |record: &mut Issuance| {
            record.order = None;
            record.order_key = None;
            record.started_at = None;
            record.stage = None;
            record.failures = 0;
            record.retry_at = None;
            record.forced_at = None;
            record.window = None;
            record.remember(attempt.clone());
        };
        let with_cert = |_: &Issuance| {
            let fields = cert.to_fields(self.control.store().sealer())?;
            Ok(Txn::new().put(cert.key(), fields, expect.clone()))
        };
        journal.reached(Stage::Store);
        journal
            .commit(done, with_cert)
            .await
            .map_err(|error| self.of_journal(Stage::Store, error))?;
        let took = ended.since(started);
        tracing::info!(name = self.name, not_after = %cert.not_after, ?took, "got a certificate");
        Ok(())
    }

    async fn fail(
        &self,
        journal: &StoreJournal<'_>,
        failure: Failure,
        started: Timestamp,
    ) -> Result<Outcome, Error> {
        let now = self.control.now();
        let directory = failure.directory.clone();
        let attempt = self.told(started, directory.clone(), Some(told(&failure)));
        let changed = journal.change(|record| {
            record.started_at = None;
            record.stage = None;
            record.forced_at = None;
            record.failures = record.failures.saturating_add(1);
            let wait = backoff(self.name, record.failures);
            record.retry_at = Some(now.plus(wait.max(failure.retry_after.unwrap_or_default())));
            record.remember(attempt.clone());
        });
        let (stage, code) = (failure.stage, failure.code.as_str());
        let error = with_causes(&failure);
        tracing::warn!(name = self.name, %stage, code, error, "no certificate could be got");
        match changed.await {
            Err(JournalError::Lost) => return Ok(Outcome::Left),
            Err(error) => tracing::warn!(name = self.name, %error, "a failure could not be kept"),
            Ok(()) => {}
        }
        if let (Stage::Validation, Some(directory)) = (failure.stage, directory) {
            let limits = self.lifecycle.limits(&directory);
            if let Some(limit) = failed_validation(&directory, &limits, self.name) {
                self.control.admit(&[limit]).await?;
            }
        }
        Ok(Outcome::Failed(failure.code))
    }

    async fn ask_window(&self, now: Timestamp) -> Result<Outcome, Error> {
        let Some(found) = self.control.store().get::<CertRecord>(self.name).await? else {
            return Ok(Outcome::Left);
        };
        self.take_over_quietly().await?;
        let journal = self.journal(true);
        let asked = self.guarded(&journal, async {
            self.lifecycle.issuer.renewal_window(&found.value.chain_pem).await
        });
        let window = match asked.await {
            Ok(Some(RenewalWindow { start, end, ask_again })) => {
                let ask_at = now.plus(ask_again.clamp(ASK_BOUNDS.0, ASK_BOUNDS.1));
                Window { start: Some(start), end: Some(end), ask_at }
            }
            Ok(None) => Window { start: None, end: None, ask_at: now.plus(ASK_AGAIN) },
            Err(failure) => {
                tracing::debug!(
                    name = self.name,
                    error = with_causes(&failure),
                    "no renewal window"
                );
                let before = self.control.tables().issuance.get(self.name).and_then(|it| it.window);
                let soon = failure.retry_after.unwrap_or_default().max(ASK_SOON);
                let none = Window { start: None, end: None, ask_at: now };
                Window { ask_at: now.plus(soon), ..before.unwrap_or(none) }
            }
        };
        let kept = journal.change(|record| record.window = Some(window)).await;
        match kept {
            Ok(()) => Ok(Outcome::Asked),
            Err(JournalError::Lost) => Ok(Outcome::Left),
            Err(other) => Err(Error::Internal(other.into())),
        }
    }

    /// As [`One::take_over`], for what is no order.
    async fn take_over_quietly(&self) -> Result<(), Error> {
        let found = self.control.store().get::<Issuance>(self.name).await?;
        let started = found.and_then(|found| found.value.started_at);
        self.take_over(started.unwrap_or_else(|| self.control.now())).await?;
        if started.is_none() {
            let journal = self.journal(true);
            let kept = journal.change(|record| record.started_at = None).await;
            kept.map_err(|error| Error::Internal(error.into()))?;
        }
        Ok(())
    }

    /// Removes the certificate, clears away an order under way, and forgets the attempts.
    async fn drop(&self) -> Result<Outcome, Error> {
        self.take_over_quietly().await?;
        let journal = self.journal(false);
        if journal.held().await.is_ok_and(|found| found.value.order.is_some()) {
            let cleared = self.guarded(&journal, self.lifecycle.issuer.abandon(&journal)).await;
            if let Err(failure) = cleared {
                return self.fail(&journal, failure, self.control.now()).await;
            }
        }
        let cert = self.control.store().get::<CertRecord>(self.name).await?;
        let cert = cert.filter(|found| found.value.source == CertSource::Acme);
        let held = match journal.held().await {
            Ok(held) => held,
            Err(JournalError::Lost) => return Ok(Outcome::Left),
            Err(other) => return Err(Error::Internal(other.into())),
        };
        let mut txn = Txn::new().delete(held.value.key(), Expect::ETag(held.etag));
        if let Some(cert) = cert {
            txn = txn.delete(cert.value.key(), Expect::ETag(cert.etag));
            tracing::info!(name = self.name, "dropped a certificate that no host wants");
        }
        match self.control.store().backend().commit(txn).await {
            Ok(_) => Ok(Outcome::Cleared),
            Err(store::Error::Conflict { .. }) => Ok(Outcome::Left),
            Err(other) => Err(other.into()),
        }
    }

    fn told(
        &self,
        started: Timestamp,
        directory: Option<String>,
        failure: Option<AttemptFailure>,
    ) -> Attempt {
        let at = self.control.now();
        let took_ms = u64::try_from(at.since(started).as_millis()).unwrap_or(u64::MAX);
        Attempt { at, took_ms, holder: self.control.instance().to_owned(), directory, failure }
    }

    fn of_journal(&self, stage: Stage, error: JournalError) -> Failure {
        let code = match error {
            JournalError::Lost => codes::LOST,
            _ => codes::STORE,
        };
        let detail = format!("the certificate of {} was made, but can't be kept", self.name);
        Failure { source: Some(error.into()), ..failure(stage, code, detail) }
    }
}

fn failure(stage: Stage, code: &str, detail: String) -> Failure {
    Failure {
        stage,
        code: code.to_owned(),
        detail,
        problem: None,
        directory: None,
        retry_after: None,
        source: None,
    }
}
