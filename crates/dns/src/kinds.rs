use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use model::Secret;
use serde::Serialize;

use crate::form::Form;
use crate::{DnsProvider, Error, cloudflare, digitalocean, duckdns, porkbun, rfc2136};

/// Every kind of provider, in the order in which they are shown. A new one is a file beside the others and a line here.
static KINDS: &[Kind] =
    &[cloudflare::KIND, digitalocean::KIND, porkbun::KIND, duckdns::KIND, rfc2136::KIND];

/// Every kind of provider that can be built, for forms and help.
pub fn kinds() -> &'static [Kind] {
    KINDS
}

/// A kind of provider and what its accounts need.
#[derive(Debug, Serialize)]
pub struct Kind {
    /// Its name in requests and records: `cloudflare`.
    pub id: &'static str,
    /// Its name as people write it: `Cloudflare`.
    pub title: &'static str,
    /// What the credentials must be allowed to do, and what else one should know. A sentence or two.
    pub help: &'static str,
    /// Its settings.
    pub fields: &'static [Field],
    #[serde(skip)]
    pub(crate) build: Build,
}

/// Makes a provider from a form that knows the kind's fields, and leaves in it what is wrong.
pub(crate) type Build = fn(Form<'_>, Options) -> Result<Arc<dyn DnsProvider>, Error>;

/// A setting of a kind of provider. All are text.
#[derive(Debug, Serialize)]
pub struct Field {
    /// Its name in requests and records.
    pub name: &'static str,
    /// Its name as people read it.
    pub title: &'static str,
    /// Whether it is write-only and sealed at rest.
    pub secret: bool,
    /// Whether it must be there.
    pub required: bool,
    /// What to write, where to get it, what holds without it.
    pub help: &'static str,
}

impl Field {
    pub(crate) const fn secret(
        name: &'static str,
        title: &'static str,
        help: &'static str,
    ) -> Self {
        Self { name, title, secret: true, required: true, help }
    }

    pub(crate) const fn text(name: &'static str, title: &'static str, help: &'static str) -> Self {
        Self { name, title, secret: false, required: true, help }
    }

    pub(crate) const fn optional(self) -> Self {
        Self { required: false, ..self }
    }

    /// The base URL that every provider over HTTP lets one change.
    pub(crate) const fn endpoint() -> Self {
        let help = "Base URL of the API, for a proxy or a test; without it the provider's own. https, or http on loopback";
        Self::text("endpoint", "API endpoint", help).optional()
    }
}

/// How patiently providers are talked to.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For one request and its answer, connecting included.
    pub timeout: Duration,
    /// How often one call sends its request before it gives up; at least 1.
    pub attempts: u32,
    /// Before the second try; doubles with each, half of it by chance.
    pub pause: Duration,
    /// The longest `Retry-After` that is waited for within a call. A longer one becomes [`Error::RateLimited`].
    pub longest_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            attempts: 4,
            pause: Duration::from_millis(500),
            longest_wait: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// How long to wait after this many tries: doubles with each; half of it by chance, so that many do not come back at once.
    pub(crate) fn backoff(&self, tried: u32) -> Duration {
        self.pause * 2u32.saturating_pow(tried - 1) / 2 + self.jitter()
    }

    /// Up to half a pause.
    pub(crate) fn jitter(&self) -> Duration {
        let chance = RandomState::new().hash_one(()) % 1000;
        self.pause / 2 * u32::try_from(chance).unwrap_or(0) / 1000
    }
}

/// The provider of this kind with these settings. Nothing is asked yet: [`DnsProvider::zones`] proves the credentials.
///
/// # Errors
/// [`Error::Settings`] for an unknown kind, [`Error::Fields`] with every wrong, missing or unknown setting.
pub fn build(
    kind: &str,
    settings: &BTreeMap<String, Secret<String>>,
    options: Options,
) -> Result<Arc<dyn DnsProvider>, Error> {
    let Some(kind) = KINDS.iter().find(|it| it.id == kind) else {
        let known: Vec<_> = KINDS.iter().map(|it| it.id).collect();
        let message = format!("{kind:?} is not known; there are {}", known.join(", "));
        return Err(Error::Settings { field: "kind", message });
    };
    (kind.build)(Form::new(kind, settings), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret<String>> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned())))
            .collect()
    }

    fn fails(kind: &str, pairs: &[(&str, &str)]) -> String {
        let built = build(kind, &settings(pairs), Options::default());
        built.err().expect("it does not build").to_string()
    }

    #[test]
    fn every_wrong_field_is_named_at_once_and_no_secret_is_told() {
        let message =
            fails("cloudflare", &[("endpoint", "http://example.com"), ("tokn", "hunter2")]);
        assert_eq!(
            message,
            "tokn: there is no such setting; api_token: is missing; \
             endpoint: must be https; http is for loopback alone"
        );
        assert!(!fails("cloudflare", &[("api_token", "hunter2\u{1}")]).contains("hunter2"));
        assert!(
            fails("route54", &[]).starts_with("kind: \"route54\" is not known; there are cloud")
        );
    }

    #[test]
    fn names_are_used_once_and_all_have_help() {
        for kind in kinds() {
            let mut names: Vec<_> = kind.fields.iter().map(|it| it.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), kind.fields.len(), "{}", kind.id);
            assert!(kind.fields.iter().all(|it| !it.help.is_empty()) && !kind.help.is_empty());
        }
        let mut ids: Vec<_> = kinds().iter().map(|it| it.id).collect();
        ids.dedup();
        assert_eq!(ids.len(), kinds().len());
    }
}
