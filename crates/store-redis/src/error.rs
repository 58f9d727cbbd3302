use std::path::PathBuf;

/// Why a backend can't be made. What goes wrong later is a [`store::Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client library refuses to start.
    #[error("the Redis client can't be made")]
    Client(#[source] fred::error::Error),
    /// The prefix would spread one transaction over several nodes of a cluster.
    #[error(
        "with redis-cluster the key prefix needs a hash tag, so that all keys live on one node: \"{{proxy}}_\", \
         not \"{prefix}\""
    )]
    Prefix {
        /// The prefix given.
        prefix: String,
    },
    /// The authority of the server's certificate can't be taken from this file.
    #[error("STORE_ROOT_CA {} can't be used: {why}", file.display())]
    RootCa {
        /// The file given.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The address has a scheme that is not one of ours.
    #[error(
        "\"{scheme}\" is no store: use redis://, rediss://, redis-sentinel://, redis-cluster:// or redis+unix://"
    )]
    Scheme {
        /// The scheme given; the rest may hold a password.
        scheme: String,
    },
    /// TLS can't be set up.
    #[error("TLS to the store can't be set up")]
    Tls(#[source] rustls::Error),
    /// The address can't be read.
    #[error("the address of the store can't be read")]
    Url(#[source] fred::error::Error),
}
