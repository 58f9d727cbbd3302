//! A count of orders that all replicas share, so that no published limit of an authority is ever reached.

use std::time::Duration;

use model::Timestamp;
use store::{CertLedger, Expect, Record, Txn};

use crate::{Control, Error};

/// The limits of one authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderLimits {
    /// New orders of an account.
    pub orders: Option<(u32, Duration)>,
    /// Certificates of a registered domain, such as `example.co.uk`.
    pub per_domain: Option<(u32, Duration)>,
    /// Certificates of exactly the same names.
    pub same_names: Option<(u32, Duration)>,
    /// Failed validations of a name.
    pub failures: Option<(u32, Duration)>,
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl OrderLimits {
    /// No limit is known.
    pub const NONE: Self =
        Self { orders: None, per_domain: None, same_names: None, failures: None };

    /// What Let's Encrypt publishes for everybody (as of 2026).
    pub const LETS_ENCRYPT: Self = Self {
        orders: Some((300, HOUR.saturating_mul(3))),
        per_domain: Some((50, WEEK)),
        same_names: Some((5, WEEK)),
        failures: Some((5, HOUR)),
    };

    /// The limits of the authority with this directory, where they are known.
    pub fn of_directory(directory: &str) -> Self {
        let host = directory.split('/').nth(2).unwrap_or_default();
        if host == "letsencrypt.org" || host.ends_with(".letsencrypt.org") {
            Self::LETS_ENCRYPT
        } else {
            Self::NONE
        }
    }
}

/// So much in so long, for what is counted under `scope`.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) scope: String,
    pub(crate) most: u32,
    pub(crate) within: Duration,
    /// Whether this is one more of them, or only asks whether there is room.
    pub(crate) enter: bool,
    /// The limit in words, for whoever runs into it.
    pub(crate) rule: String,
}

/// Whether there is room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    Yes,
    No { rule: String, retry_after: Duration },
}

/// How often it is tried again when other replicas write the same counts.
const ATTEMPTS: usize = 16;

impl Control {
    /// Enters one more under every limit, if all of them have room; else nothing is entered.
    pub(crate) async fn admit(&self, limits: &[Limit]) -> Result<Admitted, Error> {
        for _ in 0..ATTEMPTS {
            let now = self.now();
            let mut txn = Txn::new();
            for limit in limits {
                let found = self.store().get::<CertLedger>(&limit.scope).await?;
                let (mut ledger, expect) = match found {
                    Some(found) => (found.value, Expect::ETag(found.etag)),
                    None => (CertLedger { scope: limit.scope.clone(), at: vec![] }, Expect::Absent),
                };
                ledger.at.retain(|at| now.since(*at) < limit.within);
                if let Some(retry_after) = full(&ledger.at, limit, now) {
                    return Ok(Admitted::No { rule: limit.rule.clone(), retry_after });
                }
                if limit.enter {
                    ledger.at.push(now);
                    let fields = ledger.to_fields(self.store().sealer())?;
                    txn = txn.put_expiring(ledger.key(), fields, limit.within, expect);
                }
            }
            match self.store().backend().commit(txn).await {
                Ok(_) => return Ok(Admitted::Yes),
                Err(store::Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Busy { retry_after: Duration::from_secs(1) })
    }
}

/// How long until there is room; `None` when there is.
fn full(at: &[Timestamp], limit: &Limit, now: Timestamp) -> Option<Duration> {
    let most = usize::try_from(limit.most).unwrap_or(usize::MAX);
    let surplus = at.len().checked_sub(most)?;
    // With no room at all ever, the window is as good an answer as any.
    let freed = at.get(surplus).map_or(limit.within, |oldest| oldest.plus(limit.within).since(now));
    Some(freed.max(Duration::from_secs(1)))
}

/// The limits that a new order for a name is under at an authority. `again`: it takes the place of a certificate that the
/// authority knows of, which it does not count against the domain (RFC 9773 §5).
pub(crate) fn order_limits(
    directory: &str,
    limits: &OrderLimits,
    name: &str,
    again: bool,
) -> Vec<Limit> {
    let host = directory.split('/').nth(2).unwrap_or(directory);
    let domain = registered_domain(name);
    let mut all = Vec::new();
    let mut add = |what: &str, limit: Option<(u32, Duration)>, enter: bool, words: String| {
        let Some((most, within)) = limit else { return };
        let rule = format!(
            "{host} allows {most} {words} in {} hours, and so many were made",
            within.as_secs() / HOUR.as_secs()
        );
        all.push(Limit { scope: format!("{host}|{what}"), most, within, enter, rule });
    };
    add(&format!("failed:{name}"), limits.failures, false, format!("failed validations of {name}"));
    if !again {
        add("orders", limits.orders, true, "new orders".to_owned());
        let of_domain = format!("certificates under {domain}");
        add(&format!("domain:{domain}"), limits.per_domain, true, of_domain);
        let same = format!("certificates of exactly {name}");
        add(&format!("names:{name}"), limits.same_names, true, same);
    }
    all
}

/// That a validation of the name failed, to be entered whatever the count is.
pub(crate) fn failed_validation(
    directory: &str,
    limits: &OrderLimits,
    name: &str,
) -> Option<Limit> {
    let (_, within) = limits.failures?;
    let host = directory.split('/').nth(2).unwrap_or(directory);
    let scope = format!("{host}|failed:{name}");
    Some(Limit { scope, most: u32::MAX, within, enter: true, rule: String::new() })
}

/// The limits that a certificate on demand is under, so that whoever makes up names can't have them all ordered: so many
/// of a registered domain, and so many in all.
pub(crate) fn demand_limits(name: &str) -> Vec<Limit> {
    let domain = registered_domain(name);
    let limit = |what: String, most: u32, rule: String| Limit {
        scope: format!("demand|{what}"),
        most,
        within: HOUR,
        enter: true,
        rule,
    };
    vec![
        limit(
            format!("domain:{domain}"),
            DEMAND_PER_DOMAIN,
            format!("at most {DEMAND_PER_DOMAIN} certificates on demand under {domain} in an hour"),
        ),
        limit(
            "all".to_owned(),
            DEMAND_IN_ALL,
            format!("at most {DEMAND_IN_ALL} certificates on demand in an hour"),
        ),
    ]
}

/// Orders on demand in an hour: of one registered domain, and of all.
const DEMAND_PER_DOMAIN: u32 = 20;
const DEMAND_IN_ALL: u32 = 100;

/// The part of a name that somebody registered: a public suffix and one label.
fn registered_domain(name: &str) -> &str {
    let name = name.strip_prefix("*.").unwrap_or(name);
    psl::domain_str(name).unwrap_or(name)
}
