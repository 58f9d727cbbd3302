use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hosttree::HostTree;
use model::{CertRecord, CertSource, CertificateMode, Host, Revision, Timestamp};
use store::{Changes, Collection, Domain, Fields, Issuance, Key, Record, Store, Touched};
use tokio::sync::Mutex as AsyncMutex;

use crate::Error;
use crate::record_text::record_text;

/// How many records are read at once when everything is read.
const PAGE: usize = 500;

/// What control remembers of all hosts, certificates, orders and DNS zones, kept up to date record by record.
///
/// Answers come after [`Mirror::refresh`], so that they include everything that was committed before the question:
/// the mirror saves reading, not asking. A change costs its own records; only a replaced store is read whole.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// Up to where the tables go; held while they are brought up to date, so that one caller does it for all.
    reached: AsyncMutex<Option<Revision>>,
    tables: Mutex<Tables>,
}

/// The tables themselves.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Whether they were ever read.
    pub(crate) loaded: bool,
    /// The patterns that take part in lookup.
    pub(crate) enabled: HostTree<HostFacts>,
    /// All patterns, in order.
    pub(crate) patterns: BTreeSet<String>,
    /// All certificates by their name.
    pub(crate) certs: BTreeMap<String, CertFacts>,
    /// How certificates of authorities are come by, by their name.
    pub(crate) issuance: BTreeMap<String, IssuanceFacts>,
    /// The ids of the providers that have a zone, by its name.
    pub(crate) zones: BTreeMap<String, BTreeSet<String>>,
}

/// What is remembered of a host.
#[derive(Clone, Debug)]
pub(crate) struct HostFacts {
    /// Whether its certificates come from the local authority.
    pub(crate) local: bool,
    /// How it comes by its certificate.
    pub(crate) mode: CertificateMode,
    /// The whole of it as [`record_text`] has it: the shortest form to keep for an answer.
    pub(crate) record: Arc<str>,
}

/// What is remembered of a certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertFacts {
    pub(crate) source: CertSource,
    /// Whether the certificate of `*.x` covers `x` as well. One that was uploaded may not.
    pub(crate) covers_base: bool,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// What is remembered of how a certificate is come by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuanceFacts {
    pub(crate) retry_at: Option<Timestamp>,
    pub(crate) forced: bool,
    pub(crate) failures: u32,
    pub(crate) window: Option<store::Window>,
    /// Whether an order was begun and not cleared away.
    pub(crate) order: bool,
    /// How far an order under way is.
    pub(crate) stage: Option<Arc<str>>,
    /// Code, stage and sentence of the last failure.
    pub(crate) failure: Option<Arc<store::AttemptFailure>>,
}

impl IssuanceFacts {
    fn of(record: &Issuance) -> Self {
        let failure = record.last_failure().filter(|_| record.failures > 0).cloned();
        Self {
            retry_at: record.retry_at,
            forced: record.forced_at.is_some(),
            failures: record.failures,
            window: record.window,
            order: record.order.is_some(),
            stage: record.stage.as_deref().map(Into::into),
            // The whole document is read where it is shown.
            failure: failure
                .map(|failure| store::AttemptFailure { problem: None, ..failure }.into()),
        }
    }
}

impl CertFacts {
    pub(crate) fn of(record: &CertRecord) -> Self {
        let CertRecord { source, not_before, not_after, .. } = *record;
        let covers = |base| {
            let read = certs::inspect(record.name.as_str(), &record.chain_pem);
            read.is_ok_and(|read| read.names.iter().any(|name| name == base))
        };
        let covers_base = record.name.as_str().strip_prefix("*.").is_some_and(covers);
        Self { source, covers_base, not_before, not_after }
    }

    /// When it is time for the next one: two thirds of its own lifetime are over.
    pub(crate) fn renew_at(&self) -> Timestamp {
        renew_at(self.not_before, self.not_after)
    }
}

/// When a certificate of this validity is to be replaced.
pub(crate) fn renew_at(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    not_before.plus(not_after.since(not_before) / 3 * 2)
}

impl Mirror {
    /// Brings the tables up to date; returns the revision that they include.
    pub(crate) async fn refresh(&self, store: &Store) -> Result<Revision, Error> {
        let mut reached = self.reached.lock().await;
        let changes = match &*reached {
            Some(revision) => store.backend().changes_since(revision).await?,
            None => Changes::Reset { revision: store.backend().revision().await? },
        };
        let revision = match changes {
            Changes::Keys { revision, keys } => {
                for key in keys {
                    self.reread(store, &key).await?;
                }
                revision
            }
            Changes::Reset { revision } => {
                let tables = load(store).await?;
                *self.tables() = tables;
                revision
            }
        };
        *reached = Some(revision.clone());
        Ok(revision)
    }

    /// Takes in what somebody changed without a revision.
    pub(crate) async fn touched(&self, store: &Store, touched: Touched) -> Result<(), Error> {
        let mut reached = self.reached.lock().await;
        let Touched::Keys(keys) = touched else {
            *reached = None;
            return Ok(());
        };
        for key in &keys {
            if let Err(error) = self.reread(store, key).await {
                *reached = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The tables as of the last refresh.
    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reread(&self, store: &Store, key: &Key) -> Result<(), Error> {
        match key.collection {
            Collection::Host => {
                let fields = store.backend().get(key).await?;
                self.tables().apply_host_fields(store, &key.id, fields.as_ref());
            }
            Collection::Cert => {
                if let Some(cert) = readable::<CertRecord>(store, &key.id).await? {
                    self.tables().apply_cert(&key.id, cert.as_ref());
                }
            }
            Collection::Issuance => {
                if let Some(record) = readable::<Issuance>(store, &key.id).await? {
                    self.tables().apply_issuance(&key.id, record.as_ref());
                }
            }
            Collection::Domain => {
                let there = store.backend().get(key).await?.is_some();
                self.tables().apply_domain(&key.id, there);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Tables {
    /// At most `limit` patterns that come after `after`, and whether there are more.
    pub(crate) fn page(&self, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.patterns.range::<str, _>((from, Bound::Unbounded));
        let page = rest.by_ref().take(limit).cloned().collect();
        (page, rest.next().is_some())
    }

    /// The certificate that a client asking for a name or pattern is given: its own, or that of the wildcard above or
    /// beside it.
    pub(crate) fn covering(&self, name: &str) -> Option<&CertFacts> {
        let above = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        let beside = || self.certs.get(&format!("*.{name}")).filter(|cert| cert.covers_base);
        self.certs.get(name).or_else(|| self.certs.get(&above()?)).or_else(beside)
    }

    /// Takes over a stored host; what is known of one that can't be understood stays.
    fn apply_host_fields(&mut self, store: &Store, id: &str, fields: Option<&Fields>) {
        let Some(fields) = fields else {
            self.patterns.remove(id);
            self.enabled.remove(id);
            return;
        };
        let host = match Host::from_fields(id, fields, store.sealer()) {
            Ok(host) => host,
            Err(bad) => return tracing::warn!(error = %bad, "a stored record can't be read"),
        };
        self.patterns.insert(id.to_owned());
        if host.enabled {
            let (local, mode) = (host.uses_local_authority(), host.certificate);
            let record = record_text(id, fields).into();
            self.enabled.insert(id, HostFacts { local, mode, record });
        } else {
            self.enabled.remove(id);
        }
    }

    fn apply_cert(&mut self, id: &str, cert: Option<&CertRecord>) {
        match cert {
            Some(cert) => {
                self.certs.insert(id.to_owned(), CertFacts::of(cert));
            }
            None => {
                self.certs.remove(id);
            }
        }
    }

    fn apply_issuance(&mut self, id: &str, record: Option<&Issuance>) {
        match record {
            Some(record) => self.issuance.insert(id.to_owned(), IssuanceFacts::of(record)),
            None => self.issuance.remove(id),
        };
    }

    /// A zone of a provider came or went: its record's id is [`Domain::id_of`].
    fn apply_domain(&mut self, id: &str, there: bool) {
        let Some((zone, provider)) = id.split_once('@') else { return };
        if there {
            self.zones.entry(zone.to_owned()).or_default().insert(provider.to_owned());
        } else if let Some(providers) = self.zones.get_mut(zone) {
            providers.remove(provider);
            if providers.is_empty() {
                self.zones.remove(zone);
            }
        }
    }

    /// The zone that a name is in, the longest that any provider has, with the provider.
    pub(crate) fn zone_of(&self, name: &str) -> Option<(&str, &str)> {
        let mut rest = name.strip_prefix("*.").unwrap_or(name);
        loop {
            if let Some((zone, providers)) = self.zones.get_key_value(rest) {
                return providers.first().map(|provider| (zone.as_str(), provider.as_str()));
            }
            rest = rest.split_once('.')?.1;
        }
    }
}

/// The record, `Some(None)` when it is gone, `None` when it can't be understood: what is known of it then stays.
async fn readable<R: Record>(store: &Store, id: &str) -> Result<Option<Option<R>>, Error> {
    match store.get::<R>(id).await {
        Ok(found) => Ok(Some(found.map(|versioned| versioned.value))),
        Err(store::Error::BadRecord(bad)) => {
            tracing::warn!(error = %bad, "a stored record can't be read");
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

async fn load(store: &Store) -> Result<Tables, Error> {
    let mut tables = Tables { loaded: true, ..Tables::default() };
    let mut cursor = None;
    loop {
        let page = store.backend().scan(Collection::Host, cursor.as_deref(), PAGE).await?;
        for (id, fields) in &page.records {
            tables.apply_host_fields(store, id, Some(fields));
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    for_each::<CertRecord>(store, |cert| tables.apply_cert(cert.name.as_str(), Some(&cert)))
        .await?;
    for_each::<Issuance>(store, |one| tables.apply_issuance(one.name.as_str(), Some(&one))).await?;
    for_each::<Domain>(store, |domain| tables.apply_domain(&domain.id(), true)).await?;
    Ok(tables)
}

/// Every readable record of a collection; one may come twice.
pub(crate) async fn for_each<R: Record>(
    store: &Store,
    mut visit: impl FnMut(R),
) -> Result<(), Error> {
    let mut cursor = None;
    loop {
        let page = store.list::<R>(cursor.as_deref(), PAGE).await?;
        for bad in page.bad {
            tracing::warn!(error = %bad, "a stored record can't be read");
        }
        page.records.into_iter().for_each(|record| visit(record.value));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}
