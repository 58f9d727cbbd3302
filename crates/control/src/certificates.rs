use std::time::Duration;

use certs::LocalCa;
use model::{CertRecord, CertSource, CertWanted, HostPattern, Revision, Timestamp};
use runtime::{BackgroundTask, BoxError};
use store::{Changes, Collection, Expect};

use crate::agenda::Agenda;
use crate::mirror::{Tables, for_each};
use crate::{Control, Error};

/// How many certificates one turn makes or drops before it looks around again.
const BATCH: usize = 64;
/// How often a renewal is tried again when somebody else wrote at once.
const RENEWALS: usize = 8;
/// How long a name is left alone after a failure.
const RETRY: Duration = Duration::from_secs(60);
/// How long the lock of a name lasts when its holder dies.
const LOCK: Duration = Duration::from_secs(30);
/// How many certificates are made on demand: so many at once, and so many a second.
const BURST: u32 = 20;
const PER_SECOND: u32 = 10;
/// How many certificates made on demand are kept. Each is dropped at two thirds of its life; who still wants one by
/// then gets the next.
const MOST_ON_DEMAND: usize = 10_000;

/// Keeps the certificates of the local authority as they should be: an exact name has one, a name under a pattern gets
/// one when a client asks for it, each is renewed in time, and those of nobody are dropped.
///
/// Several replicas may run it: a lock per name keeps them apart, and after getting it the work is checked again.
pub(crate) struct Certificates {
    control: Control,
    /// Up to where changes were looked at.
    reached: Option<Revision>,
    agenda: Agenda,
    budget: Budget,
}

/// What is to be done for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Issue,
    Drop,
}

impl Certificates {
    pub(crate) fn new(control: Control) -> Self {
        let budget = Budget { left: BURST, since: control.now() };
        Self { control, reached: None, agenda: Agenda::default(), budget }
    }
}

impl BackgroundTask for Certificates {
    fn name(&self) -> &'static str {
        "local certificates"
    }

    async fn activate(&mut self) -> Result<String, BoxError> {
        self.look_at_changes().await?;
        let mut turn =
            Turn { control: self.control.clone(), authority: None, issued: 0, dropped: 0 };
        let planned = self.work_off(&mut turn).await;
        let wanted = self.answer_wishes(&mut turn).await;
        planned.and(wanted)?;
        Ok(format!("issued {}, dropped {}", turn.issued, turn.dropped))
    }
}

impl Certificates {
    /// Puts every name that changed on the agenda.
    async fn look_at_changes(&mut self) -> Result<(), Error> {
        let backend = self.control.store().backend().clone();
        let changes = match &self.reached {
            Some(revision) => backend.changes_since(revision).await?,
            None => Changes::Reset { revision: backend.revision().await? },
        };
        self.control.refresh().await?;
        let tables = self.control.tables();
        let revision = match changes {
            Changes::Keys { revision, keys } => {
                let relevant = |key: &&store::Key| {
                    matches!(key.collection, Collection::Cert | Collection::Host)
                };
                for key in keys.iter().filter(relevant) {
                    self.agenda.set(&key.id, due(&tables, &key.id).map(|(at, _)| at));
                }
                // A pattern may take or leave any name below it.
                if keys.iter().any(|key| key.collection == Collection::Host && key.id.contains('*'))
                {
                    plan(&mut self.agenda, &tables, tables.certs.keys());
                }
                revision
            }
            Changes::Reset { revision } => {
                self.agenda.clear();
                plan(&mut self.agenda, &tables, tables.patterns.iter().chain(tables.certs.keys()));
                revision
            }
        };
        drop(tables);
        self.reached = Some(revision);
        Ok(())
    }

    /// Does what is due. One name's failure does not keep the others; the first is returned.
    async fn work_off(&mut self, turn: &mut Turn) -> Result<(), Error> {
        let now = self.control.now();
        let names = self.agenda.due(now, BATCH);
        if names.len() == BATCH {
            self.control.certificates_changed();
        }
        let mut outcome = Ok(());
        for name in names {
            let action = due(&self.control.tables(), &name).filter(|(at, _)| *at <= now);
            let done = match action {
                Some((_, Action::Issue)) => turn.issue(&name).await,
                Some((_, Action::Drop)) => turn.drop(&name).await,
                None => Ok(()),
            };
            // What was done comes back as a change, with the next date.
            self.agenda.set(&name, Some(now.plus(RETRY)));
            if let Err(error) = done {
                tracing::warn!(name, %error, "a local certificate could not be looked after");
                outcome = outcome.and(Err(error));
            }
        }
        outcome
    }

    /// Makes certificates for names that clients asked for, if a local pattern answers for them.
    async fn answer_wishes(&mut self, turn: &mut Turn) -> Result<(), Error> {
        let mut names = Vec::new();
        for_each::<CertWanted>(self.control.store(), |wanted| names.push(wanted.name)).await?;
        let now = self.control.now();
        let mut outcome = Ok(());
        for name in names {
            let name = name.as_str();
            if !may_have(&self.control.tables(), name, now) {
                continue;
            }
            if !self.budget.take(now) {
                break; // the timer comes back to it
            }
            let issued = turn.issue(name).await;
            outcome = outcome.and(issued);
        }
        outcome
    }
}

/// One turn's work, with the authority opened at most once.
struct Turn {
    control: Control,
    authority: Option<LocalCa>,
    issued: u32,
    dropped: u32,
}

impl Turn {
    async fn issue(&mut self, name: &str) -> Result<(), Error> {
        let backend = self.control.store().backend().clone();
        let lock = format!("certificate-{name}");
        let Some(lease) = backend.acquire(&lock, self.control.instance(), LOCK).await? else {
            return Ok(()); // another replica is at it
        };
        let outcome = self.issue_alone(name).await;
        if let Err(error) = backend.release(&lease).await {
            tracing::debug!(%error, lock, "a lock was not released");
        }
        outcome
    }

    async fn issue_alone(&mut self, name: &str) -> Result<(), Error> {
        let pattern: HostPattern = name.parse().map_err(internal)?;
        let now = self.control.now();
        let current = self.control.store().get::<CertRecord>(name).await?;
        if current.as_ref().is_some_and(|found| !replaceable(&found.value, now)) {
            return Ok(()); // another replica was quicker
        }
        let authority = match self.authority.take() {
            Some(opened) => opened,
            None => self.control.local_authority().await?,
        };
        let made = self.authority.insert(authority).issue(&pattern, now).map_err(internal)?;
        let expect = current.map_or(Expect::Absent, |found| Expect::ETag(found.etag));
        match self.control.store().put(&made, expect).await {
            Ok(_) => {
                tracing::info!(name, not_after = %made.not_after, "issued a local certificate");
                self.issued += 1;
                Ok(())
            }
            Err(store::Error::Conflict { .. }) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    async fn drop(&mut self, name: &str) -> Result<(), Error> {
        let Some(found) = self.control.store().get::<CertRecord>(name).await? else {
            return Ok(());
        };
        if found.value.source != CertSource::Local {
            return Ok(());
        }
        match self.control.store().delete::<CertRecord>(name, Expect::ETag(found.etag)).await {
            Ok(_) => {
                self.dropped += 1;
                Ok(())
            }
            Err(store::Error::Conflict { .. }) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }
}

impl Control {
    /// Makes the next certificate of the local authority for a name, now.
    pub(crate) async fn renew_local(&self, name: &HostPattern) -> Result<(), Error> {
        let authority = self.local_authority().await?;
        for _ in 0..RENEWALS {
            let current = self.store().get::<CertRecord>(name.as_str()).await?;
            let expect = current.map_or(Expect::Absent, |found| Expect::ETag(found.etag));
            let made = authority.issue(name, self.now()).map_err(internal)?;
            match self.store().put(&made, expect).await {
                Ok(_) => return Ok(()),
                Err(store::Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Busy { retry_after: Duration::from_secs(1) })
    }
}

fn plan<'n>(agenda: &mut Agenda, tables: &Tables, names: impl Iterator<Item = &'n String>) {
    for name in names {
        agenda.set(name, due(tables, name).map(|(at, _)| at));
    }
}

/// When something is to be done about the certificate of a name, and what.
fn due(tables: &Tables, name: &str) -> Option<(Timestamp, Action)> {
    let at_once = Timestamp::from_millis(0);
    let cert = tables.certs.get(name);
    let host = tables.enabled.get(name).filter(|host| host.value().local && !name.contains('*'));
    match (host, cert) {
        (Some(_), None) => Some((at_once, Action::Issue)),
        (Some(_), Some(cert)) if cert.source == CertSource::Local => {
            Some((cert.renew_at(), Action::Issue))
        }
        // Uploaded: ours to replace only when it is of no more use.
        (Some(_), Some(cert)) => Some((cert.not_after, Action::Issue)),
        (None, Some(cert)) if cert.source == CertSource::Local => {
            let answered = tables.enabled.lookup(name).is_some_and(|host| host.value().local);
            Some((if answered { cert.renew_at() } else { at_once }, Action::Drop))
        }
        (None, _) => None,
    }
}

/// Whether a name that a client asked for gets a certificate of its own: a local pattern answers for it, nothing
/// covers it yet, and there are not too many.
fn may_have(tables: &Tables, name: &str, now: Timestamp) -> bool {
    let answers = tables.enabled.lookup(name);
    let local = answers.is_some_and(|host| host.value().local && host.pattern().contains('*'));
    local
        && tables.covering(name).is_none_or(|cert| cert.not_after <= now)
        && tables.certs.len() < tables.patterns.len() + MOST_ON_DEMAND
}

fn replaceable(cert: &CertRecord, now: Timestamp) -> bool {
    let end = match cert.source {
        CertSource::Local => crate::mirror::renew_at(cert.not_before, cert.not_after),
        _ => cert.not_after,
    };
    end <= now
}

fn internal(error: impl Into<BoxError>) -> Error {
    Error::Internal(error.into())
}

/// A bucket of [`BURST`] tokens that fills with [`PER_SECOND`].
#[derive(Debug)]
struct Budget {
    left: u32,
    since: Timestamp,
}

impl Budget {
    fn take(&mut self, now: Timestamp) -> bool {
        let seconds = now.since(self.since).as_secs();
        if seconds > 0 {
            let more = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(PER_SECOND);
            self.left = self.left.saturating_add(more).min(BURST);
            self.since = now;
        }
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }
}
