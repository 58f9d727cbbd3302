use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use certs::CertTable;
use hosttree::HostTree;
use model::{
    CertRecord, CertificateMode, Challenge, Host, HostPattern, Hostname, Revision, Timestamp,
};
use rustls::ServerConfig;
use static_files::Roots;
use upstream::{Ailing, Balancer, Endpoints, Watch};

use crate::Error;
use crate::asks::Asks;
use crate::digest::{Digest, of_cert, of_host};
use crate::gates::{Gates, Live};
use crate::gone::Gone;
use crate::group::{Group, Grouping};
use crate::lookups::Lookups;
use crate::wanted::Wanted;

/// Everything requests are answered from. Readers never wait for a writer.
///
/// One writer (`discovery`, or a test) applies records one by one: the same call for the first load, a change and a
/// reconcile. A change costs as much as its record, however many there are.
#[derive(Debug)]
pub struct Tables {
    hosts: ArcSwap<HostTree<Arc<Route>>>,
    /// Grows with each change of `hosts`: tells whether an earlier lookup still holds.
    generation: AtomicU64,
    certs: Arc<CertTable>,
    challenges: ArcSwap<Challenges>,
    state: ArcSwap<TableState>,
    wanted: Wanted,
    lookups: Lookups,
    asked_challenges: Asks<Challenge>,
    gone: Gone,
    live: Live,
    roots: Roots,
    book: Mutex<Book>,
}

/// What a host's requests are answered with; made once per change.
#[derive(Debug)]
pub struct Route {
    /// The record.
    pub host: Host,
    /// Its upstreams, ready to be connected to.
    pub(crate) group: Group,
    /// What is done with its requests besides; `None`: nothing.
    pub(crate) gates: Option<Box<Gates>>,
    /// Who shares its requests out, of all its groups.
    balancers: Vec<Arc<Balancer>>,
}

impl Route {
    /// The route of a host, whose directories are to lie under these roots. What the former route of the host knew of its
    /// upstreams stays known.
    ///
    /// # Errors
    /// [`Error::Rules`] with everything that is wrong with them.
    pub(crate) fn new(host: Host, roots: &Roots, former: Option<&Self>) -> Result<Self, Error> {
        let mut grouping = Grouping::new(&host, former.map_or(&[], |former| &former.balancers));
        let gates = Gates::new(&host, roots, &mut grouping).map_err(|faults| Error::Rules {
            host: host.pattern.to_string(),
            faults: faults
                .iter()
                .map(|it| format!("{}: {}", it.pointer, it.detail))
                .collect::<Vec<_>>()
                .join("; "),
        })?;
        let group = match &gates {
            // They have their own.
            Some(_) => Group::new(&host.upstreams, &host),
            None => grouping.group("/", &host.upstreams),
        };
        let balancers = grouping.balancers;
        Ok(Self { host, group, gates, balancers })
    }

    /// Has its upstreams watched that the former route of the host had not.
    fn watch(&self, watch: &Watch, former: Option<&Self>) {
        let known = |balancer: &Arc<Balancer>| {
            former.is_some_and(|it| it.balancers.iter().any(|one| Arc::ptr_eq(one, balancer)))
        };
        self.balancers.iter().filter(|it| !known(it)).for_each(|it| watch.add(it));
    }

    /// Its upstreams, ready to be connected to.
    pub fn endpoints(&self) -> &Endpoints {
        &self.group.endpoints
    }
}

/// Pending challenges by token; few at a time. Two names may have been given the same token.
type Challenges = HashMap<String, Vec<Pending>>;

#[derive(Clone, Debug)]
struct Pending {
    /// What the writer keeps it under.
    id: String,
    challenge: Challenge,
    /// How TLS answers it, made when it is first asked for.
    tls: Arc<OnceLock<Option<Arc<ServerConfig>>>>,
}

/// Where the tables stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// Whether there is a table at all, be it an empty or an old one. Until then every request gets 503.
    pub loaded: bool,
    /// The revision of the store the tables show; none when they come from elsewhere.
    pub revision: Option<Revision>,
    /// Whether the store can't be read, so that it may have moved on.
    pub stale: bool,
    /// Why the store is not believed and the tables are kept; `None` when it is believed.
    pub guard: Option<StoreGuard>,
}

/// Why the store is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreGuard {
    /// One of [`StoreGuard::REASONS`].
    pub reason: &'static str,
    /// The same for people, with revisions and numbers.
    pub detail: String,
    /// The revision of the store when the doubt began.
    pub seen: Revision,
    /// Since when.
    pub since: Timestamp,
}

impl StoreGuard {
    /// What can make a store doubtful: it says nothing of its past, it is another one, it lacks what it had, or most hosts
    /// are gone from it.
    pub const REASONS: [&str; 4] = ["epoch_missing", "epoch_changed", "went_back", "drops_hosts"];
}

impl TableState {
    /// Whether the tables show all that the store has, as far as is known.
    fn in_sync(&self) -> bool {
        self.loaded && !self.stale
    }
}

/// What the writer remembers.
#[derive(Debug, Default)]
struct Book {
    digest: Digest,
    certs: HashMap<String, u64>,
    held: Option<Held>,
}

/// Changes of hosts that are not published yet.
#[derive(Debug)]
struct Held {
    hosts: HostTree<Arc<Route>>,
    gone: Vec<String>,
}

/// While it lives, changes of hosts are gathered; dropping it publishes them together. What many changes have in common is
/// then copied once.
#[derive(Debug)]
pub struct Hold<'a>(&'a Tables);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut book = lock(&self.0.book);
        if let Some(Held { hosts, gone }) = book.held.take() {
            self.0.publish(hosts, &gone);
        }
    }
}

impl Tables {
    /// Empty tables that are not loaded; certificates go to `certs`.
    pub fn new(certs: Arc<CertTable>) -> Self {
        Self {
            hosts: ArcSwap::default(),
            generation: AtomicU64::new(0),
            certs,
            challenges: ArcSwap::default(),
            state: ArcSwap::default(),
            wanted: Wanted::default(),
            lookups: Lookups::default(),
            asked_challenges: Asks::default(),
            gone: Gone::default(),
            live: Live::default(),
            roots: Roots::default(),
            book: Mutex::default(),
        }
    }

    /// The same, serving directories under these roots.
    #[must_use]
    pub fn with_static_roots(mut self, roots: Roots) -> Self {
        self.lookups.set_roots(roots.clone());
        self.roots = roots;
        self
    }

    /// What the rules of all hosts share.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// As [`Tables::new`], with a certificate table of its own.
    ///
    /// # Errors
    /// When the fallback certificate can't be made.
    pub fn empty(now: Timestamp) -> Result<Self, Error> {
        Ok(Self::new(Arc::new(CertTable::new(now).map_err(Error::Tls)?)))
    }

    /// Sets or takes out a host. One that is not enabled is taken out.
    ///
    /// # Errors
    /// [`Error::Rules`] when its rules can't be decided by: what was there before stays.
    pub fn apply_host(&self, pattern: &HostPattern, host: Option<Host>) -> Result<(), Error> {
        let hash = host.as_ref().map_or(0, of_host);
        let former = self.latest(pattern);
        let host = host.filter(|host| host.enabled);
        let route =
            host.map(|host| Route::new(host, &self.roots, former.as_deref())).transpose()?;
        if let Some(route) = &route {
            route.watch(&self.live.watch, former.as_deref());
        }
        let mut book = lock(&self.book);
        let held = book.held.take();
        let is_held = held.is_some();
        let Held { mut hosts, mut gone } = held.unwrap_or_else(|| self.unpublished());
        let old = match route {
            Some(route) => hosts.insert(pattern.as_str(), Arc::new(route)),
            None => hosts.remove(pattern.as_str()),
        };
        if old.is_some() && hosts.get(pattern.as_str()).is_none() {
            gone.push(pattern.as_str().to_owned());
        }
        book.digest.replace(old.map_or(0, |old| of_host(&old.host)), hash);
        if is_held {
            book.held = Some(Held { hosts, gone });
        } else {
            self.publish(hosts, &gone);
        }
        Ok(())
    }

    /// The route of a pattern, published or not.
    fn latest(&self, pattern: &HostPattern) -> Option<Arc<Route>> {
        match &lock(&self.book).held {
            Some(held) => held.hosts.get(pattern.as_str()).map(|entry| entry.value().clone()),
            None => self.hosts.load().get(pattern.as_str()).map(|entry| entry.value().clone()),
        }
    }

    /// The upstreams that something stands against, so many at most.
    pub fn ailing(&self, most: usize) -> Vec<Ailing> {
        self.live.watch.ailing(most)
    }

    /// Gathers the changes of hosts to come, until the handle is dropped. For one writer at a time, like all changes.
    pub fn hold(&self) -> Hold<'_> {
        let held = self.unpublished();
        lock(&self.book).held.get_or_insert(held);
        Hold(self)
    }

    fn unpublished(&self) -> Held {
        Held { hosts: HostTree::clone(&self.hosts.load()), gone: Vec::new() }
    }

    /// Has readers see these hosts.
    fn publish(&self, hosts: HostTree<Arc<Route>>, gone: &[String]) {
        self.hosts.store(Arc::new(hosts));
        gone.iter().for_each(|pattern| self.gone.add(pattern));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Sets or takes out a certificate. Handshakes that wait for it go on.
    ///
    /// # Errors
    /// When the record can't serve (a wrong PEM, a key of another certificate): what was there before stays.
    #[expect(clippy::needless_pass_by_value, reason = "as apply_host, which keeps its record")]
    pub fn apply_cert(&self, name: &HostPattern, cert: Option<CertRecord>) -> Result<(), Error> {
        let mut book = lock(&self.book);
        self.certs.apply(name.as_str(), cert.as_ref()).map_err(Error::Certificate)?;
        let hash = cert.as_ref().map_or(0, of_cert);
        let old = match &cert {
            Some(_) => book.certs.insert(name.as_str().to_owned(), hash),
            None => book.certs.remove(name.as_str()),
        };
        book.digest.replace(old.unwrap_or(0), hash);
        Ok(())
    }

    /// Sets or takes out a pending challenge. Its `id` is what the caller keeps it under.
    pub fn apply_challenge(&self, id: &str, challenge: Option<Challenge>) {
        // The book's lock makes this the only writer.
        let _book = lock(&self.book);
        let mut challenges = Challenges::clone(&self.challenges.load());
        challenges.retain(|_, pending| {
            pending.retain(|one| one.id != id);
            !pending.is_empty()
        });
        if let Some(challenge) = challenge {
            let pending = Pending { id: id.to_owned(), challenge, tls: Arc::default() };
            challenges.entry(pending.challenge.token.clone()).or_default().push(pending);
        }
        self.challenges.store(Arc::new(challenges));
    }

    /// Says where the tables stand. Once they are in sync, what was heard elsewhere is forgotten.
    pub fn set_state(&self, state: TableState) {
        let in_sync = state.in_sync();
        self.state.store(Arc::new(state));
        if in_sync {
            self.lookups.forget();
        }
    }

    /// Where the tables stand.
    pub fn state(&self) -> Arc<TableState> {
        self.state.load_full()
    }

    /// The route for a normalised name.
    pub fn route(&self, name: &str) -> Option<Arc<Route>> {
        self.hosts.load().lookup(name).map(|entry| entry.value().clone())
    }

    /// The route for a normalised name that the tables don't have, as the control plane beside us knows it; asked only
    /// while the tables are not in sync. Takes at most 100 ms.
    pub(crate) async fn ask(&self, name: &str) -> Option<Arc<Route>> {
        if self.state.load().in_sync() {
            return None;
        }
        self.lookups.ask(name).await
    }

    /// Every pattern that matches a normalised name, the best first, each with the reason it won or lost.
    pub fn explain(&self, name: &str) -> Vec<(String, String)> {
        let hosts = self.hosts.load();
        let candidates = hosts.candidates(name);
        candidates.iter().map(|one| (one.pattern.to_owned(), one.why.to_string())).collect()
    }

    /// Whether a host of exactly this pattern is routed.
    pub fn has_host(&self, pattern: &str) -> bool {
        self.hosts.load().get(pattern).is_some()
    }

    /// Every routed host as it is now; costs nothing to take, and later changes don't touch it.
    pub fn snapshot(&self) -> Arc<HostTree<Arc<Route>>> {
        self.hosts.load_full()
    }

    /// The certificates.
    pub fn certs(&self) -> &Arc<CertTable> {
        &self.certs
    }

    /// How many hosts are routed.
    pub fn hosts(&self) -> usize {
        self.hosts.load().len()
    }

    /// The fingerprint of hosts and certificates.
    pub fn digest(&self) -> Digest {
        lock(&self.book).digest
    }

    /// The names that handshakes want certificates for.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The names that requests want looked up elsewhere.
    pub fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// The challenges that requests want read from the store, by their ids: `<name>:<token>`.
    pub fn asked_challenges(&self) -> &Asks<Challenge> {
        &self.asked_challenges
    }

    /// The hosts that were taken out.
    pub(crate) fn gone(&self) -> &Gone {
        &self.gone
    }

    /// A number that changes with each change of a host.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether a certificate for this name could come about: it is routed, none is there, and its host wants one.
    pub(crate) fn awaits_cert(&self, name: &Hostname) -> bool {
        let wants = |route: &Route| {
            !matches!(route.host.certificate, CertificateMode::None | CertificateMode::Custom)
        };
        self.certs.find(name.as_str()).is_none()
            && self.route(name.as_str()).is_some_and(|route| wants(&route))
    }

    /// The answer to an HTTP-01 challenge, if this token is pending for this name (RFC 8555 §8.3). For a host of ours the store
    /// is asked when the tables have none: older programs, too, prove names there. Takes at most 100 ms.
    pub(crate) async fn challenge(
        &self,
        name: &str,
        token: &str,
        now: Timestamp,
    ) -> Option<String> {
        if let Some(pending) = self.pending(name, token, now) {
            return Some(pending);
        }
        if !self.state.load().in_sync() || !is_token(token) || self.route(name).is_none() {
            return None;
        }
        let found = self.asked_challenges.ask(&format!("{name}:{token}")).await?;
        (found.expires_at > now).then_some(found.key_authorisation)
    }

    fn pending(&self, name: &str, token: &str, now: Timestamp) -> Option<String> {
        let challenges = self.challenges.load();
        let fits = |one: &&Challenge| one.domain.as_str() == name && one.expires_at > now;
        let mut pending = challenges.get(token)?.iter().map(|one| &one.challenge);
        pending.find(fits).map(|one| one.key_authorisation.clone())
    }

    /// How to answer a TLS-ALPN-01 challenge for this name, if one is pending; the one that lasts longest (RFC 8737 §3).
    pub(crate) fn challenge_tls(
        &self,
        name: &Hostname,
        now: Timestamp,
    ) -> Option<Arc<ServerConfig>> {
        let challenges = self.challenges.load();
        let pending = challenges.values().flatten();
        let fits = |one: &&Pending| one.challenge.domain == *name && one.challenge.expires_at > now;
        let latest = pending.filter(fits).max_by_key(|one| one.challenge.expires_at)?;
        // Once per challenge and not per handshake: anybody may ask.
        let make = || {
            let made = certs::acme_tls_config(name, &latest.challenge.key_authorisation, now);
            made.inspect_err(|error| tracing::warn!(%name, %error, "a challenge can't be answered"))
                .ok()
        };
        latest.tls.get_or_init(make).clone()
    }
}

/// A poisoned lock is as good as a sound one here: what it guards is only ever replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether it may be one (RFC 8555 §8.1): base64url, of a bounded length.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_go_and_change_with_digest_and_generation() {
        let tables = Tables::empty(Timestamp::from_millis(1_790_000_000_000)).unwrap();
        let empty = tables.digest();
        let mut host = Host::new("*.a.test".parse().unwrap());
        let apply = |host: &Host| tables.apply_host(&host.pattern, Some(host.clone())).unwrap();
        apply(&host);
        let (first, generation) = (tables.digest(), tables.generation());
        assert_ne!(first, empty);
        assert!(tables.route("x.a.test").is_some() && tables.route("a.test").is_some());
        host.force_https = false;
        apply(&host);
        assert_ne!(tables.digest(), first);
        assert_ne!(tables.generation(), generation);
        host.force_https = true;
        apply(&host);
        assert_eq!(tables.digest(), first);
        host.enabled = false;
        apply(&host);
        assert_eq!((tables.digest(), tables.hosts()), (empty, 0));
    }

    /// Anybody can ask for challenges, over and over: that took a lock which the writer and all workers shared.
    #[test]
    fn challenges_are_found_by_token_and_name_without_a_lock() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let tables = Tables::empty(now).unwrap();
        let challenge = |domain: &str, token: &str| Challenge {
            domain: domain.parse().unwrap(),
            token: token.to_owned(),
            key_authorisation: format!("{token}.{domain}"),
            expires_at: Timestamp::from_millis(1_790_000_001_000),
        };
        tables.apply_challenge("1", Some(challenge("a.test", "t")));
        tables.apply_challenge("2", Some(challenge("b.test", "t")));
        let writing = lock(&tables.book);
        let answer = |name, token| tables.pending(name, token, now);
        assert_eq!(answer("a.test", "t").as_deref(), Some("t.a.test"));
        assert_eq!(answer("b.test", "t").as_deref(), Some("t.b.test"));
        assert_eq!(answer("c.test", "t"), None);
        assert_eq!(answer("a.test", "u"), None);
        assert_eq!(tables.pending("a.test", "t", Timestamp::from_millis(1_790_000_001_000)), None);
        drop(writing);
        tables.apply_challenge("1", Some(challenge("a.test", "u")));
        assert_eq!(answer("a.test", "t"), None);
        assert_eq!(answer("a.test", "u").as_deref(), Some("u.a.test"));
        tables.apply_challenge("1", None);
        tables.apply_challenge("2", None);
        assert!(tables.challenges.load().is_empty());
    }

    #[test]
    fn changes_that_are_held_are_seen_together() {
        let tables = Tables::empty(Timestamp::from_millis(1_790_000_000_000)).unwrap();
        let apply = |name: &str, there: bool| {
            let host = Host::new(name.parse().unwrap());
            tables.apply_host(&host.pattern.clone(), there.then_some(host)).unwrap();
        };
        apply("a.test", true);
        let generation = tables.generation();
        let hold = tables.hold();
        apply("b.test", true);
        apply("a.test", false);
        assert_eq!((tables.hosts(), tables.generation()), (1, generation));
        assert!(tables.route("a.test").is_some() && tables.route("b.test").is_none());
        drop(hold);
        assert_eq!((tables.hosts(), tables.generation()), (1, generation + 1));
        assert!(tables.route("a.test").is_none() && tables.route("b.test").is_some());
        apply("c.test", true);
        assert_eq!(tables.hosts(), 2);
    }

    #[test]
    fn a_certificate_is_awaited_for_a_host_that_wants_one_until_it_is_there() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let tables = Tables::empty(now).unwrap();
        let name: Hostname = "x.a.test".parse().unwrap();
        assert!(!tables.awaits_cert(&name));
        let mut host = Host::new("*.a.test".parse().unwrap());
        tables.apply_host(&host.pattern.clone(), Some(host.clone())).unwrap();
        assert!(tables.awaits_cert(&name));
        host.certificate = CertificateMode::None;
        tables.apply_host(&host.pattern.clone(), Some(host.clone())).unwrap();
        assert!(!tables.awaits_cert(&name));
        host.certificate = CertificateMode::Auto;
        tables.apply_host(&host.pattern.clone(), Some(host.clone())).unwrap();
        let issued = certs::LocalCa::generate(now).unwrap().issue(&host.pattern, now).unwrap();
        let before = tables.digest();
        tables.apply_cert(&host.pattern, Some(issued.clone())).unwrap();
        assert!(!tables.awaits_cert(&name));
        let with = tables.digest();
        let broken = CertRecord { chain_pem: String::new(), ..issued };
        assert!(tables.apply_cert(&host.pattern, Some(broken)).is_err());
        assert_eq!(tables.digest(), with);
        tables.apply_cert(&host.pattern, None).unwrap();
        assert_eq!(tables.digest(), before);
    }
}
