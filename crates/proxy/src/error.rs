use std::io;

/// Why the data plane could not start or a record was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A listener could not be set up; another process may hold the address, or a port below 1024 needs a right.
    #[error("cannot listen on {listener}")]
    Listen {
        /// The address or name from the settings.
        listener: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// A certificate can't serve; the one before it stays.
    #[error("the certificate can't be used")]
    Certificate(#[source] certs::Error),
    /// The rules of a host can't be decided by; the host stays as it was.
    #[error("the rules of {host} can't be used: {faults}")]
    Rules {
        /// The pattern.
        host: String,
        /// Everything that is wrong, each with its place.
        faults: String,
    },
    /// TLS could not be set up.
    #[error("TLS can't be set up")]
    Tls(#[source] certs::Error),
    /// A thread could not be started.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
    /// A worker died: the process should end.
    #[error("a worker died")]
    Died(#[from] runtime::WorkerDied),
}
