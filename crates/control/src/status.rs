use auth::Permission;
use model::{Revision, Timestamp};
use runtime::TaskStatus;
use store::{BadRecord, ProxyReport};
use telemetry::Metrics;

use crate::mirror::IssuanceFacts;
use crate::{Actor, Control, Error};

/// How many certificates are listed as due; all are counted.
const LISTED: usize = 100;
/// Of how many certificates the end is measured: a series each is too much for many.
const MEASURED: usize = 1_000;

/// How the whole stands, as far as the control plane can see.
#[derive(Clone, Debug)]
pub struct Status {
    /// Where the store stands; `None` when it can't be reached, and then the lists below are empty.
    pub store: Option<Revision>,
    /// The live proxies, by instance.
    pub proxies: Vec<ProxyStatus>,
    /// The background tasks of this process.
    pub tasks: Vec<TaskStatus>,
    /// How many certificates there are.
    pub certificates: usize,
    /// How many are due for renewal or expired.
    pub due: usize,
    /// The first of those, soonest end first.
    pub due_list: Vec<CertificateDue>,
    /// How many names an authority gives no certificate for, as it seems.
    pub failing: usize,
    /// The first of those, by name.
    pub failing_list: Vec<CertificateFailing>,
}

/// A name whose last attempts to get a certificate failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFailing {
    /// The name.
    pub name: String,
    /// How many attempts failed in a row.
    pub failures: u32,
    /// How far the last one came.
    pub stage: String,
    /// What kind of failure it was.
    pub code: String,
    /// The same for people.
    pub detail: String,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
}

/// A live proxy.
#[derive(Clone, Debug)]
pub struct ProxyStatus {
    /// What it says of itself.
    pub report: ProxyReport,
    /// How many commits it is behind; `None` when it runs another life of the store.
    pub lag: Option<u64>,
}

/// A certificate past two thirds of its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateDue {
    /// Its name.
    pub name: String,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Control {
    /// How the whole stands. An unreachable store is an answer, not an error.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn status(&self, actor: &Actor) -> Result<Status, Error> {
        actor.may(Permission::Read)?;
        let mut status = Status {
            store: None,
            proxies: Vec::new(),
            tasks: vec![self.certificates_activator().status(), self.0.zones.status()],
            failing: 0,
            failing_list: Vec::new(),
            certificates: 0,
            due: 0,
            due_list: Vec::new(),
        };
        if let Ok((revision, proxies)) = self.proxies().await {
            status.store = Some(revision);
            status.proxies = proxies;
            self.count_certificates(&mut status);
        }
        Ok(status)
    }

    /// Registers figures on what is remembered: hosts, certificates and how many of those are due.
    pub fn measure(&self, metrics: &Metrics) {
        let control = self.clone();
        metrics.sampled_gauge(
            "gatewright_control_hosts",
            "Hosts in the store, as the control plane last saw it.",
            move |samples| samples.push(&[], control.tables().patterns.len()),
        );
        let control = self.clone();
        metrics.sampled_gauge(
            "gatewright_control_certificates",
            "Certificates in the store, by whether they are past two thirds of their life.",
            move |samples| {
                let now = control.now();
                let tables = control.tables();
                let due = tables.certs.values().filter(|cert| cert.renew_at() <= now).count();
                samples.push(&[("state", "due")], due);
                samples.push(&[("state", "fresh")], tables.certs.len() - due);
            },
        );
        self.measure_certificates(metrics);
    }

    fn measure_certificates(&self, metrics: &Metrics) {
        let failures = metrics.counter(
            "gatewright_certificate_failures_total",
            "Attempts to get a certificate that failed, by the code of the failure.",
            ["code"],
        );
        // A second registry would count a second time.
        let _ = self.0.failures.set(failures);
        let control = self.clone();
        metrics.sampled_gauge(
            "gatewright_certificate_not_after_seconds",
            "When a certificate ends, in seconds since 1970; of the thousand that end first.",
            move |samples| {
                let tables = control.tables();
                let mut ends: Vec<_> =
                    tables.certs.iter().map(|(name, cert)| (cert.not_after, name)).collect();
                ends.sort_unstable();
                for (end, name) in ends.into_iter().take(MEASURED) {
                    samples.push(&[("name", name)], end.as_millis() / 1_000);
                }
            },
        );
        let control = self.clone();
        metrics.sampled_gauge(
            "gatewright_certificates_failing",
            "Names whose last attempt to get a certificate failed.",
            move |samples| {
                let tables = control.tables();
                samples.push(&[], tables.issuance.values().filter(|it| it.failures > 0).count());
            },
        );
    }

    /// Whether the store can be reached, so that changes can be made.
    pub async fn ready(&self) -> bool {
        self.store().backend().revision().await.is_ok()
    }

    async fn proxies(&self) -> Result<(Revision, Vec<ProxyStatus>), Error> {
        let (reports, bad) = self.reports().await?;
        for BadRecord { key, problem, .. } in bad {
            tracing::warn!(%key, problem, "a proxy's report can't be read");
        }
        let revision = self.refresh().await?;
        let lag =
            |at: &Revision| (at.epoch == revision.epoch).then(|| revision.n.saturating_sub(at.n));
        let proxies = reports.into_iter();
        let proxies = proxies.map(|report| ProxyStatus { lag: lag(&report.revision), report });
        Ok((revision.clone(), proxies.collect()))
    }

    fn count_certificates(&self, status: &mut Status) {
        let now = self.now();
        let tables = self.tables();
        let due = tables.certs.iter().filter(|(_, cert)| cert.renew_at() <= now);
        let mut due: Vec<_> = due
            .map(|(name, cert)| CertificateDue { name: name.clone(), not_after: cert.not_after })
            .collect();
        due.sort_by(|a, b| (a.not_after, &a.name).cmp(&(b.not_after, &b.name)));
        status.certificates = tables.certs.len();
        let failing = || tables.issuance.iter().filter(|(_, it)| it.failures > 0);
        status.failing = failing().count();
        status.failing_list =
            failing().take(LISTED).map(|(name, it)| failing_view(name, it)).collect();
        drop(tables);
        status.due = due.len();
        due.truncate(LISTED);
        status.due_list = due;
    }
}

fn failing_view(name: &str, facts: &IssuanceFacts) -> CertificateFailing {
    let (stage, code, detail) = match facts.failure.as_deref() {
        Some(it) => (it.stage.clone(), it.code.clone(), it.detail.clone()),
        None => Default::default(),
    };
    let (failures, retry_at) = (facts.failures, facts.retry_at);
    CertificateFailing { name: name.to_owned(), failures, stage, code, detail, retry_at }
}
