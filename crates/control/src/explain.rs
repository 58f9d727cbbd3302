//! Why a request would be answered as it would: the gates of its host, one after the other, by the same functions that decide
//! in the data plane.

use std::time::Duration;

use auth::Permission;
use model::{Host, Hostname};
use policy::limit::Limiter;
use policy::{Behind, Compiled, Explained, Imagined, Place, State, Verified};

use crate::{Actor, Candidate, Control, Error};

/// Where HTTPS is reached, as far as the control plane knows.
const HTTPS_PORT: u16 = 443;

/// What would become of a request.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The name as it is compared.
    pub name: String,
    /// The pattern of the host that gets it; `None` when there is none.
    pub matched: Option<String>,
    /// Every pattern that matches, the best first.
    pub candidates: Vec<Candidate>,
    /// What the host does with it.
    pub explained: Explained,
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
        let mut explanation = Explanation {
            name: name.as_str().to_owned(),
            matched: found.matched.clone(),
            candidates: found.candidates,
            explained: Explained::ended(404, "no pattern matches: unknown host"),
        };
        let Some(pattern) = found.matched else { return Ok(explanation) };
        let Some(host) = self.store().get::<Host>(&pattern).await? else { return Ok(explanation) };
        explanation.explained = explained(&host.value, name.as_str(), asked);
        if !explanation.explained.upstreams.is_empty() {
            explanation.explained.outcome += &self.ailing(&pattern).await?;
        }
        Ok(explanation)
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

fn explained(host: &Host, name: &str, asked: &Imagined) -> Explained {
    if let Some(field) = host.foreign_gate {
        return Explained::guarded(field);
    }
    let Compiled { policy, .. } = match policy::compile(host) {
        Ok(compiled) => compiled,
        Err(faults) => {
            let faults: Vec<_> =
                faults.iter().map(|it| format!("{}: {}", it.pointer, it.detail)).collect();
            let outcome = format!("proxies refuse the record: {}", faults.join("; "));
            return Explained { outcome, ..Explained::default() };
        }
    };
    let (limiter, verified) = (Limiter::new(1), Verified::default());
    let mut state =
        State { limiter: &limiter, verified: &verified, now: Duration::ZERO, counts: false };
    asked.explained(&policy, name, HTTPS_PORT, &mut state, place).by(host.rules())
}

fn place(behind: &Behind) -> Place {
    match behind {
        Behind::Upstreams(all) => Place::Upstreams(all.iter().map(ToString::to_string).collect()),
        Behind::Directory(directory) => Place::Directory(directory.root.clone()),
    }
}
