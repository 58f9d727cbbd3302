use std::time::Duration;

/// Why a DNS provider did not do what was asked, by what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Correct the credentials, or their rights: the provider refuses them.
    #[error("{provider} refuses the credentials: {message}")]
    Credentials {
        /// The kind of provider.
        provider: &'static str,
        /// The provider's own words.
        message: String,
    },
    /// Correct the settings: they make no sense before anything was asked.
    #[error("{field}: {message}")]
    Settings {
        /// Which setting.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// Correct these settings: each is wrong by itself, before anything was asked.
    #[error("{}", list(.0))]
    Fields(Vec<FieldError>),
    /// Ask later: the provider's rate limit is reached.
    #[error("{provider} limits the rate of requests: {message}")]
    RateLimited {
        /// The kind of provider.
        provider: &'static str,
        /// The provider's own words.
        message: String,
        /// When to ask again, if it said so.
        retry_after: Option<Duration>,
    },
    /// Ask something else: the provider refuses this.
    #[error("{provider} refuses: {message}")]
    Refused {
        /// The kind of provider.
        provider: &'static str,
        /// The provider's own words.
        message: String,
    },
    /// Ask later: the provider can't be reached, or answers nonsense.
    #[error("{provider} can't be reached or understood: {message}")]
    Unreachable {
        /// The kind of provider.
        provider: &'static str,
        /// What was being done and what came of it.
        message: String,
        /// What lies beneath.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// A setting of a provider that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The setting, by its name in [`Field::name`](crate::Field::name).
    pub field: String,
    /// What is wrong with it. Never holds the value of a secret.
    pub message: String,
}

fn list(fields: &[FieldError]) -> String {
    let each = fields.iter().map(|it| format!("{}: {}", it.field, it.message));
    each.collect::<Vec<_>>().join("; ")
}
