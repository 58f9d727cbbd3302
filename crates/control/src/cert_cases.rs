//! The use cases about certificates: see them, upload one, have one renewed.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use auth::Permission;
use certs::{Description, Fault, check_upload};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{
    CertRecord, CertSource, CertStatus, CertificateMode, ETag, HostPattern, Revision, Secret,
    Timestamp,
};
use store::{Collection, Expect, Issuance, Key, Versioned};

use crate::error::Subject;
use crate::hosts::Conditions;
use crate::issuance::plan;
use crate::{Actor, Control, Error, FieldError};

/// How many records are read at once for a list.
const READS: usize = 32;
/// How often a write is tried again when somebody else was quicker.
const ATTEMPTS: usize = 8;

/// A certificate, or a name that none could be got for yet.
#[derive(Clone, Debug)]
pub struct CertView {
    /// The name it is kept under.
    pub name: String,
    /// The certificate; `None` while there is none.
    pub cert: Option<CertFactsView>,
    /// How it is come by; `None` for one that no authority elsewhere was asked for.
    pub issuance: Option<Issuance>,
    /// How it stands, as hosts tell it.
    pub status: CertStatus,
    /// Everything up to here is included in this view.
    pub revision: Revision,
}

/// A certificate of one's own that was put in place.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The certificate.
    pub view: CertView,
    /// Whether there was none before.
    pub created: bool,
}

/// What is told of a certificate.
#[derive(Clone, Debug)]
pub struct CertFactsView {
    /// Where it came from.
    pub source: CertSource,
    /// What it says of itself; `None` when it can't be read.
    pub description: Option<Description>,
    /// The chain, PEM.
    pub chain_pem: String,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// When it is to be replaced; `None` for one that nobody replaces.
    pub renew_at: Option<Timestamp>,
    /// The tag of its stored form.
    pub etag: ETag,
}

/// Some certificates, in the order of their names.
#[derive(Clone, Debug)]
pub struct CertPage {
    /// The certificates.
    pub certs: Vec<CertView>,
    /// What to ask for the next page with; `None` at the end.
    pub next: Option<String>,
}

/// A certificate with its key, for whoever takes it elsewhere.
#[derive(Clone, Debug)]
pub struct ExportedCert {
    /// The chain, PEM.
    pub chain_pem: String,
    /// The private key, PEM.
    pub key_pem: Secret<String>,
}

/// The use cases about certificates: [`Control::certs`].
#[derive(Clone, Copy)]
pub struct Certs<'c>(pub(crate) &'c Control);

impl Certs<'_> {
    /// At most `limit` certificates whose names come after `after`, with the names that none could be got for.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn list(
        &self,
        actor: &Actor,
        after: Option<&str>,
        limit: usize,
    ) -> Result<CertPage, Error> {
        actor.may(Permission::Read)?;
        let revision = self.0.refresh().await?;
        let (names, more) = self.page(after, limit);
        let next = names.last().filter(|_| more).cloned();
        let reads = names.into_iter().map(|name| self.view(name, revision.clone()));
        let found: Vec<_> = stream::iter(reads).buffered(READS).try_collect().await?;
        Ok(CertPage { certs: found.into_iter().flatten().collect(), next })
    }

    /// One certificate, by exactly its name.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn get(&self, actor: &Actor, name: &HostPattern) -> Result<CertView, Error> {
        actor.may(Permission::Read)?;
        let revision = self.0.refresh().await?;
        let found = self.view(name.as_str().to_owned(), revision).await?;
        found.ok_or_else(|| not_found(name))
    }

    /// One certificate with its private key: for administrators.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn export(&self, actor: &Actor, name: &HostPattern) -> Result<ExportedCert, Error> {
        actor.may(Permission::Backup)?;
        let found = self.0.store().get::<CertRecord>(name.as_str()).await?;
        let CertRecord { chain_pem, key_pem, .. } = found.ok_or_else(|| not_found(name))?.value;
        tracing::info!(%name, by = %actor.username(), "a certificate was exported with its key");
        Ok(ExportedCert { chain_pem, key_pem })
    }

    /// Puts a certificate of one's own in place of what there is. It is checked whole, and every fault named.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Stale`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn upload(
        &self,
        actor: &Actor,
        name: &HostPattern,
        chain_pem: &str,
        key_pem: &Secret<String>,
        conditions: &Conditions,
    ) -> Result<Uploaded, Error> {
        actor.may(Permission::WriteHosts)?;
        let record = check_upload(name, chain_pem, key_pem, self.0.now()).map_err(invalid)?;
        let mut created = true;
        for _ in 0..ATTEMPTS {
            let fields = self.0.store().backend().get(&key(name)).await?;
            let tag = fields.as_ref().map(store::etag);
            let holds =
                tag.as_ref().map_or(conditions.if_match.is_none(), |it| conditions.hold(it));
            if !holds {
                return Err(Error::Stale(subject(name)));
            }
            created = tag.is_none();
            if conditions.dry_run {
                break;
            }
            let expect = tag.map_or(Expect::Absent, Expect::ETag);
            match self.0.put_told(&record, expect, Some(actor.username())).await {
                Ok(written) => {
                    tracing::info!(%name, by = %actor.username(), "a certificate was uploaded");
                    self.0.certificates_changed();
                    let found = Versioned { value: record, etag: written.etag };
                    let view = self.of(name.as_str(), Some(found), None, written.revision);
                    return Ok(Uploaded { view, created });
                }
                Err(store::Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        if !conditions.dry_run {
            return Err(Error::Busy { retry_after: Duration::from_secs(1) });
        }
        let revision = self.0.refresh().await?;
        let etag = store::etag(&store::Record::to_fields(&record, self.0.store().sealer())?);
        let view = self.of(name.as_str(), Some(Versioned { value: record, etag }), None, revision);
        Ok(Uploaded { view, created })
    }

    /// Removes a certificate. A host that wants one gets the next.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn delete(
        &self,
        actor: &Actor,
        name: &HostPattern,
        conditions: &Conditions,
    ) -> Result<Revision, Error> {
        actor.may(Permission::WriteHosts)?;
        for _ in 0..ATTEMPTS {
            // Untyped: one that can't be read can still be deleted.
            let fields = self.0.store().backend().get(&key(name)).await?;
            let fields = fields.ok_or_else(|| not_found(name))?;
            if !conditions.hold(&store::etag(&fields)) {
                return Err(Error::Stale(subject(name)));
            }
            if conditions.dry_run {
                return self.0.refresh().await;
            }
            match self.0.delete_told(key(name), fields, actor.username()).await {
                Ok(revision) => {
                    tracing::info!(%name, by = %actor.username(), "a certificate was deleted");
                    self.0.certificates_changed();
                    return Ok(revision);
                }
                Err(store::Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Busy { retry_after: Duration::from_secs(1) })
    }

    /// Has the certificate of a host, or of a name under a pattern, replaced now instead of when it is due. For one of an
    /// authority elsewhere that is begun, and the view tells how it goes; one of the local authority is there at once.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that no host stands for; [`Error::Refused`] when none is issued for it;
    /// [`Error::RateLimited`] when the authority said not to ask so soon; [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn renew(&self, actor: &Actor, name: &HostPattern) -> Result<CertView, Error> {
        actor.may(Permission::WriteHosts)?;
        self.0.refresh().await?;
        match self.how(name)? {
            How::Local => self.0.renew_local(name).await?,
            How::Authority => self.force(name).await?,
        }
        tracing::info!(%name, by = %actor.username(), "a certificate is to be renewed");
        self.0.certificates_changed();
        let revision = self.0.refresh().await?;
        let found = self.view(name.as_str().to_owned(), revision.clone()).await?;
        Ok(found.unwrap_or_else(|| self.of(name.as_str(), None, None, revision)))
    }

    fn how(&self, name: &HostPattern) -> Result<How, Error> {
        let tables = self.0.tables();
        let text = name.as_str();
        if plan::at_creation(&tables, text) {
            return Ok(How::Authority);
        }
        let Some(entry) = tables.enabled.get(text).or_else(|| tables.enabled.lookup(text)) else {
            return Err(Error::NotFound(Subject::host(name)));
        };
        if entry.value().local {
            let makes = !text.contains('*');
            return if makes { Ok(How::Local) } else { Err(Error::Refused(ON_DEMAND)) };
        }
        match entry.value().mode {
            CertificateMode::None => Err(Error::Refused("the host wants no certificate")),
            CertificateMode::Custom => {
                Err(Error::Refused("the host's certificate is uploaded: upload the next one"))
            }
            _ if plan::on_demand(&tables, text) && tables.certs.contains_key(text) => {
                Ok(How::Authority)
            }
            _ if text.contains('*') => Err(Error::Refused(ON_DEMAND)),
            _ => Err(Error::Refused(
                "the certificate of a wildcard serves this name: renew that one",
            )),
        }
    }

    /// Says in the record that somebody wants it now, and forgets how long to wait.
    async fn force(&self, name: &HostPattern) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let now = self.0.now();
            let found = self.0.store().get::<Issuance>(name.as_str()).await?;
            let (mut record, expect) = match found {
                Some(found) => (found.value, Expect::ETag(found.etag)),
                None => (Issuance::new(name.clone()), Expect::Absent),
            };
            let waits = record.retry_at.filter(|at| *at > now);
            let limited = record.last_failure().is_some_and(|it| LIMITED.contains(&&*it.code));
            if let (Some(at), true) = (waits, limited) {
                return Err(Error::RateLimited { retry_after: at.since(now) });
            }
            record.forced_at = Some(now);
            record.retry_at = None;
            match self.0.store().put(&record, expect).await {
                Ok(_) => return Ok(()),
                Err(store::Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Busy { retry_after: Duration::from_secs(1) })
    }

    /// At most `limit` names after `after` that there is something to tell about, and whether there are more.
    fn page(&self, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let tables = self.0.tables();
        let from = || (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let certs = tables.certs.range::<str, _>(from()).map(|(name, _)| name);
        let tried = tables.issuance.range::<str, _>(from()).map(|(name, _)| name);
        let mut names: BTreeSet<&String> = certs.take(limit + 1).collect();
        names.extend(tried.take(limit + 1));
        let more = names.len() > limit;
        (names.into_iter().take(limit).cloned().collect(), more)
    }

    async fn view(&self, name: String, revision: Revision) -> Result<Option<CertView>, Error> {
        let cert = self.0.store().get::<CertRecord>(&name).await?;
        let issuance = self.0.store().get::<Issuance>(&name).await?.map(|found| found.value);
        let there = cert.is_some() || issuance.is_some();
        Ok(there.then(|| self.of(&name, cert, issuance, revision)))
    }

    fn of(
        &self,
        name: &str,
        cert: Option<Versioned<CertRecord>>,
        issuance: Option<Issuance>,
        revision: Revision,
    ) -> CertView {
        let window = issuance.as_ref().and_then(|it| it.window);
        let cert = cert.map(|Versioned { value, etag }| CertFactsView {
            source: value.source,
            description: certs::describe(name, &value.chain_pem).ok(),
            renew_at: match value.source {
                CertSource::Custom => None,
                CertSource::Local => {
                    Some(crate::mirror::renew_at(value.not_before, value.not_after))
                }
                _ => {
                    let facts = crate::mirror::CertFacts::of(&value);
                    Some(plan::renew_at(name, &facts, window.as_ref()))
                }
            },
            chain_pem: value.chain_pem,
            not_before: value.not_before,
            not_after: value.not_after,
            etag,
        });
        let failed = issuance.as_ref().is_some_and(|it| it.failures > 0);
        let end = cert.as_ref().map(|it| it.not_after);
        let status = CertStatus::of(end, failed, self.0.now());
        CertView { name: name.to_owned(), cert, issuance, status, revision }
    }
}

/// Codes of failures that say how long not to ask.
const LIMITED: [&str; 2] = ["rateLimited", certs::codes::LEDGER];
const ON_DEMAND: &str = "names under this pattern have a certificate each: renew that of the name";

/// Who makes the certificate of a name.
enum How {
    Local,
    Authority,
}

fn invalid(faults: Vec<Fault>) -> Error {
    let errors = faults.into_iter().map(|fault| match fault {
        Fault::Chain(detail) => FieldError::new("/chain", detail),
        Fault::Key(detail) => FieldError::new("/key", detail),
    });
    Error::Invalid { errors: errors.collect() }
}

fn key(name: &HostPattern) -> Key {
    Key::new(Collection::Cert, name.as_str())
}

fn subject(name: &HostPattern) -> Subject {
    Subject::cert(name)
}

fn not_found(name: &HostPattern) -> Error {
    Error::NotFound(subject(name))
}
