//! The use cases about DNS providers, and the zones that they have.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::Permission;
use dns::DnsProvider;
use model::{ETag, Revision, Secret};
use store::{DnsProviderRecord, Domain, Expect, Record, Txn, Versioned};

use crate::error::Subject;
use crate::hosts::Conditions;
use crate::mirror::for_each;
use crate::records::Change;
use crate::{Actor, Control, Error, FieldError};

/// How often a write is tried again when somebody else was quicker.
const ATTEMPTS: usize = 8;
/// The longest id.
const MAX_ID: usize = 63;
/// How many providers there may be.
const MOST: usize = 1_000;

/// What an operator says of a provider.
#[derive(Clone, Debug)]
pub struct DnsProviderSpec {
    /// Its kind, one of [`DnsProviders::kinds`].
    pub kind: String,
    /// Its settings by name. A secret that is left out of a replacement stays as it is.
    pub settings: BTreeMap<String, Secret<String>>,
    /// Which name servers to ask whether a value has arrived; empty: those that the zone names.
    pub nameservers: Vec<SocketAddr>,
}

/// A provider as it may be shown: its secrets by name only.
#[derive(Clone, Debug)]
pub struct DnsProviderView {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its settings that are no secrets.
    pub settings: BTreeMap<String, String>,
    /// The names of the secrets that are set.
    pub secrets: Vec<String>,
    /// The name servers that are asked.
    pub nameservers: Vec<SocketAddr>,
    /// The names of its zones, as last seen.
    pub zones: Vec<String>,
    /// Who made it, when, and when it last changed.
    pub record: DnsProviderRecord,
    /// The tag of its stored form; `None` for one that was only tried out.
    pub etag: Option<ETag>,
    /// Everything up to here is included in this view.
    pub revision: Revision,
}

/// The use cases about DNS providers: [`Control::dns_providers`].
#[derive(Clone, Copy)]
pub struct DnsProviders<'c>(pub(crate) &'c Control);

impl DnsProviders<'_> {
    /// All providers, by id.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn list(&self, actor: &Actor) -> Result<Vec<DnsProviderView>, Error> {
        actor.may(Permission::Read)?;
        let revision = self.0.refresh().await?;
        let mut all = BTreeMap::new();
        let mut cursor = None;
        loop {
            let page = self.0.store().list::<DnsProviderRecord>(cursor.as_deref(), MOST).await?;
            for bad in page.bad {
                tracing::warn!(error = %bad, "a stored record can't be read");
            }
            for found in page.records {
                all.insert(found.value.id.clone(), found);
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        Ok(all.into_values().map(|found| self.view(found, revision.clone())).collect())
    }

    /// One provider.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn get(&self, actor: &Actor, id: &str) -> Result<DnsProviderView, Error> {
        actor.may(Permission::Read)?;
        let revision = self.0.refresh().await?;
        let found = self.0.store().get::<DnsProviderRecord>(id).await?;
        Ok(self.view(found.ok_or_else(|| not_found(id))?, revision))
    }

    /// Makes a provider, once its credentials are proved by asking for its zones, which are noted at once. Without an
    /// `id` it gets one made of its kind.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every wrong setting, or with what the provider says of the credentials; [`Error::Exists`];
    /// [`Error::Upstream`] when it can't be reached; [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn create(
        &self,
        actor: &Actor,
        id: Option<String>,
        spec: DnsProviderSpec,
        dry_run: bool,
    ) -> Result<DnsProviderView, Error> {
        actor.may(Permission::WriteProviders)?;
        let given = id.is_some();
        let id = match id {
            Some(id) => checked_id(id)?,
            None => self.free_id(&spec.kind, 1).await?,
        };
        let now = self.0.now();
        let mut record = DnsProviderRecord {
            id,
            kind: spec.kind.clone(),
            settings: BTreeMap::new(),
            credentials: BTreeMap::new(),
            nameservers: spec.nameservers.clone(),
            created_by: Some(actor.username().clone()),
            created_at: now,
            updated_at: now,
        };
        let exists = |id: &str| Error::Exists(Subject::dns_provider(id));
        if given && self.0.store().get::<DnsProviderRecord>(&record.id).await?.is_some() {
            return Err(exists(&record.id));
        }
        divide(&spec, &mut record);
        let zones = self.proved(&record).await?;
        if dry_run {
            return self.tried(record).await;
        }
        for number in 2..=ATTEMPTS {
            match self.0.put_told(&record, Expect::Absent, Some(actor.username())).await {
                Ok(written) => {
                    self.0.note_zones(&record.id, zones).await?;
                    return self.written(actor, record, written.etag).await;
                }
                Err(store::Error::Conflict { .. }) if given => return Err(exists(&record.id)),
                Err(store::Error::Conflict { .. }) => {
                    record.id = self.free_id(&spec.kind, number).await?;
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Busy { retry_after: Duration::from_secs(1) })
    }

    /// Replaces the settings of a provider, once they are proved. Secrets that are not given stay as they are.
    ///
    /// # Errors
    /// As [`DnsProviders::create`]; [`Error::NotFound`], [`Error::Stale`].
    pub async fn replace(
        &self,
        actor: &Actor,
        id: &str,
        spec: DnsProviderSpec,
        conditions: &Conditions,
    ) -> Result<DnsProviderView, Error> {
        actor.may(Permission::WriteProviders)?;
        for _ in 0..ATTEMPTS {
            let Versioned { value: mut record, etag } = self.expected(id, conditions).await?;
            if record.kind != spec.kind {
                record.credentials.clear();
            }
            record.kind = spec.kind.clone();
            record.nameservers = spec.nameservers.clone();
            record.settings.clear();
            divide(&spec, &mut record);
            record.updated_at = self.0.now();
            let zones = self.proved(&record).await?;
            if conditions.dry_run {
                return self.tried(record).await;
            }
            match self.0.put_told(&record, Expect::ETag(etag), Some(actor.username())).await {
                Ok(written) => {
                    self.0.note_zones(id, zones).await?;
                    return self.written(actor, record, written.etag).await;
                }
                Err(store::Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Busy { retry_after: Duration::from_secs(1) })
    }

    /// Removes a provider and what is known of its zones; returns the revision without them.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn delete(
        &self,
        actor: &Actor,
        id: &str,
        conditions: &Conditions,
    ) -> Result<Revision, Error> {
        actor.may(Permission::WriteProviders)?;
        for _ in 0..ATTEMPTS {
            // Untyped: one that can't be read can still be deleted.
            let key = store::Key::new(store::Collection::DnsProvider, id);
            let fields = self.0.store().backend().get(&key).await?;
            let fields = fields.ok_or_else(|| not_found(id))?;
            if !conditions.hold(&store::etag(&fields)) {
                return Err(Error::Stale(Subject::dns_provider(id)));
            }
            if conditions.dry_run {
                return self.0.refresh().await;
            }
            let change = Change { key, before: Some(fields), after: None };
            let mut txn = self.0.told_txn(vec![change], Some(actor.username()), None);
            for domain in self.0.zones_of(id).await? {
                txn = txn.delete(domain.key(), Expect::Any);
            }
            match self.0.store().backend().commit(txn).await {
                Ok(revision) => {
                    tracing::info!(id, by = %actor.username(), "a DNS provider was deleted");
                    self.0.certificates_changed();
                    return Ok(revision);
                }
                Err(store::Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Busy { retry_after: Duration::from_secs(1) })
    }

    /// Asks a provider for its zones now, and notes them.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Upstream`] with what the provider says; [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn refresh(&self, actor: &Actor, id: &str) -> Result<DnsProviderView, Error> {
        actor.may(Permission::WriteHosts)?;
        let found = self.0.store().get::<DnsProviderRecord>(id).await?;
        let found = found.ok_or_else(|| not_found(id))?;
        let provider = built(&found.value)?;
        let zones = provider.zones().await.map_err(|error| Error::Upstream(error.into()))?;
        self.0.note_zones(id, zones).await?;
        let revision = self.0.refresh().await?;
        Ok(self.view(found, revision))
    }

    /// All zones of all providers, by name.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn domains(&self, actor: &Actor) -> Result<Vec<Domain>, Error> {
        actor.may(Permission::Read)?;
        let mut all = BTreeMap::new();
        for_each::<Domain>(self.0.store(), |domain| {
            all.insert((domain.name.clone(), domain.provider.clone()), domain);
        })
        .await?;
        Ok(all.into_values().collect())
    }

    /// The zones of an account with these settings, which proves that they are right.
    async fn proved(&self, record: &DnsProviderRecord) -> Result<Vec<dns::Zone>, Error> {
        let provider = built(record)?;
        provider.zones().await.map_err(|error| match error {
            dns::Error::Unreachable { .. } | dns::Error::RateLimited { .. } => {
                Error::Upstream(error.into())
            }
            // What it says of the credentials is told; it never repeats them.
            refused => Error::invalid("/settings", refused.to_string()),
        })
    }

    async fn expected(
        &self,
        id: &str,
        conditions: &Conditions,
    ) -> Result<Versioned<DnsProviderRecord>, Error> {
        let found = self.0.store().get::<DnsProviderRecord>(id).await?;
        let found = found.ok_or_else(|| not_found(id))?;
        if conditions.hold(&found.etag) {
            Ok(found)
        } else {
            Err(Error::Stale(Subject::dns_provider(id)))
        }
    }

    /// An id that nobody has: the kind, or the kind and a number.
    async fn free_id(&self, kind: &str, from: usize) -> Result<String, Error> {
        let base: String = kind.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        let base = if base.is_empty() { "dns".to_owned() } else { base.to_ascii_lowercase() };
        for number in from..=MOST {
            let id = if number == 1 { base.clone() } else { format!("{base}-{number}") };
            if self.0.store().get::<DnsProviderRecord>(&id).await?.is_none() {
                return Ok(id);
            }
        }
        Err(Error::Refused("there are too many DNS providers of this kind: give it an id"))
    }

    async fn written(
        &self,
        actor: &Actor,
        record: DnsProviderRecord,
        etag: ETag,
    ) -> Result<DnsProviderView, Error> {
        tracing::info!(id = record.id, by = %actor.username(), "a DNS provider was written");
        self.0.certificates_changed();
        let revision = self.0.refresh().await?;
        Ok(self.view(Versioned { value: record, etag }, revision))
    }

    async fn tried(&self, record: DnsProviderRecord) -> Result<DnsProviderView, Error> {
        let revision = self.0.refresh().await?;
        let etag = store::etag(&record.to_fields(self.0.store().sealer())?);
        let view = self.view(Versioned { value: record, etag }, revision);
        Ok(DnsProviderView { etag: None, ..view })
    }

    fn view(&self, found: Versioned<DnsProviderRecord>, revision: Revision) -> DnsProviderView {
        let Versioned { value: record, etag } = found;
        let tables = self.0.tables();
        let zones = tables.zones.iter().filter(|(_, providers)| providers.contains(&record.id));
        DnsProviderView {
            id: record.id.clone(),
            kind: record.kind.clone(),
            settings: record.settings.clone(),
            secrets: record.credentials.keys().cloned().collect(),
            nameservers: record.nameservers.clone(),
            zones: zones.map(|(zone, _)| zone.clone()).collect(),
            record,
            etag: Some(etag),
            revision,
        }
    }
}

impl Control {
    /// Writes down which zones a provider has: those that came, came; those that went, went. Called only with all of them.
    pub(crate) async fn note_zones(&self, id: &str, zones: Vec<dns::Zone>) -> Result<(), Error> {
        let known: BTreeMap<_, _> =
            self.zones_of(id).await?.into_iter().map(|it| (it.name.clone(), it)).collect();
        let mut txn = Txn::new();
        for zone in &zones {
            let before = known.get(&zone.name);
            if before.is_some_and(|it| it.zone_id == zone.id) {
                continue;
            }
            let domain = Domain {
                name: zone.name.clone(),
                provider: id.to_owned(),
                zone_id: zone.id.clone(),
                seen_at: before.map_or_else(|| self.now(), |it| it.seen_at),
            };
            txn = txn.put(domain.key(), domain.to_fields(self.store().sealer())?, Expect::Any);
        }
        for gone in known.values().filter(|it| !zones.iter().any(|zone| zone.name == it.name)) {
            txn = txn.delete(gone.key(), Expect::Any);
        }
        if !txn.ops().is_empty() {
            let count = zones.len();
            self.store().backend().commit(txn).await?;
            tracing::info!(
                provider = id,
                zones = count,
                "the zones of a DNS provider have changed"
            );
            self.certificates_changed();
        }
        Ok(())
    }

    /// What is known of the zones of a provider.
    pub(crate) async fn zones_of(&self, id: &str) -> Result<Vec<Domain>, Error> {
        let mut zones = Vec::new();
        for_each::<Domain>(self.store(), |domain| {
            if domain.provider == id {
                zones.push(domain);
            }
        })
        .await?;
        Ok(zones)
    }
}

/// The provider that a record describes, ready to be asked.
pub(crate) fn built(record: &DnsProviderRecord) -> Result<Arc<dyn DnsProvider>, Error> {
    let plain =
        record.settings.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone())));
    let secret = record.credentials.iter().map(|(name, value)| (name.clone(), value.clone()));
    let settings = plain.chain(secret).collect();
    dns::build(&record.kind, &settings, dns::Options::default()).map_err(|error| match error {
        dns::Error::Fields(fields) => Error::Invalid {
            errors: fields
                .into_iter()
                .map(|it| FieldError::new(format!("/settings/{}", it.field), it.message))
                .collect(),
        },
        dns::Error::Settings { field: "kind", message } => Error::invalid("/kind", message),
        other => Error::invalid("/settings", other.to_string()),
    })
}

/// Puts each setting where it belongs: what the kind does not know is taken for a secret, and refused later.
fn divide(spec: &DnsProviderSpec, record: &mut DnsProviderRecord) {
    let kind = dns::kinds().iter().find(|kind| kind.id == spec.kind);
    for (name, value) in &spec.settings {
        let field = kind.and_then(|kind| kind.fields.iter().find(|field| field.name == name));
        if field.is_some_and(|field| !field.secret) {
            record.settings.insert(name.clone(), value.expose().clone());
        } else {
            record.credentials.insert(name.clone(), value.clone());
        }
    }
}

fn checked_id(id: String) -> Result<String, Error> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !id.is_empty() && id.len() <= MAX_ID && id.chars().all(fits) {
        return Ok(id);
    }
    Err(Error::invalid("/id", "must be 1 to 63 of the characters a-z, 0-9 and -"))
}

fn not_found(id: &str) -> Error {
    Error::NotFound(Subject::dns_provider(id))
}
