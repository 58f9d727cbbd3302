//! Why a request would be answered as it would: the gates of its host, one after the other, by the same functions that decide
//! in the data plane.

use std::net::IpAddr;
use std::time::Duration;

use auth::Permission;
use http::{HeaderMap, Method, Uri};
use model::{Host, Hostname, UpstreamHttp};
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
        Ok(explained)
    }
}

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
        Outcome::Go(target) => (gone(target.target, host.rules().upstream_http, &target.path), None),
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

fn gone(behind: &Behind, http: UpstreamHttp, path: &str) -> String {
    let by = if http == UpstreamHttp::Two { " by HTTP/2" } else { "" };
    match behind {
        Behind::Upstreams(all) if all.is_empty() => "no upstream: 503".to_owned(),
        Behind::Upstreams(all) => {
            let all: Vec<_> = all.iter().map(ToString::to_string).collect();
            format!("to one of {} with {path}{by}", all.join(", "))
        }
        Behind::Directory(directory) => format!("to the directory {} with {path}", directory.root),
    }
}
