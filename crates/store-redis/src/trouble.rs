use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fred::error::{Error as RedisError, ErrorKind};

/// Why there is no connection, as the server or the network said it: told once per change, and kept for the commands
/// that fail meanwhile, which by themselves only know that their time ran out.
#[derive(Default)]
pub(crate) struct Trouble(Mutex<Option<RedisError>>);

impl Trouble {
    /// There is no connection because of this.
    pub(crate) fn note(&self, error: RedisError) {
        let mut current = self.lock();
        if current.as_ref().is_none_or(|old| old.details() != error.details()) {
            match Reason::of(&error) {
                Some(reason) => tracing::warn!(%error, "no connection to Redis: {reason}"),
                None => tracing::warn!(%error, "no connection to Redis"),
            }
        }
        *current = Some(error);
    }

    /// There is one again.
    pub(crate) fn clear(&self) {
        if self.lock().take().is_some() {
            tracing::info!("connected to Redis again");
        }
    }

    /// The error of a command, or the trouble that it comes from.
    pub(crate) fn explain(&self, error: RedisError) -> RedisError {
        let lost = [ErrorKind::Timeout, ErrorKind::Canceled, ErrorKind::IO];
        if lost.contains(error.kind()) { self.lock().clone().unwrap_or(error) } else { error }
    }

    fn lock(&self) -> MutexGuard<'_, Option<RedisError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an operator can do something about. Its text names no address and no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Login,
    Permission,
    UnknownCa,
    WrongName,
    Certificate,
    ReadOnly,
    Loading,
    Full,
    NoReplica,
    OldServer,
}

impl Reason {
    /// What the server's or the TLS library's words mean, if it is one of these.
    pub(crate) fn of(error: &RedisError) -> Option<Self> {
        let words = [
            ("WRONGPASS", Self::Login),
            ("NOAUTH", Self::Login),
            // To a server without a password and users.
            ("without any password configured", Self::Login),
            ("NOPERM", Self::Permission),
            ("UnknownIssuer", Self::UnknownCa),
            // An authority of the same name with another key.
            ("BadSignature", Self::UnknownCa),
            ("NotValidForName", Self::WrongName),
            ("InvalidCertificate", Self::Certificate),
            ("READONLY", Self::ReadOnly),
            ("LOADING", Self::Loading),
            ("OOM", Self::Full),
            ("MISCONF", Self::Full),
            ("NOREPLICAS", Self::NoReplica),
            ("unknown command", Self::OldServer),
        ];
        let found = words.iter().find(|(word, _)| error.details().contains(word));
        found.map(|(_, reason)| *reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "Redis refuses the user name or password in STORE",
            Self::Permission => "the user in STORE may not do this, see its ACL in Redis",
            Self::UnknownCa => {
                "the certificate of Redis is by an unknown authority; name it by STORE_ROOT_CA"
            }
            Self::WrongName => "the certificate of Redis is not for the name or address in STORE",
            Self::Certificate => "the certificate of Redis is not valid",
            Self::ReadOnly => "this Redis is a replica and takes no writes",
            Self::Loading => "Redis still loads its data",
            Self::Full => "Redis takes no writes: it is out of memory or can't save",
            Self::NoReplica => "Redis takes no writes: too few replicas are connected",
            Self::OldServer => "this server lacks a command: Redis 7.0 or later is needed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind, details: &'static str) -> RedisError {
        RedisError::new(kind, details)
    }

    #[test]
    fn a_command_whose_time_ran_out_says_why_there_is_no_connection() {
        let trouble = Trouble::default();
        let timeout = || error(ErrorKind::Timeout, "Request timed out.");
        assert_eq!(trouble.explain(timeout()).details(), "Request timed out.");
        trouble.note(error(ErrorKind::Auth, "WRONGPASS invalid username-password pair"));
        assert_eq!(Reason::of(&trouble.explain(timeout())), Some(Reason::Login));
        let other = error(ErrorKind::Unknown, "NOPERM this user");
        assert_eq!(Reason::of(&trouble.explain(other)), Some(Reason::Permission));
        trouble.clear();
        assert_eq!(Reason::of(&trouble.explain(timeout())), None);
    }

    #[test]
    fn the_words_of_the_tls_library_are_understood() {
        let name =
            "Custom { kind: InvalidData, error: InvalidCertificate(NotValidForNameContext { … }) }";
        assert_eq!(Reason::of(&error(ErrorKind::IO, name)), Some(Reason::WrongName));
        let issuer = "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }";
        assert_eq!(Reason::of(&error(ErrorKind::IO, issuer)), Some(Reason::UnknownCa));
    }
}
