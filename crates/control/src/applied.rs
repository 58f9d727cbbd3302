use std::collections::BTreeMap;
use std::time::Duration;

use model::Revision;
use store::{BadRecord, ProxyReport};

use crate::{Control, Error};

/// How long to wait before looking at the reports again: short at first, since a change usually takes milliseconds.
const FIRST_LOOK: Duration = Duration::from_millis(4);
/// The longest wait between two looks.
const LAST_LOOK: Duration = Duration::from_millis(50);
/// How many reports are read at once.
const PAGE: usize = 500;

/// Whether a change runs everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Whether every live proxy runs it.
    pub applied: bool,
    /// How many proxies are alive.
    pub proxies: usize,
    /// Those that do not run it yet, by instance, in order.
    pub laggards: Vec<String>,
}

/// The one doubt in which a proxy goes on taking over what is committed.
const DROPS_HOSTS: &str = "drops_hosts";

/// Whether a proxy runs everything up to a revision. One that doubts whether this is its store does not, whatever the
/// numbers say: those of a store that went back come again.
fn runs(report: &ProxyReport, revision: &Revision) -> bool {
    let doubts = report.guard.as_ref().is_some_and(|guard| guard.reason != DROPS_HOSTS);
    report.revision.includes(revision) && !doubts
}

impl Control {
    /// Waits until every worker of every live proxy runs a revision, at most `timeout`. A proxy without a report is
    /// not alive; one whose report can't be read is a laggard. Without any proxy the answer is immediate.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the reports can't be read.
    pub async fn wait_applied(
        &self,
        revision: &Revision,
        timeout: Duration,
    ) -> Result<Applied, Error> {
        let mut end = std::pin::pin!(self.clock().sleep(timeout));
        let mut pause = FIRST_LOOK;
        loop {
            let now = self.applied(revision).await?;
            if now.applied {
                return Ok(now);
            }
            // Reports are leases, which give no hint.
            tokio::select! {
                () = &mut end => return Ok(now),
                () = self.clock().sleep(pause) => pause = (pause * 2).min(LAST_LOOK),
            }
        }
    }

    async fn applied(&self, revision: &Revision) -> Result<Applied, Error> {
        let (reports, bad) = self.reports().await?;
        let proxies = reports.len() + bad.len();
        let behind = reports.into_iter().filter(|report| !runs(report, revision));
        let mut laggards: Vec<_> = behind.map(|report| report.instance).collect();
        laggards.extend(bad.into_iter().map(|bad| bad.key.id));
        laggards.sort();
        Ok(Applied { applied: laggards.is_empty(), proxies, laggards })
    }

    /// What the live proxies say of themselves, by instance, and the reports that can't be read.
    pub(crate) async fn reports(&self) -> Result<(Vec<ProxyReport>, Vec<BadRecord>), Error> {
        let (mut reports, mut bad) = (BTreeMap::new(), BTreeMap::new());
        let mut cursor = None;
        loop {
            let page = self.store().list::<ProxyReport>(cursor.as_deref(), PAGE).await?;
            let found = page.records.into_iter().map(|found| found.value);
            reports.extend(found.map(|report| (report.instance.clone(), report)));
            bad.extend(page.bad.into_iter().map(|bad| (bad.key.id.clone(), bad)));
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok((reports.into_values().collect(), bad.into_values().collect())),
            }
        }
    }
}
