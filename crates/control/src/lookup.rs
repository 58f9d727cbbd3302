use std::time::Duration;

use auth::Permission;
use model::Hostname;

use crate::record_text::with_wildcard_parent;
use crate::{Actor, Control, Error};

/// How long an answer may wait for news from the store: who asks waits 100 ms for the whole of it.
const NEWS: Duration = Duration::from_millis(50);

/// Which pattern answers for a name, and what else would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The name as it is compared.
    pub name: Hostname,
    /// The pattern of the host that gets its requests.
    pub matched: Option<String>,
    /// Every pattern that matches, the best first.
    pub candidates: Vec<Candidate>,
}

/// A pattern that matches a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The pattern.
    pub pattern: String,
    /// Why it won or lost, for people.
    pub why: String,
}

impl Control {
    /// Which host a name leads to, and why. Disabled hosts take no part.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn lookup(&self, actor: &Actor, name: Hostname) -> Result<Lookup, Error> {
        actor.may(Permission::Read)?;
        self.refresh().await?;
        let tables = self.tables();
        let matched = tables.enabled.lookup(name.as_str()).map(|found| found.pattern().to_owned());
        let candidates = tables.enabled.candidates(name.as_str());
        let candidates = candidates
            .iter()
            .map(|one| Candidate { pattern: one.pattern.to_owned(), why: one.why.to_string() });
        let candidates = candidates.collect();
        drop(tables);
        Ok(Lookup { name, matched, candidates })
    }

    /// The record of the host that a name leads to, for a data plane on this machine: one JSON object with the fields
    /// as stored, by their names there; `None` when no pattern matches.
    ///
    /// A record found by its wildcard names that as its `wildcard_parent` when there is a certificate of this name. While
    /// the store does not answer, this does, from what was last read.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when nothing was ever read.
    pub async fn lookup_record(&self, name: &Hostname) -> Result<Option<String>, Error> {
        let news = tokio::select! {
            news = self.refresh() => news.map(drop),
            () = self.clock().sleep(NEWS) => Ok(()),
        };
        let tables = self.tables();
        if !tables.loaded {
            drop(tables);
            news?;
            return Err(Error::Unavailable("the hosts were not read yet".into()));
        }
        let Some(found) = tables.enabled.lookup(name.as_str()) else { return Ok(None) };
        let (pattern, record) = (found.pattern(), &found.value().record);
        let by_wildcard = pattern.contains('*') && tables.certs.contains_key(pattern);
        Ok(Some(match by_wildcard {
            true => with_wildcard_parent(record, pattern),
            false => record.to_string(),
        }))
    }
}
