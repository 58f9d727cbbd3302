//! What a host does with a request besides passing it to its upstreams: who is let in, and what stands behind which path.
//!
//! The decisions are [`policy`]'s; here they meet the connection, the passwords and the answers. A host without rules
//! has none of this and pays for none.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, LOCATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, StatusCode};
use model::{DirectoryRules, Host};
use policy::limit::{Fields, Limiter};
use policy::{
    Answer, Attempt, Compiled, Explained, Facts, Fault, HostPolicy, Imagined, Outcome, Pages,
    Place, State, Verified,
};
use rewrite::{Arrival, Scheme};
use static_files::{Directory, Options, Roots};
use tokio::sync::Semaphore;
use upstream::Watch;

use crate::conn::Conn;
use crate::group::{Group, Grouping};
use crate::matched::Matched;
use crate::record::Record;
use crate::respond::Refusal;
use runtime::with_causes;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How many buckets of rate limits a process has; 16 bytes each.
const BUCKETS: usize = 1 << 18;
/// How often the path of a directory is looked up, in milliseconds.
const LOOK_UP_EVERY: u64 = 1_000;
/// How many passwords are checked at once. Each takes a core for about a fifth of a second.
const CHECKS: usize = 2;
/// How long a request waits for its turn to have its password checked.
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// The rules of one host, made once per change of its record.
#[derive(Debug)]
pub(crate) struct Gates {
    policy: HostPolicy<Behind>,
    headers: policy::Headers,
    pub(crate) max_body: Option<u64>,
    /// Whether answers are compressed.
    compress: bool,
    /// The operator's pages for what goes wrong.
    pub(crate) pages: Pages,
    /// Whether they take the place of the app's own.
    pub(crate) intercept: bool,
    /// The field by which another program guards the host.
    foreign: Option<&'static str>,
}

/// What stands behind a path.
#[derive(Debug)]
pub(crate) enum Behind {
    /// Upstreams.
    Upstreams(Arc<Group>),
    /// A directory, and when its path was last looked up, in milliseconds.
    Directory(Directory, AtomicU64),
    /// A directory that can't be served, and why.
    Closed(String),
}

impl Behind {
    /// It, in words.
    fn place(&self) -> Place {
        match self {
            Self::Upstreams(group) => Place::Upstreams(group.told()),
            Self::Directory(directory, _) => {
                Place::Directory(directory.path().display().to_string())
            }
            Self::Closed(why) => Place::Closed(why.clone()),
        }
    }
}

/// What the rules of all hosts share in a process.
#[derive(Debug)]
pub(crate) struct Live {
    limiter: Limiter,
    verified: Verified,
    checks: Semaphore,
    since: OnceLock<Instant>,
    /// How the upstreams of all hosts fare.
    pub(crate) watch: Arc<Watch>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            limiter: Limiter::new(BUCKETS),
            verified: Verified::default(),
            checks: Semaphore::new(CHECKS),
            since: OnceLock::new(),
            watch: Arc::default(),
        }
    }
}

impl Live {
    /// The time since a moment that stays the same.
    fn time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.since.get_or_init(|| now))
    }

    fn state(&self, now: Instant) -> State<'_> {
        let now = self.time(now);
        State { limiter: &self.limiter, verified: &self.verified, now, counts: true }
    }

    /// To look only.
    pub(crate) fn look(&self) -> State<'_> {
        State { counts: false, ..self.state(Instant::now()) }
    }
}

/// What a request comes to.
pub(crate) enum Next<'a> {
    /// An answer of our own.
    Answer(Response<Bytes>),
    /// To these upstreams, with this target. The credentials were for us if `known`.
    Upstreams { group: Arc<Group>, target: PathAndQuery, known: bool },
    /// To a directory, with this path beneath it.
    Directory(&'a Directory, PathAndQuery),
}

impl Gates {
    /// Those of a record; `None` for one that has none.
    ///
    /// # Errors
    /// Every fault of the record.
    pub(crate) fn new(
        host: &Host,
        roots: &Roots,
        grouping: &mut Grouping<'_>,
    ) -> Result<Option<Box<Self>>, Vec<Fault>> {
        if host.rules.is_none() && host.foreign_gate.is_none() {
            return Ok(None);
        }
        let Compiled { policy, headers, pages } = policy::compile(host)?;
        let rules = host.rules();
        let behind = |path: &str, behind| match behind {
            policy::Behind::Upstreams(all) => {
                Behind::Upstreams(Arc::new(grouping.group(path, &all)))
            }
            policy::Behind::Directory(rules) => match open(&rules, roots) {
                Ok(directory) => Behind::Directory(directory, AtomicU64::new(0)),
                Err(error) => {
                    let host = &host.pattern;
                    let why = with_causes(&error);
                    tracing::warn!(%host, root = rules.root, why, "a directory is not served");
                    Behind::Closed(why)
                }
            },
        };
        Ok(Some(Box::new(Self {
            policy: policy.map(behind),
            headers,
            max_body: rules.limits.max_body,
            compress: rules.compress,
            pages,
            intercept: rules.error_pages.as_ref().is_some_and(|pages| pages.intercept),
            foreign: host.foreign_gate,
        })))
    }

    /// Takes a request through the gates.
    pub(crate) async fn pass<'a>(
        &'a self,
        conn: &Rc<Conn>,
        record: &mut Record,
        matched: &Matched,
        head: &Parts,
        target: &PathAndQuery,
        by_https: bool,
    ) -> Result<Next<'a>, Refusal> {
        if let Some(field) = self.foreign {
            return Err(Refusal::ForeignGate(field));
        }
        if self.compress {
            record.is_compressed(static_files::preferred(&head.headers).next());
        }
        let client = client_of(conn, head);
        record.comes_from(client);
        let facts = Facts {
            method: &head.method,
            name: matched.name().unwrap_or_default(),
            port: matched.port(),
            path: target.path(),
            query: target.query(),
            headers: &head.headers,
            client,
            by_https,
            https_port: conn.worker.https_port,
        };
        let live = conn.worker.tables.live();
        let mut state = live.state(conn.worker.time.coarse());
        let decided = policy::decide(&self.policy, &facts, &mut state, &mut ());
        record.is_limited(decided.limit);
        let outcome = match decided.outcome {
            Outcome::Check(attempt) => match check(conn, live, &attempt).await? {
                true => policy::resume(&self.policy, &facts, Some(attempt.name().into()), &mut ()),
                false => Outcome::Answer(self.unauthorised()),
            },
            outcome => outcome,
        };
        match outcome {
            Outcome::Answer(Answer::Redirect(status, location)) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = status;
                response.headers_mut().insert(LOCATION, location);
                Ok(Next::Answer(response))
            }
            Outcome::Answer(answer) => Err(Refusal::Denied(answer)),
            // Checked just now: it does not come a second time.
            Outcome::Check(_) => Err(Refusal::Denied(self.unauthorised())),
            Outcome::Go(found) => {
                if let Behind::Directory(directory, looked_up) = found.target {
                    keep_up(directory, looked_up, state.now).await;
                }
                go(&found, target)
            }
        }
    }

    /// What would become of a request, as things stand: nothing is counted and no password is checked.
    pub(crate) fn explain(
        &self,
        asked: &Imagined,
        name: &str,
        https_port: u16,
        live: &Live,
    ) -> Explained {
        match self.foreign {
            Some(field) => Explained::guarded(field),
            None => {
                let place = Behind::place;
                asked.explained(&self.policy, name, https_port, &mut live.look(), place)
            }
        }
    }

    /// Changes a request's head as the operator wants it.
    pub(crate) fn change_request(&self, headers: &mut HeaderMap) {
        self.headers.request.apply(headers);
    }

    /// Adds to an answer, whoever gave it, what the operator and the limits have to say.
    pub(crate) fn change_answer(
        &self,
        headers: &mut HeaderMap,
        limit: Option<Fields>,
        scheme: Scheme,
    ) {
        self.headers.security.apply(headers, scheme);
        if let Some(Fields { mut remaining, policy }) = limit {
            // Another one each time, which HTTP/2's table of fields is not to keep.
            remaining.set_sensitive(true);
            headers.insert(RATE_LIMIT, remaining);
            headers.insert(RATE_LIMIT_POLICY, policy);
        }
        self.headers.response.apply(headers);
    }

    fn unauthorised(&self) -> Answer {
        let challenge = self.policy.basic.as_ref().map(|basic| basic.challenge().clone());
        Answer::Unauthorized(challenge.unwrap_or_else(|| HeaderValue::from_static("Basic")))
    }
}

/// What a decision to go on comes to.
fn go<'a>(
    found: &policy::Target<'a, '_, Behind>,
    asked: &PathAndQuery,
) -> Result<Next<'a>, Refusal> {
    match found.target {
        // Relative links of its pages would lead beside it.
        Behind::Directory(..) if found.is_bare => Ok(Next::Answer(to_folder(asked)?)),
        Behind::Directory(directory, _) => {
            Ok(Next::Directory(directory, with_path(asked, &found.path)?))
        }
        Behind::Upstreams(group) => {
            let target = with_path(asked, &found.path)?;
            Ok(Next::Upstreams { group: group.clone(), target, known: found.user.is_some() })
        }
        Behind::Closed(why) => Err(Refusal::NoDirectory(why.clone())),
    }
}

/// Looks a directory's path up again when that is some time ago: a release is often made by turning a link. One request
/// in that time waits for it.
async fn keep_up(directory: &Directory, looked_up: &AtomicU64, now: Duration) {
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let last = looked_up.load(Ordering::Relaxed);
    let is_due = now.saturating_sub(last) >= LOOK_UP_EVERY;
    if !is_due
        || looked_up.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
    {
        return;
    }
    let again = directory.clone();
    match tokio::task::spawn_blocking(move || again.refresh()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a directory is served as it was"),
        Err(error) => tracing::debug!(%error, "a directory was not looked up"),
    }
}

/// Sends a client to the same path with a slash behind it.
fn to_folder(asked: &PathAndQuery) -> Result<Response<Bytes>, Refusal> {
    let bad = || Refusal::BadRequest("a bad target");
    let location = policy::with_slash(asked.path(), asked.query()).ok_or_else(bad)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Checks a password on a thread that may take its time, in turn with others; those who wait for one that is being checked
/// get the answer.
async fn check(conn: &Conn, live: &Live, attempt: &Attempt) -> Result<bool, Refusal> {
    let turn = tokio::time::timeout(CHECK_WITHIN, live.checks.acquire()).await;
    let Ok(Ok(_turn)) = turn else { return Err(Refusal::Busy) };
    if let Some(is_right) = live.verified.recall(attempt, live.time(conn.worker.time.coarse())) {
        return Ok(is_right);
    }
    let asked = attempt.clone();
    let checked = tokio::task::spawn_blocking(move || {
        bcrypt::verify(asked.password(), asked.hash()).unwrap_or(false)
    });
    let matches = checked.await.map_err(|_| Refusal::Busy)?;
    Ok(live.verified.learn(attempt, matches, live.time(conn.worker.time.coarse())))
}

/// Who asks, by what trusted proxies say.
fn client_of(conn: &Conn, head: &Parts) -> IpAddr {
    if !conn.peer.is_trusted() {
        return conn.peer.ip();
    }
    // The rule is that of what the upstream is told; only this one field counts for it.
    let mut told = HeaderMap::new();
    for value in head.headers.get_all(X_FORWARDED_FOR) {
        told.append(X_FORWARDED_FOR, value.clone());
    }
    let host = HeaderValue::from_static("");
    let arrival = Arrival { peer: &conn.peer, scheme: conn.scheme(), host: &host };
    rewrite::next_hop(&mut told, &arrival, &conn.worker.settings.trusted_proxies)
}

/// The target with another path and its own query.
fn with_path(target: &PathAndQuery, path: &str) -> Result<PathAndQuery, Refusal> {
    if target.path() == path {
        return Ok(target.clone());
    }
    let whole = match target.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    whole.map_err(|_| Refusal::BadRequest("a bad target"))
}

fn open(rules: &DirectoryRules, roots: &Roots) -> Result<Directory, static_files::Error> {
    let options = Options {
        index: Some(rules.index.clone()).filter(|name| !name.is_empty()),
        fallback: rules.fallback.clone(),
        precompressed: rules.precompressed,
        immutable: rules.immutable.clone(),
    };
    roots.open(rules.root.as_ref(), options)
}

#[cfg(test)]
mod tests {
    use model::{DirectoryRules, Host, HostRules};

    use super::*;

    /// Each crate has a rule for the names of files in a host's record; what one took and the other did not was a host that the
    /// API had accepted and every request to it 503.
    #[test]
    fn a_name_that_a_directory_refuses_is_refused_in_the_record() {
        let around = tempfile::tempdir().unwrap();
        let roots = Roots::new([around.path().to_owned()]).unwrap();
        for name in
            ["a", "a/b", "\u{e9}", "/a", "a/", "a//b", "../a", ".a", "a/.b", "a\\b", "\u{1}"]
        {
            let rules = DirectoryRules {
                root: around.path().to_str().unwrap().to_owned(),
                immutable: vec![name.to_owned()],
                ..DirectoryRules::default()
            };
            let opened = open(&rules, &roots);
            let mut host = Host::new("a.test".parse().unwrap());
            host.set_rules(HostRules { directory: Some(rules), ..HostRules::default() });
            assert_eq!(policy::compile(&host).is_ok(), opened.is_ok(), "{name:?}: {opened:?}");
        }
    }
}
