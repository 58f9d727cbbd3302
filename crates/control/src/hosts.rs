use std::time::Duration;

use auth::Permission;
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{
    CertStatus, CertificateMode, ETag, Host, HostPattern, HostRules, Reach, Revision, Secret,
    Timestamp, Upstream, UpstreamTls,
};
use serde_json::{Map, Value};
use store::{Collection, Expect, Key, Versioned};

use crate::error::Subject;
use crate::mirror::Tables;
use crate::records::Change;
use crate::{Actor, Control, Error, FieldError};

/// The most upstreams of one host.
const MAX_UPSTREAMS: usize = 64;
/// How many records of a page are read at once.
const READS: usize = 32;
/// How often a change that expects nothing particular is tried again when somebody else was quicker.
const ATTEMPTS: usize = 8;

/// What an operator decides about a host: everything but its name and its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSpec {
    /// Where requests go.
    pub upstreams: Vec<Upstream>,
    /// How upstreams are spoken to.
    pub upstream_tls: UpstreamTls,
    /// Whether the upstream sees the public name.
    pub preserve_host: bool,
    /// Whether plain HTTP answers a redirect.
    pub force_https: bool,
    /// How it comes by a certificate.
    pub certificate: CertificateMode,
    /// Whether it takes part in lookup.
    pub enabled: bool,
    /// What it does with requests besides. Passwords of basic authentication may be given plain; they are kept as bcrypt hashes.
    pub rules: HostRules,
}

/// The part of a [`HostSpec`] that is to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPatch {
    /// See [`HostSpec::upstreams`]; the list is replaced as a whole.
    pub upstreams: Option<Vec<Upstream>>,
    /// See [`HostSpec::upstream_tls`].
    pub upstream_tls: Option<UpstreamTls>,
    /// See [`HostSpec::preserve_host`].
    pub preserve_host: Option<bool>,
    /// See [`HostSpec::force_https`].
    pub force_https: Option<bool>,
    /// See [`HostSpec::certificate`].
    pub certificate: Option<CertificateMode>,
    /// See [`HostSpec::enabled`].
    pub enabled: Option<bool>,
    /// What is to change of [`HostSpec::rules`], as a merge patch (RFC 7396) of their JSON form.
    pub rules: Map<String, Value>,
}

/// The conditions of a write.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The entity tags that the caller expects, as in `If-Match` (RFC 9110 §13.1.1); `None`: anything.
    pub if_match: Option<String>,
    /// Whether to check everything and write nothing.
    pub dry_run: bool,
}

impl Conditions {
    /// Whether a record with this tag is what the caller expects.
    pub(crate) fn hold(&self, tag: &ETag) -> bool {
        self.if_match.as_ref().is_none_or(|tags| tag.is_named_in(tags))
    }
}

/// A host as it stands.
#[derive(Clone, Debug)]
pub struct HostView {
    /// The host.
    pub host: Host,
    /// The tag of its stored form; `None` for one that was only tried out.
    pub etag: Option<ETag>,
    /// Everything up to here is included in this view.
    pub revision: Revision,
    /// How it stands with its certificate.
    pub certificate_status: CertStatus,
}

/// Some hosts, in the order of their patterns.
#[derive(Clone, Debug)]
pub struct HostPage {
    /// The hosts.
    pub hosts: Vec<HostView>,
    /// What to ask for the next page with; `None` at the end.
    pub next: Option<String>,
}

/// The use cases about hosts: [`Control::hosts`].
#[derive(Clone, Copy)]
pub struct Hosts<'c>(pub(crate) &'c Control);

impl Hosts<'_> {
    /// At most `limit` hosts whose patterns come after `after`.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn list(
        &self,
        actor: &Actor,
        after: Option<&str>,
        limit: usize,
    ) -> Result<HostPage, Error> {
        actor.may(Permission::Read)?;
        let revision = self.0.refresh().await?;
        let (patterns, more) = self.0.tables().page(after, limit);
        let next = patterns.last().filter(|_| more).cloned();
        let reads = patterns.into_iter().map(|pattern| async move { self.read(&pattern).await });
        let found: Vec<_> = stream::iter(reads).buffered(READS).try_collect().await?;
        let hosts = found.into_iter().flatten().map(|host| self.view(host, revision.clone()));
        Ok(HostPage { hosts: hosts.collect(), next })
    }

    /// One host, by exactly its pattern.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn get(&self, actor: &Actor, pattern: &HostPattern) -> Result<HostView, Error> {
        actor.may(Permission::Read)?;
        let revision = self.0.refresh().await?;
        let found = self.read(pattern.as_str()).await?;
        Ok(self.view(found.ok_or_else(|| not_found(pattern))?, revision))
    }

    /// Makes a host.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Invalid`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn create(
        &self,
        actor: &Actor,
        pattern: HostPattern,
        spec: HostSpec,
        dry_run: bool,
    ) -> Result<HostView, Error> {
        actor.may(Permission::WriteHosts)?;
        let now = self.0.now();
        let mut host = Host::new(pattern);
        spec.apply_to(&mut host);
        self.hash_passwords(&mut host, None).await?;
        host.created_by = Some(actor.username().clone());
        host.created_at = now;
        host.updated_at = now;
        check(&host, self.0.reach())?;
        let exists = || Error::Exists(Subject::host(&host.pattern));
        if self.0.store().get::<Host>(host.pattern.as_str()).await?.is_some() {
            return Err(exists());
        }
        if dry_run {
            return self.tried(host).await;
        }
        match self.0.put_told(&host, Expect::Absent, Some(actor.username())).await {
            Ok(written) => self.written(actor, host, written).await,
            Err(store::Error::Conflict { .. }) => Err(exists()),
            Err(other) => Err(other.into()),
        }
    }

    /// Replaces everything an operator decides about a host.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Invalid`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn replace(
        &self,
        actor: &Actor,
        pattern: &HostPattern,
        spec: HostSpec,
        conditions: &Conditions,
    ) -> Result<HostView, Error> {
        self.update(actor, pattern, conditions, |_| Ok(spec.clone())).await
    }

    /// Changes a part of a host.
    ///
    /// # Errors
    /// As [`Hosts::replace`].
    pub async fn patch(
        &self,
        actor: &Actor,
        pattern: &HostPattern,
        patch: HostPatch,
        conditions: &Conditions,
    ) -> Result<HostView, Error> {
        self.update(actor, pattern, conditions, |now| now.with(patch.clone())).await
    }

    /// Deletes a host and, in the same commit, the certificate that was uploaded for it; returns the revision without them.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn delete(
        &self,
        actor: &Actor,
        pattern: &HostPattern,
        conditions: &Conditions,
    ) -> Result<Revision, Error> {
        actor.may(Permission::WriteHosts)?;
        let key = Key::new(Collection::Host, pattern.as_str());
        let mut attempt = 1;
        loop {
            // Untyped: one that can't be read can still be deleted.
            let fields = self.0.store().backend().get(&key).await?;
            let fields = fields.ok_or_else(|| not_found(pattern))?;
            let tag = store::etag(&fields);
            conditions.hold(&tag).then_some(()).ok_or_else(|| stale(pattern))?;
            if conditions.dry_run {
                return self.0.refresh().await;
            }
            let mut changes = vec![Change { key: key.clone(), before: Some(fields), after: None }];
            changes.extend(self.uploaded(pattern).await?);
            let txn = self.0.told_txn(changes, Some(actor.username()), None);
            match self.0.store().backend().commit(txn).await {
                Ok(revision) => {
                    let by = actor.username();
                    tracing::info!(host = %pattern, %by, %revision, "a host was deleted");
                    self.0.certificates_changed();
                    return Ok(revision);
                }
                Err(store::Error::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(lost_race(error)),
            }
        }
    }

    /// That the certificate which somebody uploaded for a host goes with it. Those that were issued are dropped by who
    /// issued them.
    async fn uploaded(&self, pattern: &HostPattern) -> Result<Option<Change>, Error> {
        let key = Key::new(Collection::Cert, pattern.as_str());
        let fields = self.0.store().backend().get(&key).await?;
        let uploaded = fields.filter(|it| it.get("source").is_some_and(|it| it == "custom"));
        Ok(uploaded.map(|fields| Change { key, before: Some(fields), after: None }))
    }

    async fn update(
        &self,
        actor: &Actor,
        pattern: &HostPattern,
        conditions: &Conditions,
        change: impl Fn(HostSpec) -> Result<HostSpec, Error>,
    ) -> Result<HostView, Error> {
        actor.may(Permission::WriteHosts)?;
        let mut attempt = 1;
        loop {
            let Versioned { value: mut host, etag } = self.expected(pattern, conditions).await?;
            let before = host.rules.clone();
            change(HostSpec::of(&host))?.apply_to(&mut host);
            self.hash_passwords(&mut host, before.as_deref()).await?;
            host.updated_at = self.0.now();
            check(&host, self.0.reach())?;
            if conditions.dry_run {
                return self.tried(host).await;
            }
            match self.0.put_told(&host, Expect::ETag(etag), Some(actor.username())).await {
                Ok(written) => return self.written(actor, host, written).await,
                Err(store::Error::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(lost_race(error)),
            }
        }
    }

    /// Puts bcrypt hashes in the place of plain passwords, and those that there were in the place of [`KEPT_PASSWORD`].
    async fn hash_passwords(
        &self,
        host: &mut Host,
        before: Option<&HostRules>,
    ) -> Result<(), Error> {
        let Some(basic) = host.rules.as_mut().and_then(|rules| rules.basic_auth.as_mut()) else {
            return Ok(());
        };
        let had = before.and_then(|rules| rules.basic_auth.as_ref());
        let mut errors = Vec::new();
        for (name, password) in &mut basic.users {
            let pointer = format!("/basic_auth/users/{name}");
            if password == KEPT_PASSWORD {
                match had.and_then(|had| had.users.get(name)) {
                    Some(hash) => password.clone_from(hash),
                    None => errors.push(FieldError::new(pointer, "has no password yet: give one")),
                }
            } else if !password.starts_with("$2") {
                let plain = Secret::new(std::mem::take(password));
                match self.0.passwords().hash(plain, &pointer).await {
                    Ok(hash) => *password = hash.into_exposed(),
                    Err(Error::Invalid { errors: all }) => errors.extend(all),
                    Err(other) => return Err(other),
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Error::Invalid { errors }) }
    }

    /// The host as stored, if it is what the caller expects.
    async fn expected(
        &self,
        pattern: &HostPattern,
        conditions: &Conditions,
    ) -> Result<Versioned<Host>, Error> {
        let found = self.0.store().get::<Host>(pattern.as_str()).await?;
        let found = found.ok_or_else(|| not_found(pattern))?;
        if conditions.hold(&found.etag) { Ok(found) } else { Err(stale(pattern)) }
    }

    async fn read(&self, pattern: &str) -> Result<Option<Versioned<Host>>, Error> {
        Ok(self.0.store().get::<Host>(pattern).await?)
    }

    fn view(&self, found: Versioned<Host>, revision: Revision) -> HostView {
        let Versioned { value: host, etag } = found;
        let certificate_status = certificate_status(&host, &self.0.tables(), self.0.now());
        HostView { host, etag: Some(etag), revision, certificate_status }
    }

    async fn written(
        &self,
        actor: &Actor,
        host: Host,
        written: store::Written,
    ) -> Result<HostView, Error> {
        let revision = &written.revision;
        tracing::info!(host = %host.pattern, by = %actor.username(), %revision, "a host was written");
        self.0.certificates_changed();
        let store::Written { revision, etag } = written;
        Ok(self.view(Versioned { value: host, etag }, revision))
    }

    async fn tried(&self, host: Host) -> Result<HostView, Error> {
        let revision = self.0.refresh().await?;
        let certificate_status = certificate_status(&host, &self.0.tables(), self.0.now());
        Ok(HostView { host, etag: None, revision, certificate_status })
    }
}

impl Default for HostSpec {
    fn default() -> Self {
        Self {
            upstreams: Vec::new(),
            upstream_tls: UpstreamTls::default(),
            preserve_host: true,
            force_https: true,
            certificate: CertificateMode::default(),
            enabled: true,
            rules: HostRules::default(),
        }
    }
}

impl HostSpec {
    /// This, but for what the patch says.
    ///
    /// # Errors
    /// [`Error::Invalid`] for rules that make no sense.
    pub fn with(self, patch: HostPatch) -> Result<Self, Error> {
        Ok(Self {
            upstreams: patch.upstreams.unwrap_or(self.upstreams),
            upstream_tls: patch.upstream_tls.unwrap_or(self.upstream_tls),
            preserve_host: patch.preserve_host.unwrap_or(self.preserve_host),
            force_https: patch.force_https.unwrap_or(self.force_https),
            certificate: patch.certificate.unwrap_or(self.certificate),
            enabled: patch.enabled.unwrap_or(self.enabled),
            rules: patched(&self.rules, patch.rules)?,
        })
    }

    fn of(host: &Host) -> Self {
        Self {
            upstreams: host.upstreams.clone(),
            upstream_tls: host.upstream_tls,
            preserve_host: host.preserve_host,
            force_https: host.force_https,
            certificate: host.certificate,
            enabled: host.enabled,
            rules: host.rules().clone(),
        }
    }

    fn apply_to(self, host: &mut Host) {
        let Self {
            upstreams,
            upstream_tls,
            preserve_host,
            force_https,
            certificate,
            enabled,
            rules,
        } = self;
        host.upstreams = upstreams;
        host.upstream_tls = upstream_tls;
        host.preserve_host = preserve_host;
        host.force_https = force_https;
        host.certificate = certificate;
        host.enabled = enabled;
        host.set_rules(rules);
    }
}

/// What stands for a password that is there and is not shown; given back, it stays.
pub const KEPT_PASSWORD: &str = "********";

/// Rules after a merge patch. Each member is read by itself, so that every fault has its place.
fn patched(rules: &HostRules, patch: Map<String, Value>) -> Result<HostRules, Error> {
    if patch.is_empty() {
        return Ok(rules.clone());
    }
    // Plain data: JSON can say it.
    let mut all = serde_json::to_value(rules).unwrap_or_default();
    merge(&mut all, Value::Object(patch));
    let Value::Object(mut members) = all else { return Ok(rules.clone()) };
    let mut errors = Vec::new();
    for (name, value) in &mut members {
        drop_nulls(value);
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<HostRules>(Value::Object(alone)) {
            errors.push(FieldError::new(format!("/{name}"), error.to_string()));
        }
    }
    if !errors.is_empty() {
        return Err(Error::Invalid { errors });
    }
    serde_json::from_value(Value::Object(members))
        .map_err(|error| Error::invalid("", error.to_string()))
}

/// A merge leaves what is null within lists: it has its default, as everywhere.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// RFC 7396 §2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// What no single value can be judged by, and that proxies are to send nothing where they would refuse to; what a name
/// stands for is theirs to see. Names all that is wrong.
pub(crate) fn check(host: &Host, reach: &Reach) -> Result<(), Error> {
    let mut errors = Vec::new();
    if host.upstreams.len() > MAX_UPSTREAMS {
        errors.push(FieldError::new("/upstreams", format!("at most {MAX_UPSTREAMS} upstreams")));
    }
    for (index, upstream) in host.upstreams.iter().enumerate() {
        if host.upstreams[..index].contains(upstream) {
            errors.push(FieldError::new(format!("/upstreams/{index}"), "stands there twice"));
        }
    }
    if let Err(faults) = policy::compile(host) {
        errors.extend(faults.into_iter().map(|it| FieldError::new(it.pointer, it.detail)));
    }
    let of_routes = host.rules().routes.iter().enumerate().flat_map(|(number, route)| {
        let place = move |index| format!("/routes/{number}/upstreams/{index}");
        route.upstreams.iter().enumerate().map(move |(index, it)| (place(index), it))
    });
    let own = host.upstreams.iter().enumerate();
    let own = own.map(|(index, it)| (format!("/upstreams/{index}"), it));
    errors.extend(own.chain(of_routes).filter_map(|(place, upstream)| {
        let why = reach.refuses(upstream.socket_addr()?, |_| false)?;
        Some(FieldError::new(place, format!("{upstream} {why}")))
    }));
    if errors.is_empty() { Ok(()) } else { Err(Error::Invalid { errors }) }
}

fn certificate_status(host: &Host, tables: &Tables, now: Timestamp) -> CertStatus {
    if host.certificate == CertificateMode::None {
        return CertStatus::None;
    }
    let failed = tables.issuance.get(host.pattern.as_str()).is_some_and(|it| it.failures > 0);
    let end = tables.covering(host.pattern.as_str()).map(|cert| cert.not_after);
    CertStatus::of(end, failed, now)
}

fn not_found(pattern: &HostPattern) -> Error {
    Error::NotFound(Subject::host(pattern))
}

fn stale(pattern: &HostPattern) -> Error {
    Error::Stale(Subject::host(pattern))
}

/// Others kept being quicker; whoever expects a tag learns on the next reading whether it still holds.
fn lost_race(error: store::Error) -> Error {
    match error {
        store::Error::Conflict { .. } => Error::Busy { retry_after: Duration::from_secs(1) },
        other => other.into(),
    }
}
