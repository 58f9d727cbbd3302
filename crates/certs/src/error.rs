use rustls::pki_types::pem;

/// Why a certificate can't be read, used or made. Each names the certificate it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The chain is not PEM, or holds no certificate.
    #[error("the chain of certificate \"{name}\" is not PEM with at least one certificate")]
    Chain {
        /// The record's name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// The leaf is not an X.509 certificate.
    #[error("certificate \"{name}\" is not X.509")]
    Leaf {
        /// The record's name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: x509_parser::error::X509Error,
    },
    /// The key is not PEM with a private key, or of a kind that can't sign.
    #[error("the key of certificate \"{name}\" is not PEM with a private key")]
    Key {
        /// The record's name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// Key and leaf are no pair, or the leaf can't serve TLS.
    #[error("certificate \"{name}\" and its key can't be used together")]
    Pair {
        /// The record's name.
        name: String,
        /// What is wrong with them.
        #[source]
        source: rustls::Error,
    },
    /// The certificate does not cover the name it is kept under.
    #[error("certificate \"{name}\" does not cover that name, but {covers}")]
    Coverage {
        /// The record's name.
        name: String,
        /// The subject alternative names that it has.
        covers: String,
    },
    /// No certificate can cover the pattern: X.509 knows one `*`, as the first label, with more labels behind it.
    #[error("no certificate can cover \"{name}\": only names and *.name can be covered")]
    NotCoverable {
        /// The pattern.
        name: String,
    },
    /// A certificate could not be made.
    #[error("certificate \"{name}\" could not be made")]
    Make {
        /// The certificate's name.
        name: String,
        /// What happened.
        #[source]
        source: rcgen::Error,
    },
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
}
