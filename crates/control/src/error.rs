use std::fmt;
use std::time::Duration;

use runtime::BoxError;
use store::Collection;

/// A wrong value in what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the request's body, `""` for the whole of it.
    pub pointer: String,
    /// What is wrong with it, for the person who sent it.
    pub detail: String,
}

impl FieldError {
    /// A wrong value at a place.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// The record that an error is about: `host "a.example"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    kind: &'static str,
    id: String,
}

impl Subject {
    pub(crate) fn host(id: impl fmt::Display) -> Self {
        Self { kind: "host", id: id.to_string() }
    }

    pub(crate) fn cert(id: impl fmt::Display) -> Self {
        Self { kind: "certificate", id: id.to_string() }
    }

    pub(crate) fn dns_provider(id: impl fmt::Display) -> Self {
        Self { kind: "DNS provider", id: id.to_string() }
    }

    /// Which one is a secret.
    pub(crate) fn session() -> Self {
        Self { kind: "session", id: "…".to_owned() }
    }

    pub(crate) fn event(number: u64) -> Self {
        Self { kind: "history entry", id: number.to_string() }
    }

    pub(crate) fn other(collection: Collection, id: impl fmt::Display) -> Self {
        Self { kind: collection.name(), id: id.to_string() }
    }

    pub(crate) fn user(id: impl fmt::Display) -> Self {
        Self { kind: "user", id: id.to_string() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, self.id)
    }
}

/// Why a use case was not carried out, by what the caller can do about it.
///
/// The text of every variant may be shown to whoever asked. What only an operator may see is the `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Ask differently: every wrong value is named.
    #[error("{}", count(.errors))]
    Invalid {
        /// All that is wrong, never empty.
        errors: Vec<FieldError>,
    },
    /// Ask for something else, or create it.
    #[error("{0} does not exist")]
    NotFound(Subject),
    /// Change it instead of creating it.
    #[error("{0} already exists")]
    Exists(Subject),
    /// Read it again: it is no longer what the caller expected.
    #[error("{0} has changed since it was read")]
    Stale(Subject),
    /// Look at what came later; then say that it may go, by `force` or by the present tag.
    #[error(
        "{subject} has changed since entry {number} of the history: look at the later ones, then give its present \
         entity tag in If-Match, or force=true"
    )]
    Superseded {
        /// What was to be brought back.
        subject: Subject,
        /// The entry that was to be undone.
        number: u64,
    },
    /// Delete it and make it anew: what another program stored there can't be understood.
    #[error("{0} is stored in a form that can't be read; delete it and make it anew")]
    Unreadable(Subject, #[source] BoxError),
    /// Something that would leave nobody in charge, or another rule beyond a single value.
    #[error("{0}")]
    Refused(&'static str),
    /// Log in: the name, the password or the token is wrong. One text for all, so that none can be told apart.
    #[error("the credentials are missing, wrong or expired")]
    Unauthorised,
    /// Ask someone with a higher role.
    #[error("your role does not allow this")]
    Forbidden,
    /// Ask later: too many attempts.
    #[error("too many attempts")]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// Ask later: more work of this kind is waiting than can be done soon.
    #[error("busy")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// Ask later: the store can't be reached, or refuses. Its text names no address and no secret.
    #[error(transparent)]
    Unavailable(BoxError),
    /// Ask later, or look there: a service elsewhere that this needs can't be reached or refuses. Its text is for whoever asked.
    #[error(transparent)]
    Upstream(BoxError),
    /// Nothing the caller can do.
    #[error("internal error")]
    Internal(#[source] BoxError),
}

impl Error {
    /// When to try again, as far as somebody said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Busy { retry_after } => Some(*retry_after),
            Self::Unavailable(_) => Some(Duration::from_secs(1)),
            Self::Upstream(error) => match error.downcast_ref() {
                Some(dns::Error::RateLimited { retry_after, .. }) => *retry_after,
                _ => None,
            },
            _ => None,
        }
    }

    /// One wrong value.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid { errors: vec![FieldError::new(pointer, detail)] }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::BadRecord(bad) if bad.key.collection == Collection::Host => {
                Self::Unreadable(Subject::host(&bad.key.id), bad.into())
            }
            store::Error::BadRecord(bad) if bad.key.collection == Collection::User => {
                Self::Unreadable(Subject::user(&bad.key.id), bad.into())
            }
            store::Error::BadRecord(bad) if bad.key.collection == Collection::Cert => {
                Self::Unreadable(Subject::cert(&bad.key.id), bad.into())
            }
            store::Error::BadRecord(bad) if bad.key.collection == Collection::DnsProvider => {
                Self::Unreadable(Subject::dns_provider(&bad.key.id), bad.into())
            }
            store::Error::BadRecord(bad) if bad.key.collection == Collection::AuthToken => {
                Self::Unreadable(Subject::session(), bad.into())
            }
            store::Error::Unavailable { .. } => Self::Unavailable(error.into()),
            other => Self::Internal(other.into()),
        }
    }
}

fn count(errors: &[FieldError]) -> String {
    match errors {
        [one] => format!(
            "{}: {}",
            if one.pointer.is_empty() { "body" } else { &one.pointer },
            one.detail
        ),
        many => format!("{} values are wrong", many.len()),
    }
}
