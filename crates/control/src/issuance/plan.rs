//! Which names get a certificate from an authority, and when something is to be done about it. Pure: the tables and the
//! time in, the next step out.

use std::time::Duration;

use model::{CertSource, CertificateMode, Timestamp};

use crate::mirror::{CertFacts, HostFacts, IssuanceFacts, Tables};

/// What is to be done for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Get a certificate: the first one or the next.
    Issue,
    /// Ask the authority when it wants the certificate replaced.
    AskWindow,
    /// Remove what nobody wants any longer: the certificate, an order under way, what is remembered of attempts.
    Drop,
}

/// How long what is known of failed attempts outlives the last of them, for names that no host stands for.
const FORGET: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether certificates for what this host answers come from an authority elsewhere.
fn by_authority(host: &HostFacts) -> bool {
    match host.mode {
        CertificateMode::Acme => true,
        CertificateMode::Auto => !host.local,
        _ => false,
    }
}

/// Whether a name or pattern gets a certificate at its creation, before anybody asks for it.
///
/// A name does, unless it leaves the choice to us and a wildcard's certificate serves it. `*.x` does when a DNS provider
/// has its zone, since only DNS can prove it. Other patterns never do: no certificate can cover them.
pub(crate) fn at_creation(tables: &Tables, name: &str) -> bool {
    let Some(host) = tables.enabled.get(name).map(|entry| entry.value()) else { return false };
    if !by_authority(host) {
        return false;
    }
    match name.strip_prefix("*.") {
        Some(base) => !base.contains('*') && tables.zone_of(base).is_some(),
        None if name.contains('*') => false,
        None => host.mode == CertificateMode::Acme || !served_by_wildcard(tables, name),
    }
}

/// Whether the certificate of a wildcard host serves a name: `*.x` serves `a.x`, and `x` if it covers that too, as ours
/// do. One that is to come serves only who has none yet, and one that fails nobody.
fn served_by_wildcard(tables: &Tables, name: &str) -> bool {
    let parent = name.split_once('.').map(|(_, parent)| parent);
    [Some(name), parent].into_iter().flatten().any(|base| {
        let wildcard = format!("*.{base}");
        let Some(host) = tables.enabled.get(&wildcard).map(|entry| entry.value()) else {
            return false;
        };
        let failing = || tables.issuance.get(&wildcard).is_some_and(|it| it.failures > 0);
        let to_come = || {
            by_authority(host)
                && tables.zone_of(base).is_some()
                && !tables.certs.contains_key(name)
                && !failing()
        };
        let there = tables.certs.get(&wildcard);
        there.map_or_else(to_come, |cert| base != name || cert.covers_base)
    })
}

/// Whether a name gets a certificate when a client asks for it: a pattern answers for it whose own certificate, if there
/// is any, would not cover it.
pub(crate) fn on_demand(tables: &Tables, name: &str) -> bool {
    let Some(entry) = tables.enabled.lookup(name) else { return false };
    // Without a dot it is no name that a public authority could know; with mode `acme` somebody says otherwise.
    let known = name.contains('.') || entry.value().mode == CertificateMode::Acme;
    entry.pattern().contains('*')
        && by_authority(entry.value())
        && known
        && !name.contains('*')
        && !at_creation(tables, entry.pattern())
}

/// Whether a wish for a name is to be answered now.
pub(crate) fn wish_counts(tables: &Tables, name: &str, now: Timestamp) -> bool {
    let waits = tables.issuance.get(name).and_then(|it| it.retry_at).is_some_and(|at| at > now);
    on_demand(tables, name)
        && !waits
        && tables.covering(name).is_none_or(|cert| cert.not_after <= now)
}

/// When something is to be done for a name, and what.
pub(crate) fn due(tables: &Tables, name: &str) -> Option<(Timestamp, Step)> {
    let at_once = Timestamp::from_millis(0);
    let cert = tables.certs.get(name);
    let facts = tables.issuance.get(name);
    let not_before = facts.and_then(|facts| facts.retry_at).unwrap_or(at_once);
    let forced = facts.is_some_and(|facts| facts.forced);
    let ours = cert.filter(|cert| cert.source == CertSource::Acme);
    if at_creation(tables, name) {
        return match cert {
            _ if forced => Some((not_before, Step::Issue)),
            None => Some((not_before, Step::Issue)),
            Some(cert) => match cert.source {
                CertSource::Acme => Some(next(name, cert, facts)),
                // Uploaded: to be replaced only when it is of no more use.
                CertSource::Custom => Some((cert.not_after.max(not_before), Step::Issue)),
                _ => Some((not_before, Step::Issue)),
            },
        };
    }
    if on_demand(tables, name) {
        return match (ours, facts) {
            (Some(_), _) if forced => Some((not_before, Step::Issue)),
            (Some(cert), _) => Some(next(name, cert, facts)),
            // It came to nothing; whoever still wants it asks again.
            (None, Some(facts)) => {
                let at = facts.retry_at.unwrap_or(at_once).plus(FORGET);
                Some((if facts.order { not_before } else { at }, Step::Drop))
            }
            (None, None) => None,
        };
    }
    // Whoever wants to upload one keeps what there is until then.
    let kept =
        tables.enabled.get(name).is_some_and(|it| it.value().mode == CertificateMode::Custom);
    let there = (ours.is_some() && !kept) || facts.is_some();
    there.then_some((at_once, Step::Drop))
}

/// The next step for a certificate of an authority.
fn next(name: &str, cert: &CertFacts, facts: Option<&IssuanceFacts>) -> (Timestamp, Step) {
    let at_once = Timestamp::from_millis(0);
    let window = facts.and_then(|facts| facts.window);
    let renew = renew_at(name, cert, window.as_ref());
    let renew = renew.max(facts.and_then(|facts| facts.retry_at).unwrap_or(at_once));
    // A new certificate is not asked about at once, and several are not asked about together.
    let twentieth = cert.not_after.since(cert.not_before) / 20;
    let first = || cert.not_before.plus(twentieth + part(twentieth, name));
    let ask = window.map_or_else(first, |window| window.ask_at);
    if ask < renew { (ask, Step::AskWindow) } else { (renew, Step::Issue) }
}

/// When a certificate is to be replaced: somewhere in the window that its authority wants (RFC 9773 §4.2), else when a
/// third of its life is left, a little earlier for some than for others. Every replica comes to the same moment.
pub(crate) fn renew_at(name: &str, cert: &CertFacts, window: Option<&store::Window>) -> Timestamp {
    let life = cert.not_after.since(cert.not_before);
    if let Some((start, end)) = window.and_then(|window| window.start.zip(window.end)) {
        let at = start.plus(part(end.since(start), name));
        // An authority that forgets itself must not let the certificate end.
        return at.min(cert.not_before.plus(life / 10 * 9));
    }
    let jitter = part(life / 30, name);
    cert.not_before.plus((life / 3 * 2).saturating_sub(jitter))
}

/// A part of a duration, from nothing to all of it, that depends on the name alone.
fn part(whole: Duration, name: &str) -> Duration {
    // FNV-1a: the same in every version and on every machine, and nobody gains by choosing it.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let thousandths = u32::try_from((hash >> 20) % 1_000).unwrap_or(0);
    whole / 1_000 * thousandths
}

/// How long to wait after so many failures in a row. At most five in the first hour: Let's Encrypt lets five
/// authorisations of a name fail in an hour.
pub(crate) fn backoff(name: &str, failures: u32) -> Duration {
    const MINUTES: [u64; 9] = [2, 5, 10, 20, 40, 60, 120, 240, 360];
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let base = Duration::from_secs(MINUTES[index.min(MINUTES.len() - 1)] * 60);
    base + part(base / 10, name)
}
