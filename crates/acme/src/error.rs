use std::time::Duration;

/// Why an authority can't be worked with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Correct the settings.
    #[error("{setting} of {directory}: {reason}")]
    Settings {
        /// The directory of the authority.
        directory: String,
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
        /// What lies beneath.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Ask later: it can't be reached, or broke off.
    #[error("{host} can't be {attempted}")]
    Unreachable {
        /// Its host and port.
        host: String,
        /// What was tried: `connected to`, `read from`.
        attempted: &'static str,
        /// What lies beneath.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Ask later: it did not answer in time.
    #[error("{host} did not answer within {} s", after.as_secs())]
    Silent {
        /// Its host and port.
        host: String,
        /// How long it was given.
        after: Duration,
    },
    /// Don't ask: it gives out URLs that are not `https`, or are none.
    #[error("{url} is no https URL")]
    Insecure {
        /// The URL.
        url: String,
    },
}
