use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap};
use http::{HeaderValue, Method, StatusCode};

use crate::limit::{Fields, Limiter, Rule, Standing};
use crate::redirect::located;
use crate::{
    Access, Attempt, BasicAuth, Credentials, Found, Gate, Networks, Redirect, Routes, Trace,
    Verified,
};

/// All that is decided about the requests of one host; made once per host. `T` is what stands behind a path: a pool
/// for the data plane, a description for who explains.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPolicy<T> {
    /// Which clients are let in.
    pub access: Access,
    /// Whether plain HTTP is sent to HTTPS.
    pub force_https: bool,
    /// Whether the host is closed.
    pub maintenance: Option<Maintenance>,
    /// How often may be asked; each of them counts.
    pub limits: Vec<Rule>,
    /// Who may come in.
    pub basic: Option<BasicAuth>,
    /// Whether other names of the host are sent to the main one.
    pub canonical: Option<Canonical>,
    /// Whether everything is sent elsewhere.
    pub redirect: Option<Redirect>,
    /// What stands behind which path.
    pub routes: Routes<T>,
}

impl<T> HostPolicy<T> {
    /// A host without gates, all paths of which lead to one target.
    pub fn open_to(target: T) -> Self {
        Self {
            access: Access::default(),
            force_https: false,
            maintenance: None,
            limits: Vec::new(),
            basic: None,
            canonical: None,
            redirect: None,
            routes: Routes::all_to(target),
        }
    }
}

impl<T> HostPolicy<T> {
    /// The same decisions about what `make` makes of each prefix and what stands behind it.
    pub fn map<U>(self, make: impl FnMut(&str, T) -> U) -> HostPolicy<U> {
        let Self { access, force_https, maintenance, limits, basic, canonical, redirect, routes } =
            self;
        let routes = routes.map(make);
        HostPolicy { access, force_https, maintenance, limits, basic, canonical, redirect, routes }
    }
}

/// A host that is closed for a while: 503.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// Clients for whom it is open, to see whether the work is done.
    pub except: Networks,
}

/// The name that a host goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// Normalised.
    pub name: Box<str>,
    /// 301, 302, 307 or 308.
    pub status: StatusCode,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// How it asks.
    pub method: &'a Method,
    /// The name it asks for, normalised.
    pub name: &'a str,
    /// The port that the client wrote behind the name.
    pub port: Option<u16>,
    /// The path in origin form, percent-encoded as it came; `*` of OPTIONS too.
    pub path: &'a str,
    /// Its query.
    pub query: Option<&'a str>,
    /// All fields.
    pub headers: &'a HeaderMap,
    /// The client, behind trusted proxies.
    pub client: IpAddr,
    /// Whether the client came by HTTPS.
    pub by_https: bool,
    /// The port by which HTTPS is reached.
    pub https_port: u16,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub struct Decision<'p, 'f, T> {
    /// Where it goes.
    pub outcome: Outcome<'p, 'f, T>,
    /// What its answer tells of the tightest limit, whoever gives the answer.
    pub limit: Option<Fields>,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub enum Outcome<'p, 'f, T> {
    /// No further: the gateway answers.
    Answer(Answer),
    /// A password is to be checked first; then [`resume`] if it is right, else [`Answer::Unauthorized`].
    Check(Attempt),
    /// To what stands behind its path.
    Go(Target<'p, 'f, T>),
}

/// What stands behind a request's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'p, 'f, T> {
    /// It.
    pub target: &'p T,
    /// The prefix of the route, `/` for the default.
    pub prefix: &'p str,
    /// The path to ask for there.
    pub path: Cow<'f, str>,
    /// Whether a directory has to add a slash first ([`Found::is_bare`](crate::Found::is_bare)).
    pub is_bare: bool,
    /// The user whose password it had: `Authorization` was for the gateway then, and must not reach the app.
    pub user: Option<Box<str>>,
}

/// An answer of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// 403: the address is not let in.
    Forbidden,
    /// A redirect.
    Redirect(StatusCode, HeaderValue),
    /// 503 with `Retry-After` in seconds.
    Maintenance(Option<u32>),
    /// 429 with `Retry-After` in seconds.
    TooMany(u64),
    /// 401 with `WWW-Authenticate`.
    Unauthorized(HeaderValue),
    /// 400: the path can be read in several ways, and the host has prefixes.
    BadPath,
}

impl Answer {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Redirect(status, _) => *status,
            Self::Maintenance(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::BadPath => StatusCode::BAD_REQUEST,
        }
    }
}

/// What depends on other requests than this one.
pub trait Live {
    /// Counts a request.
    fn take(&mut self, rule: &Rule, facts: &Facts<'_>) -> Standing;
    /// Judges a request's credentials.
    fn judge(&mut self, auth: &BasicAuth, field: Option<&HeaderValue>) -> Credentials;
}

/// The buckets and checked passwords of a process, at a moment.
#[derive(Clone, Copy, Debug)]
pub struct State<'s> {
    /// All buckets.
    pub limiter: &'s Limiter,
    /// All passwords checked lately.
    pub verified: &'s Verified,
    /// The time since a moment that stays the same.
    pub now: Duration,
    /// Whether the request is a real one, which counts; else it is only looked how it would stand.
    pub counts: bool,
}

impl Live for State<'_> {
    fn take(&mut self, rule: &Rule, facts: &Facts<'_>) -> Standing {
        let who = rule.who(facts.client, facts.headers);
        match self.counts {
            true => self.limiter.take(rule, who, self.now),
            false => self.limiter.peek(rule, who, self.now),
        }
    }

    fn judge(&mut self, auth: &BasicAuth, field: Option<&HeaderValue>) -> Credentials {
        self.verified.judge(auth, field, self.now)
    }
}

/// Decides what becomes of a request, gate by gate in the order of [`Gate`].
///
/// Who isn't let in learns nothing else; passwords are asked for over HTTPS where the host forces it, and guesses
/// count against the limits.
pub fn decide<'p, 'f, T>(
    policy: &'p HostPolicy<T>,
    facts: &Facts<'f>,
    live: &mut impl Live,
    trace: &mut impl Trace,
) -> Decision<'p, 'f, T> {
    let stop = |answer| Decision { outcome: Outcome::Answer(answer), limit: None };
    if let Some(answer) = enter(policy, facts, trace) {
        return stop(answer);
    }
    let (refused, limit) = count(&policy.limits, facts, live, trace);
    let outcome = match refused {
        Some(answer) => Outcome::Answer(answer),
        None => match identify(policy.basic.as_ref(), facts, live, trace) {
            Ok(user) => resume(policy, facts, user, trace),
            Err(outcome) => outcome,
        },
    };
    Decision { outcome, limit }
}

/// What is left to decide when the credentials are right: which target, or a redirect.
pub fn resume<'p, 'f, T>(
    policy: &'p HostPolicy<T>,
    facts: &Facts<'f>,
    user: Option<Box<str>>,
    trace: &mut impl Trace,
) -> Outcome<'p, 'f, T> {
    if let Some(canonical) = &policy.canonical {
        let is_main = *canonical.name == *facts.name;
        trace.step(Gate::Canonical, is_main, || format!("the main name is {}", canonical.name));
        let scheme = if facts.by_https { "https" } else { "http" };
        let port = facts.port.map_or_else(String::new, |port| format!(":{port}"));
        let to = format!("{scheme}://{}{port}", canonical.name);
        if let (false, Some(location)) = (is_main, located(&to, facts.path, facts.query)) {
            return Outcome::Answer(Answer::Redirect(canonical.status, location));
        }
    }
    if let Some(redirect) = &policy.redirect
        && let Some(location) = redirect.location(facts.path, facts.query)
    {
        trace.step(Gate::Redirect, false, || format!("{} to {location:?}", redirect.status()));
        return Outcome::Answer(Answer::Redirect(redirect.status(), location));
    }
    match policy.routes.find(facts.path) {
        Some(found) => {
            trace.step(Gate::Route, true, || {
                format!("the longest prefix is {}; asked for there: {}", found.prefix, found.path)
            });
            let Found { target, prefix, path, is_bare } = found;
            Outcome::Go(Target { target, prefix, path, is_bare, user })
        }
        None => {
            trace.step(Gate::Route, false, || "the path can be read in several ways".to_owned());
            Outcome::Answer(Answer::BadPath)
        }
    }
}

/// The gates that depend on the request alone.
fn enter<T>(policy: &HostPolicy<T>, facts: &Facts<'_>, trace: &mut impl Trace) -> Option<Answer> {
    let admitted = policy.access.admits(facts.client);
    trace.step(Gate::Access, admitted, || policy.access.why(facts.client));
    if !admitted {
        return Some(Answer::Forbidden);
    }
    if policy.force_https {
        trace.step(Gate::Https, facts.by_https, || {
            format!("HTTPS is forced and the client came by {}", scheme(facts))
        });
        if !facts.by_https {
            return to_https(facts);
        }
    }
    let maintenance = policy.maintenance.as_ref()?;
    let is_excepted = maintenance.except.contains(facts.client);
    trace.step(Gate::Maintenance, is_excepted, || {
        let who = if is_excepted { "but not for" } else { "also for" };
        format!("the host is closed, {who} {}", facts.client)
    });
    (!is_excepted).then_some(Answer::Maintenance(maintenance.retry_after))
}

/// Counts a request by every limit, up to one that refuses it. Told is the limit that has the least left.
fn count(
    limits: &[Rule],
    facts: &Facts<'_>,
    live: &mut impl Live,
    trace: &mut impl Trace,
) -> (Option<Answer>, Option<Fields>) {
    let mut tightest: Option<(&Rule, Standing)> = None;
    for rule in limits {
        let standing = live.take(rule, facts);
        trace.step(Gate::RateLimit, standing.admitted, || {
            format!("{}: {} left, {:?} to wait", rule.name(), standing.remaining, standing.wait)
        });
        if !standing.admitted {
            let answer = Answer::TooMany(standing.retry_after_seconds());
            return (Some(answer), Some(rule.fields(&standing)));
        }
        if tightest.is_none_or(|(_, least)| standing.remaining < least.remaining) {
            tightest = Some((rule, standing));
        }
    }
    (None, tightest.map(|(rule, standing)| rule.fields(&standing)))
}

/// The user whose password a request has, if the host wants one; else what to do instead.
fn identify<'p, 'f, T>(
    auth: Option<&BasicAuth>,
    facts: &Facts<'_>,
    live: &mut impl Live,
    trace: &mut impl Trace,
) -> Result<Option<Box<str>>, Outcome<'p, 'f, T>> {
    let Some(auth) = auth else { return Ok(None) };
    match live.judge(auth, facts.headers.get(AUTHORIZATION)) {
        Credentials::Known(user) => {
            trace.step(Gate::Credentials, true, || format!("the password of {user:?} is right"));
            Ok(Some(user))
        }
        Credentials::Refused => {
            trace.step(Gate::Credentials, false, || "no name and password that fit".to_owned());
            Err(Outcome::Answer(Answer::Unauthorized(auth.challenge().clone())))
        }
        Credentials::Unchecked(attempt) => {
            trace.step(Gate::Credentials, false, || {
                format!("the password of {:?} is yet to be checked", attempt.name())
            });
            Err(Outcome::Check(attempt))
        }
    }
}

fn to_https(facts: &Facts<'_>) -> Option<Answer> {
    let to = match facts.https_port {
        443 => format!("https://{}", facts.name),
        port => format!("https://{}:{port}", facts.name),
    };
    // Other methods must be repeated with their body (RFC 9110 §15.4.9).
    let status = match *facts.method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    let location = located(&to, facts.path, facts.query);
    // Made of a request's own parts: valid. Were it not, the request must not go on in clear.
    Some(location.map_or(Answer::Forbidden, |location| Answer::Redirect(status, location)))
}

fn scheme(facts: &Facts<'_>) -> &'static str {
    if facts.by_https { "HTTPS" } else { "HTTP" }
}
