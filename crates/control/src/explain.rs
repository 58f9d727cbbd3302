//! Why a request would be answered as it would: the gates of its host, one after the other, by the same functions that decide
//! in the data plane.

use std::net::IpAddr;
use std::time::Duration;

use auth::Permission;
use http::{HeaderMap, Method, Uri};
use model::{BalancePolicy, Host, HostRules, Hostname, ProxyProtocol, Upstream, UpstreamHttp};
use policy::limit::Limiter;
use policy::{Answer, Behind, Compiled, Facts, Outcome, State, Step, Verified};

use crate::{Actor, Candidate, Control, Error};

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

/// What would become of it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The name as it is compared.
    pub name: String,
    /// The pattern of the host that gets it; `None` when there is none.
    pub matched: Option<String>,
    /// Every pattern that matches, the best first.
    pub candidates: Vec<Candidate>,
    /// Each gate and how it came out.
    pub steps: Vec<Step>,
    /// What it comes to, in a sentence.
    pub outcome: String,
    /// The status that the gateway itself answers with; `None` when the request goes on.
    pub status: Option<u16>,
}

impl Control {
    /// What would become of a request. Limits and passwords are live in each proxy, so here their buckets are full and
    /// every password is yet to be checked.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL without a host; [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn explain(&self, actor: &Actor, asked: &Imagined) -> Result<Explanation, Error> {
        actor.may(Permission::Read)?;
        let authority = asked.url.authority().map(|authority| authority.as_str());
        let authority = authority.ok_or_else(|| Error::invalid("?url", "must have a host"))?;
        let name = Hostname::from_authority(authority)
            .map_err(|error| Error::invalid("?url", error.to_string()))?;
        let found = self.lookup(actor, name.clone()).await?;
        let mut explained = Explanation {
            name: name.as_str().to_owned(),
            matched: found.matched.clone(),
            candidates: found.candidates,
            steps: Vec::new(),
            outcome: "no pattern matches: unknown host".to_owned(),
            status: Some(404),
        };
        let Some(pattern) = found.matched else { return Ok(explained) };
        let Some(host) = self.store().get::<Host>(&pattern).await? else { return Ok(explained) };
        decide(&host.value, name.as_str(), asked, &mut explained);
        if explained.status.is_none() && explained.outcome.starts_with(TOWARD) {
            explained.outcome += &self.ailing(&pattern).await?;
        }
        Ok(explained)
    }
}

impl Control {
    /// What proxies said of the upstreams of a host that they don't use as usual.
    async fn ailing(&self, pattern: &str) -> Result<String, Error> {
        let now = self.now();
        let mut said = String::new();
        for report in self.reports().await?.0 {
            for it in report.ailing.iter().filter(|it| it.host == pattern) {
                let ago = now.as_millis().saturating_sub(it.since.as_millis()) / 1_000;
                let (proxy, upstream, state) = (&report.instance, &it.upstream, &it.state);
                said += &format!("; proxy {proxy}: {upstream} is {state} since {ago} s ago");
            }
        }
        Ok(said)
    }
}

/// What an outcome begins with that goes to upstreams.
const TOWARD: &str = "to one of ";

fn decide(host: &Host, name: &str, asked: &Imagined, explained: &mut Explanation) {
    if let Some(field) = host.foreign_gate {
        explained.outcome = format!("{field} guards this host, which is not known here: 403");
        explained.status = Some(403);
        return;
    }
    let compiled = match policy::compile(host) {
        Ok(compiled) => compiled,
        Err(faults) => {
            let faults: Vec<_> =
                faults.iter().map(|it| format!("{}: {}", it.pointer, it.detail)).collect();
            explained.outcome = format!("proxies refuse the record: {}", faults.join("; "));
            explained.status = None;
            return;
        }
    };
    let Compiled { policy, .. } = compiled;
    let facts = Facts {
        method: &asked.method,
        name,
        port: asked.url.port_u16(),
        path: asked.url.path(),
        query: asked.url.query(),
        headers: &asked.headers,
        client: asked.client,
        by_https: asked.url.scheme_str() == Some("https"),
        https_port: 443,
    };
    let (limiter, verified) = (Limiter::new(1), Verified::default());
    let mut state =
        State { limiter: &limiter, verified: &verified, now: Duration::ZERO, counts: false };
    let decision = policy::decide(&policy, &facts, &mut state, &mut explained.steps);
    (explained.outcome, explained.status) = match decision.outcome {
        Outcome::Answer(answer) => (told(&answer), Some(answer.status().as_u16())),
        Outcome::Check(attempt) => (format!("the password of {:?} decides", attempt.name()), None),
        Outcome::Go(target) => {
            let gone = gone(host, target.target, &target.path);
            (gone + &besides(host.rules(), target.target), None)
        }
    };
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Redirect(status, location) => {
            format!("{} to {}", status.as_u16(), location.to_str().unwrap_or("?"))
        }
        answer => format!("{} by the gateway", answer.status()),
    }
}

/// What else becomes of its answer, and how it gets there.
fn besides(rules: &HostRules, behind: &Behind) -> String {
    let mut besides = String::new();
    if let (Some(version), Behind::Upstreams(_)) = (rules.upstream_proxy_protocol, behind) {
        let version = if version == ProxyProtocol::V1 { 1 } else { 2 };
        besides += &format!("; the connection begins with the PROXY protocol, version {version}");
    }
    if let (UpstreamHttp::Two, Behind::Upstreams(_)) = (rules.upstream_http, behind) {
        besides += "; by HTTP/2";
    }
    if rules.compress {
        besides += "; the answer is compressed where the client takes it and it is worth it";
    }
    if let Some(rules) = &rules.error_pages {
        let pages: Vec<_> = rules.pages.keys().map(String::as_str).collect();
        let whose = if rules.intercept { " and of the app" } else { "" };
        besides += &format!("; errors of the gateway{whose} have pages for {}", pages.join(", "));
    }
    besides
}

fn gone(host: &Host, behind: &Behind, path: &str) -> String {
    match behind {
        Behind::Upstreams(all) if all.is_empty() => "no upstream: 503".to_owned(),
        Behind::Upstreams(all) => shared_out(host, all, path),
        Behind::Directory(directory) => format!("to the directory {} with {path}", directory.root),
    }
}

/// Who of several upstreams gets it, and by what.
fn shared_out(host: &Host, all: &[Upstream], path: &str) -> String {
    let balance = &host.rules().balance;
    let named = |is_backup: bool| {
        let some = all.iter().filter(|it| balance.backup.contains(it) == is_backup);
        let texts = some.map(|upstream| match balance.weight(upstream) {
            1 => upstream.to_string(),
            weight => format!("{upstream} (weight {weight})"),
        });
        texts.collect::<Vec<_>>().join(", ")
    };
    let (primaries, backups) = (named(false), named(true));
    let mut text = format!("{TOWARD}{primaries} with {path}");
    if all.len() > 1 {
        text += match balance.policy {
            BalancePolicy::LeastRequests => ", to the one with the fewest requests in flight",
            BalancePolicy::RandomTwo => ", to the less busy of two at random",
            BalancePolicy::ClientHash => ", always the same for this client's address",
            BalancePolicy::Cookie => ", the one that the browser's cookie names",
            _ => ", in turn",
        };
    }
    if !backups.is_empty() {
        text += &format!("; when none of them is usable to {backups}");
    }
    text
}
