//! Certificates by ACME, as the settings say.

use std::sync::Arc;

use acme::{AcmeIssuer, AcmeSettings, Authority, ChallengeKind, Eab, Roots};
use anyhow::Context;
use certs::KeyKind;
use config::{AcmeCa, AcmeChallenge, AcmeKey, ApiSettings};
use control::{Control, Lifecycle};
use runtime::Clock;

/// Who issues certificates for names that are not local; `None` when nobody does.
///
/// # Errors
/// When a setting can't be used; the error names it.
pub(crate) fn lifecycle(
    settings: &ApiSettings,
    control: &Control,
    clock: &Clock,
) -> anyhow::Result<Option<Lifecycle>> {
    if settings.acme.is_empty() {
        tracing::info!("ACME_DIRECTORY is off: names that are not local get no certificate");
        return Ok(None);
    }
    let mut acme = AcmeSettings::new(settings.acme.iter().map(authority).collect());
    acme.challenges = settings.acme_challenges.iter().map(challenge).collect();
    acme.resolvers.clone_from(&settings.dns_resolvers);
    let issuer = AcmeIssuer::new(acme, Arc::new(control.clone()), clock.clone())
        .context("certificates can't be got by ACME")?;
    let key_kind = match settings.acme_key {
        AcmeKey::Ecdsa => KeyKind::EcdsaP256,
        AcmeKey::Rsa => KeyKind::Rsa2048,
    };
    Ok(Some(Lifecycle { issuer: Arc::new(issuer), key_kind, limits: Vec::new() }))
}

fn authority(ca: &AcmeCa) -> Authority {
    let mut authority = Authority::new(ca.directory.clone());
    if let Some(file) = &ca.root_ca {
        authority.roots = Roots::File(file.clone());
    }
    authority.email.clone_from(&ca.email);
    authority.profile.clone_from(&ca.profile);
    authority.eab = ca.eab.as_ref().map(|(kid, hmac)| Eab { kid: kid.clone(), hmac: hmac.clone() });
    authority
}

fn challenge(challenge: &AcmeChallenge) -> ChallengeKind {
    match challenge {
        AcmeChallenge::Http01 => ChallengeKind::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeKind::TlsAlpn01,
        AcmeChallenge::Dns01 => ChallengeKind::Dns01,
    }
}
