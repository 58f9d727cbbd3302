use std::io;
use std::net::SocketAddr;

use model::OutOfReach;

use crate::Endpoint;

/// Any error, boxed: what a caller's body may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request got no answer, or an answer no end. The variants say what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection came about: refused, unreachable, unknown name, failed TLS handshake. Nothing was sent, so
    /// another endpoint may be tried.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// No connection came about in time. Nothing was sent, so another endpoint may be tried.
    #[error("{endpoint} did not accept a connection in time")]
    ConnectTimeout {
        /// Where to.
        endpoint: Endpoint,
    },
    /// Nothing may be sent to its address. Nothing was, so another endpoint may be tried.
    #[error("{endpoint} is out of reach: {address} {why}")]
    OutOfReach {
        /// Where to.
        endpoint: Endpoint,
        /// The address that its name stands for, or its own.
        address: SocketAddr,
        /// Why not.
        why: OutOfReach,
    },
    /// The upstream owed a byte for longer than the idle timeout.
    #[error("{endpoint} did not answer in time")]
    ResponseTimeout {
        /// Who.
        endpoint: Endpoint,
    },
    /// The connection ended before the first byte of an answer, and repeating the request could do it twice.
    #[error("{endpoint} closed the connection without an answer")]
    ClosedBeforeAnswer {
        /// Who.
        endpoint: Endpoint,
        /// Whether any of the request's bytes may have arrived.
        sent: bool,
        /// What the connection ended with; none if it was closed in order.
        #[source]
        source: Option<io::Error>,
    },
    /// The answer is not HTTP, or its framing can't be trusted. The connection is closed.
    #[error("{endpoint} answered with {problem}")]
    BadResponse {
        /// Who.
        endpoint: Endpoint,
        /// What is wrong.
        problem: Problem,
    },
    /// The answer's body ended before its end.
    #[error("{endpoint} broke off its answer")]
    Truncated {
        /// Who.
        endpoint: Endpoint,
        /// What the connection ended with; none if it was closed in order.
        #[source]
        source: Option<io::Error>,
    },
    /// The request's body, which the caller supplies, failed or had another length than announced.
    #[error("the request's body broke off")]
    RequestBody {
        /// The body's own error.
        #[source]
        source: BoxError,
    },
}

impl Error {
    /// Whether the same [`Outgoing`](crate::Outgoing) may be sent to another endpoint: no connection came about,
    /// nothing was done that a repetition could do twice, and the body is all there.
    pub fn may_try_elsewhere(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::ConnectTimeout { .. } | Self::OutOfReach { .. })
    }

    /// A caller's mistake: this request went out before.
    pub(crate) fn already_sent() -> Self {
        Self::RequestBody { source: "the request was already sent".into() }
    }
}

/// What is wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A malformed chunk size, chunk end or trailer section.
    #[error("a malformed chunk")]
    Chunk,
    /// `Content-Length` that is no number, differs from another one, or stands beside `Transfer-Encoding`.
    #[error("an ambiguous length")]
    Length,
    /// A head larger than allowed, in bytes or in fields, or too many interim responses.
    #[error("too large a head")]
    HeadTooLarge,
    /// Something that isn't an HTTP/1.x head.
    #[error("something that is not HTTP/1.1")]
    Malformed,
    /// `101` that wasn't asked for, or to another protocol.
    #[error("a protocol nobody asked for")]
    Upgrade,
    /// A `Transfer-Encoding` other than `chunked`, or one in HTTP/1.0.
    #[error("an unknown transfer encoding")]
    TransferEncoding,
}
