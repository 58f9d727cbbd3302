//! What would become of a request, told the same by whoever is asked.

use std::net::IpAddr;

use http::{HeaderMap, Method, Uri};
use model::{BalancePolicy, HostRules, ProxyProtocol, UpstreamHttp};

use crate::redirect::with_slash;
use crate::{Answer, Facts, HostPolicy, Live, Outcome, Step, Target, decide};

/// A request that is only imagined.
#[derive(Clone, Debug)]
pub struct Imagined {
    /// How it asks.
    pub method: Method,
    /// What it asks for, with scheme and host.
    pub url: Uri,
    /// Who asks, behind trusted proxies.
    pub client: IpAddr,
    /// Its fields.
    pub headers: HeaderMap,
}

/// What would become of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Each gate and how it came out.
    pub steps: Vec<Step>,
    /// What it comes to, in a sentence.
    pub outcome: String,
    /// The status that the gateway itself answers with; `None` when the request goes on.
    pub status: Option<u16>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// The prefix of the route that it takes, when it goes on; `/` for the default.
    pub route: Option<String>,
    /// The path that is asked for there.
    pub path: Option<String>,
    /// The upstreams that it goes to one of.
    pub upstreams: Vec<String>,
    /// The directory that it goes to.
    pub directory: Option<String>,
}

/// What stands behind a path, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Upstreams, each as it is written.
    Upstreams(Vec<String>),
    /// A directory.
    Directory(String),
    /// A directory that can't be served, and why.
    Closed(String),
}

impl Explained {
    /// Ended by the gateway before any gate.
    pub fn ended(status: u16, outcome: impl Into<String>) -> Self {
        Self { status: Some(status), outcome: outcome.into(), ..Self::default() }
    }

    /// A host that another program guards in a way that is not known here: by this field of its record.
    pub fn guarded(field: &str) -> Self {
        Self::ended(403, format!("{field} guards this host, which is not known here: 403"))
    }

    /// Adds how the host's rules share it out among upstreams, and what becomes of its answer.
    #[must_use]
    pub fn by(mut self, rules: &HostRules) -> Self {
        if !self.upstreams.is_empty() {
            self.outcome += &shared_out(rules, &self.upstreams);
        }
        if self.status.is_none() && self.route.is_some() {
            self.outcome += &besides(rules);
        }
        self
    }
}

/// Who of several upstreams gets it, and how it is spoken to.
fn shared_out(rules: &HostRules, upstreams: &[String]) -> String {
    let balance = &rules.balance;
    let mut text = String::new();
    if upstreams.len() > 1 {
        text += match balance.policy {
            BalancePolicy::LeastRequests => ", to the one with the fewest requests in flight",
            BalancePolicy::RandomTwo => ", to the less busy of two at random",
            BalancePolicy::ClientHash => ", always the same for this client's address",
            BalancePolicy::Cookie => ", the one that the browser's cookie names",
            _ => ", in turn",
        };
    }
    for (upstream, weight) in &balance.weights {
        text += &format!(", {upstream} by weight {weight}");
    }
    for upstream in &balance.backup {
        text += &format!(", {upstream} only when none of the others is usable");
    }
    if let Some(version) = rules.upstream_proxy_protocol {
        let version = if version == ProxyProtocol::V1 { 1 } else { 2 };
        text += &format!("; the connection begins with the PROXY protocol, version {version}");
    }
    if rules.upstream_http == UpstreamHttp::Two {
        text += "; by HTTP/2";
    }
    text
}

/// What becomes of its answer.
fn besides(rules: &HostRules) -> String {
    let mut text = String::new();
    if rules.compress {
        text += "; the answer is compressed where the client takes it and it is worth it";
    }
    if let Some(rules) = &rules.error_pages {
        let pages: Vec<_> = rules.pages.keys().map(String::as_str).collect();
        let whose = if rules.intercept { " and of the app" } else { "" };
        text += &format!("; errors of the gateway{whose} have pages for {}", pages.join(", "));
    }
    text
}

impl Imagined {
    /// Takes it through the gates of its host without counting it. `name` is the host's, normalised; `https_port` that by
    /// which HTTPS is reached; `place` says what stands behind a path.
    pub fn explained<T>(
        &self,
        policy: &HostPolicy<T>,
        name: &str,
        https_port: u16,
        live: &mut impl Live,
        place: impl Fn(&T) -> Place,
    ) -> Explained {
        if !self.url.path_and_query().is_none_or(|it| it.as_str().bytes().all(is_graphic)) {
            return Explained::ended(400, "the target has characters that must be escaped: 400");
        }
        let facts = Facts {
            method: &self.method,
            name,
            port: self.url.port_u16(),
            path: self.url.path(),
            query: self.url.query(),
            headers: &self.headers,
            client: self.client,
            by_https: self.url.scheme_str() == Some("https"),
            https_port,
        };
        let mut steps = Vec::new();
        let decision = decide(policy, &facts, live, &mut steps);
        let explained = match decision.outcome {
            Outcome::Answer(answer) => answered(&answer),
            Outcome::Check(attempt) => Explained {
                outcome: format!("the password of {:?} decides", attempt.name()),
                ..Explained::default()
            },
            Outcome::Go(target) => gone(&target, &facts, place(target.target)),
        };
        Explained { steps, ..explained }
    }
}

/// What a request line can hold of a target.
fn is_graphic(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

fn answered(answer: &Answer) -> Explained {
    match answer {
        Answer::Redirect(status, location) => {
            redirected(status.as_u16(), location.to_str().unwrap_or("?"))
        }
        answer => {
            let status = answer.status();
            Explained::ended(status.as_u16(), format!("{status} by the gateway"))
        }
    }
}

fn redirected(status: u16, location: &str) -> Explained {
    let location = location.to_owned();
    let explained = Explained::ended(status, format!("{status} to {location}"));
    Explained { location: Some(location), ..explained }
}

fn gone<T>(target: &Target<'_, '_, T>, facts: &Facts<'_>, place: Place) -> Explained {
    let path = &*target.path;
    let explained = match place {
        Place::Upstreams(all) if all.is_empty() => Explained::ended(503, "no upstream: 503"),
        Place::Upstreams(all) => {
            let outcome = format!("to one of {} with {path}", all.join(", "));
            Explained { outcome, upstreams: all, ..Explained::default() }
        }
        Place::Closed(why) => Explained::ended(503, format!("{why}: 503")),
        Place::Directory(_) if target.is_bare => match with_slash(facts.path, facts.query) {
            Some(location) => redirected(307, location.to_str().unwrap_or("?")),
            None => Explained::ended(400, "a bad target: 400"),
        },
        Place::Directory(root) => {
            let outcome = format!("to the directory {root} with {path}");
            Explained { outcome, directory: Some(root), ..Explained::default() }
        }
    };
    Explained { route: Some(target.prefix.to_owned()), path: Some(path.to_owned()), ..explained }
}
