use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Secret;

use crate::Error;

/// What a token starts with, so that people and secret scanners recognise one.
const PREFIX: &str = "gw_";
/// 32 bytes in unpadded base64url.
const BODY: usize = 43;

/// A login token: `gw_` and 256 random bits in base64url. Shown to its owner once and kept nowhere.
#[derive(Clone, Debug)]
pub struct Token(Secret<String>);

impl Token {
    /// A new token from the system's randomness.
    ///
    /// # Errors
    /// [`Error::Random`] when the system gives none.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| Error::Random)?;
        Ok(Self(Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))))
    }

    /// The token itself, to be handed to its owner.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is stored instead of the token: its SHA-256 in lower-case hexadecimal.
    pub fn hash(&self) -> String {
        sha256_hex(self.expose())
    }

    /// The stored form of a token that a client sent; `None` when the text can't be a token.
    pub fn hash_of(text: &str) -> Option<String> {
        let body = text.strip_prefix(PREFIX)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (body.len() == BODY && body.bytes().all(plain)).then(|| sha256_hex(text))
    }
}

fn sha256_hex(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_differ_and_show_nothing() {
        let (a, b) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(a.hash(), b.hash());
        assert_eq!(a.hash().len(), 64);
        assert_eq!(a.expose().len(), PREFIX.len() + BODY);
        assert!(!format!("{a:?}").contains(a.expose()));
        assert_eq!(Token::hash_of(a.expose()), Some(a.hash()));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for wrong in ["", "gw_", "gw_short", "xx_0123456789012345678901234567890123456789012"] {
            assert_eq!(Token::hash_of(wrong), None, "{wrong}");
        }
        assert_eq!(Token::hash_of(&format!("gw_{}!", "a".repeat(42))), None);
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "(gw_)?.{0,60}") {
            let _ = Token::hash_of(&text);
        }
    }
}
