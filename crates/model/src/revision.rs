use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The identity of one life of a store: a random id beside the revision counter.
///
/// A store that was wiped or replaced has another epoch, so that its counter can't be taken for the old one's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(String);

impl Epoch {
    /// Takes an epoch as stored or as made from random bytes: 1 to 64 of `0-9 a-z A-Z -`.
    ///
    /// # Errors
    /// When the text has another length or another character.
    pub fn new(id: impl Into<String>) -> Result<Self, RevisionError> {
        let id = id.into();
        let fits = (1..=64).contains(&id.len());
        if fits && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            Ok(Self(id))
        } else {
            Err(RevisionError { text: id })
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A point in a store's history: `n` grows with every commit within an [`Epoch`].
///
/// Two revisions of different epochs have no order. Shown and parsed as `epoch:n`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revision {
    /// Which life of the store.
    pub epoch: Epoch,
    /// How many commits into it.
    pub n: u64,
}

impl Revision {
    /// Whether a reader at this revision has everything up to `other`: the same epoch and at least its `n`.
    pub fn includes(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.n >= other.n
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.n)
    }
}

impl FromStr for Revision {
    type Err = RevisionError;

    fn from_str(text: &str) -> Result<Self, RevisionError> {
        let wrong = || RevisionError { text: text.to_owned() };
        let (epoch, n) = text.rsplit_once(':').ok_or_else(wrong)?;
        Ok(Self { epoch: Epoch::new(epoch)?, n: n.parse().map_err(|_| wrong())? })
    }
}

/// A text that is not an epoch or a revision.
#[derive(Debug, thiserror::Error)]
#[error("\"{text}\" is not a revision: expected epoch:number")]
pub struct RevisionError {
    text: String,
}

/// The strong entity tag of a record (RFC 9110 §8.8.3): a hash of its canonical content, without the quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Takes the hash as hexadecimal text.
    pub fn from_hash(hash: &[u8]) -> Self {
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The tag without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag as a header value: `"…"`.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// Whether an `If-Match` header value (RFC 9110 §13.1.1) names this tag; `*` names any. Weak tags never match.
    pub fn is_named_in(&self, if_match: &str) -> bool {
        if_match.split(',').map(str::trim).any(|tag| {
            tag == "*"
                || tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')) == Some(self.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_survives_its_text() {
        let revision = Revision { epoch: Epoch::new("4f2a-9").unwrap(), n: 17 };
        assert_eq!(revision.to_string(), "4f2a-9:17");
        assert_eq!(revision.to_string().parse::<Revision>().unwrap(), revision);
        for wrong in ["", "17", ":17", "a:", "a:-1", "a b:1"] {
            assert!(wrong.parse::<Revision>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn revisions_of_two_epochs_have_no_order() {
        let at = |epoch: &str, n| Revision { epoch: Epoch::new(epoch).unwrap(), n };
        assert!(at("a", 3).includes(&at("a", 3)));
        assert!(!at("a", 2).includes(&at("a", 3)));
        assert!(!at("b", 9).includes(&at("a", 3)));
    }

    #[test]
    fn if_match_compares_strongly() {
        let tag = ETag::from_hash(&[0xab, 0x01]);
        assert!(tag.is_named_in("\"ab01\""));
        assert!(tag.is_named_in("\"x\", \"ab01\""));
        assert!(tag.is_named_in("*"));
        assert!(!tag.is_named_in("W/\"ab01\""));
        assert!(!tag.is_named_in("ab01"));
    }
}
