use std::path::Path;
use std::sync::Arc;

use fred::types::RespVersion;
use fred::types::config::{Config, ServerConfig, TlsConnector};
use model::Secret;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use telemetry::{Metrics, SharedCounter};

use crate::Error;
use crate::legacy::Legacy;

/// The schemes an address may have. The client library would take any other for plain TCP.
const SCHEMES: [&str; 7] = [
    "redis",
    "rediss",
    "redis-sentinel",
    "rediss-sentinel",
    "redis-cluster",
    "rediss-cluster",
    "redis+unix",
];

/// Where the store is and what its keys start with. One that exists can be connected to.
///
/// ```
/// use model::Secret;
/// use store_redis::RedisSettings;
///
/// let url = |text: &str| Secret::new(text.to_owned());
/// assert!(RedisSettings::new(&url("redis://:password@127.0.0.1:6379/2"), "proxy_").is_ok());
/// assert!(RedisSettings::new(&url("redis-cluster://a:7000?node=b:7000"), "{proxy}_").is_ok());
/// let wrong = RedisSettings::new(&url("http://127.0.0.1"), "proxy_").unwrap_err();
/// assert!(wrong.to_string().contains("redis-sentinel"));
/// ```
#[derive(Clone, Debug)]
pub struct RedisSettings {
    pub(crate) config: Secret<Config>,
    pub(crate) prefix: String,
    pub(crate) log_limit: usize,
    pub(crate) legacy: Legacy,
    /// Counts commits that no replica confirmed.
    pub(crate) unconfirmed: SharedCounter,
}

impl RedisSettings {
    /// Reads an address: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS,
    /// `redis-sentinel://host:port?sentinelServiceName=name[&node=host:port…]`,
    /// `redis-cluster://host:port[?node=host:port…]`, `redis+unix:///path`.
    ///
    /// # Errors
    /// When it is none of these, or the prefix does not fit a cluster.
    pub fn new(url: &Secret<String>, prefix: &str) -> Result<Self, Error> {
        let scheme = url.expose().split(':').next().unwrap_or_default();
        if !SCHEMES.contains(&scheme) {
            // All of it would be the scheme of a text without a colon, a password included.
            let scheme = if url.expose().contains("://") { scheme } else { "…" };
            return Err(Error::Scheme { scheme: scheme.to_owned() });
        }
        let secure = scheme.starts_with("rediss");
        // The library would take the system's authorities only, and none of them when one can't be read.
        let plain =
            if secure { url.expose().replacen("rediss", "redis", 1) } else { url.expose().clone() };
        let mut config = Config::from_url(&plain).map_err(Error::Url)?;
        if secure {
            config.tls = Some(tls(Vec::new())?.into());
        }
        let clustered = matches!(config.server, ServerConfig::Clustered { .. });
        if clustered && !has_hash_tag(prefix) {
            return Err(Error::Prefix { prefix: prefix.to_owned() });
        }
        config.version = RespVersion::RESP3;
        // A store that is down at the start is as one that goes down later: keep trying.
        config.fail_fast = false;
        let config = Secret::new(config);
        let (prefix, legacy) = (prefix.to_owned(), Legacy::default());
        let unconfirmed = unconfirmed(&Metrics::new());
        Ok(Self { config, prefix, log_limit: store::CHANGE_LOG, legacy, unconfirmed })
    }

    /// The same, sharing challenges with programs of the older layout and, if `certificates`, certificates with their
    /// private keys in clear. Not for a cluster, which keeps those keys on other nodes.
    #[must_use]
    pub fn with_legacy_keys(mut self, certificates: bool) -> Self {
        self.legacy = Legacy::new(certificates);
        self
    }

    /// The same over TLS, believing the authorities whose certificates (PEM) are in this file as well as the system's.
    ///
    /// # Errors
    /// When the address is one without TLS, or the file can't be read or holds no certificate.
    pub fn with_root_ca(mut self, file: &Path) -> Result<Self, Error> {
        let unusable = |why: String| Error::RootCa { file: file.to_owned(), why };
        if self.config.expose().tls.is_none() {
            return Err(unusable(
                "STORE does not use TLS; it begins with rediss if it is to".into(),
            ));
        }
        let read =
            CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let roots = read.map_err(|error| unusable(error.to_string()))?;
        if roots.is_empty() {
            return Err(unusable("it holds no certificate".into()));
        }
        let mut config = self.config.into_exposed();
        config.tls = Some(tls(roots)?.into());
        self.config = Secret::new(config);
        Ok(self)
    }

    /// The same, counting there the commits that no replica confirmed in time.
    #[must_use]
    pub fn with_metrics(mut self, metrics: &Metrics) -> Self {
        self.unconfirmed = unconfirmed(metrics);
        self
    }

    /// The same, remembering this many changed records.
    #[must_use]
    pub fn with_log_limit(mut self, log_limit: usize) -> Self {
        self.log_limit = log_limit;
        self
    }
}

fn unconfirmed(metrics: &Metrics) -> SharedCounter {
    let family = metrics.counter(
        "gatewright_store_unconfirmed_commits_total",
        "Commits that were accepted though no replica of Redis confirmed them in time.",
        [],
    );
    family.shared([])
}

/// TLS that believes the system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others) and these.
fn tls(roots: Vec<CertificateDer<'static>>) -> Result<TlsConnector, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(roots, provider.clone()).map_err(Error::Tls)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        // rustls' word for a verifier of one's own; this one is the system's.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config.into())
}

/// Whether Redis hashes only a part of the prefix: what is between the first `{` and the next `}`.
fn has_hash_tag(prefix: &str) -> bool {
    let tag = prefix.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    tag.is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, prefix: &str) -> Result<RedisSettings, Error> {
        RedisSettings::new(&Secret::new(url.to_owned()), prefix)
    }

    #[test]
    fn every_shape_of_address_is_read() {
        for url in [
            "redis://127.0.0.1",
            "redis://[::1]:6379/3",
            "redis://user:p%40ss@redis.test:6380",
            "rediss://redis.test",
            "redis-sentinel://a.test:26379?sentinelServiceName=main&node=b.test:26379",
            "redis+unix:///run/redis.sock",
        ] {
            let read = settings(url, "proxy_").unwrap();
            assert!(!read.config.expose().fail_fast, "{url}");
            assert!(!format!("{read:?}").contains("p@ss"));
        }
        assert!(settings("rediss://redis.test", "p_").unwrap().config.expose().tls.is_some());
    }

    #[test]
    fn another_scheme_is_an_error_that_names_ours_and_hides_the_rest() {
        for url in ["http://h:p@x", "embedded:./x", "hunter2", "", "REDIS://x", "tcp://x"] {
            let error = settings(url, "proxy_").unwrap_err().to_string();
            assert!(error.contains("redis+unix://"), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("h:p"), "{error}");
        }
    }

    #[test]
    fn a_cluster_needs_a_hash_tag() {
        assert!(matches!(settings("redis-cluster://a:1", "proxy_"), Err(Error::Prefix { .. })));
        assert!(matches!(settings("redis-cluster://a:1", "{}_"), Err(Error::Prefix { .. })));
        assert!(settings("redis-cluster://a:1?node=b:2", "{proxy}_").is_ok());
    }
}
