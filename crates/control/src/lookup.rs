use auth::Permission;
use model::Hostname;

use crate::{Actor, Control, Error};

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
}
