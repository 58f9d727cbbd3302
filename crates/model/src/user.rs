use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Secret, Timestamp};

/// The name of an account: 1 to 64 of `a-z 0-9 . _ - @`, starting with a letter or digit. Kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Username(String);

impl Username {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = UsernameError;

    fn from_str(text: &str) -> Result<Self, UsernameError> {
        let name = text.to_ascii_lowercase();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-@".contains(&b);
        let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && name.len() <= 64 && name.bytes().all(allowed) {
            Ok(Self(name))
        } else {
            Err(UsernameError { text: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Username {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that can't name an account.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{text}\" can't be a user name: 1 to 64 of a-z 0-9 . _ - @, starting with a letter or a digit"
)]
pub struct UsernameError {
    text: String,
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Reads hosts, certificates and status.
    Viewer,
    /// Also writes hosts.
    Manager,
    /// Everything, accounts and guard included.
    Admin,
}

/// An account as stored.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name, also its key.
    pub username: Username,
    /// What it may do.
    pub role: Role,
    /// The bcrypt hash of its password, `$2b$…`.
    pub password_hash: Secret<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A login as stored: the token itself is never kept, only its SHA-256, which is the record's key.
#[derive(Clone, Debug)]
pub struct SessionToken {
    /// Lower-case hexadecimal SHA-256 of the token.
    pub hash: String,
    /// Whose login it is.
    pub username: Username,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_lower_case_and_plain() {
        assert_eq!("Admin".parse::<Username>().unwrap().as_str(), "admin");
        assert!("ann@example.com".parse::<Username>().is_ok());
        for wrong in ["", "-a", "a b", "a/b", "a:b", "é", &"a".repeat(65)] {
            assert!(wrong.parse::<Username>().is_err(), "{wrong}");
        }
    }
}
