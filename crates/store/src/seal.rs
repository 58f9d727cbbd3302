use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Secret;

use crate::{Key, SealError};

/// The shortest text that makes a key.
const SHORTEST: usize = 16;
/// The form of a sealed value, and its version.
const PREFIX: &str = "gw1:";
/// The bytes of a key id.
const KEY_ID: usize = 4;

/// Seals the secrets among a record's fields, and opens them.
///
/// Two keys, so that a proxy can open certificate keys and nothing else: `CERT_KEY` for those, `SECRET_KEY` for the
/// authority's key and other control-plane secrets.
///
/// A sealed value is `gw1:<key id>:<base64 of nonce, ciphertext, tag>`: AES-256-GCM under a key derived with
/// HKDF-SHA256 (RFC 5869) from the given text, with a random nonce, and the record's key as additional data, so that a value
/// moved to another record does not open.
///
/// ```
/// use model::Secret;
/// use store::{Collection, Key, Sealer};
///
/// let text = Secret::new("0123456789abcdef0123456789abcdef".to_owned());
/// let sealer = Sealer::new(None, Some(&text), false)?;
/// let key = Key::new(Collection::Cert, "a.test");
/// let sealed = sealer.cert_key().seal(&key, &Secret::new("PEM".to_owned()))?;
/// assert!(sealed.starts_with("gw1:"));
/// assert_eq!(sealer.cert_key().open(&key, &sealed)?.expose(), "PEM");
/// assert!(sealer.secret_key().open(&key, &sealed).is_err());
/// # Ok::<(), store::SealError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sealer {
    secret_key: Seal,
    cert_key: Seal,
}

impl Sealer {
    /// A sealer with these texts of `SECRET_KEY` and `CERT_KEY`, each at least 16 bytes.
    ///
    /// `allow_plaintext` lets a missing key mean that values are kept in clear, and a present key read values that
    /// still are; without it both are errors when it comes to a secret.
    ///
    /// # Errors
    /// [`SealError::ShortKey`].
    pub fn new(
        secret_key: Option<&Secret<String>>,
        cert_key: Option<&Secret<String>>,
        allow_plaintext: bool,
    ) -> Result<Self, SealError> {
        Ok(Self {
            secret_key: Seal::new("SECRET_KEY", secret_key, allow_plaintext)?,
            cert_key: Seal::new("CERT_KEY", cert_key, allow_plaintext)?,
        })
    }

    /// What seals the control plane's secrets.
    pub fn secret_key(&self) -> &Seal {
        &self.secret_key
    }

    /// What seals certificate keys.
    pub fn cert_key(&self) -> &Seal {
        &self.cert_key
    }
}

/// One of the two keys of a [`Sealer`].
#[derive(Clone)]
pub struct Seal {
    /// The setting it comes from.
    name: &'static str,
    key: Option<(String, std::sync::Arc<LessSafeKey>)>,
    allow_plaintext: bool,
}

impl Seal {
    fn new(
        name: &'static str,
        text: Option<&Secret<String>>,
        allow_plaintext: bool,
    ) -> Result<Self, SealError> {
        let key = match text {
            Some(text) if text.expose().len() < SHORTEST => {
                return Err(SealError::ShortKey { key: name, least: SHORTEST });
            }
            Some(text) => Some(derive(name, text.expose().as_bytes())?),
            None => None,
        };
        Ok(Self { name, key, allow_plaintext })
    }

    /// Whether a key is there; without one [`Seal::seal`] keeps values in clear or fails.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The id of the key, as in the values it sealed; `None` without a key.
    pub fn key_id(&self) -> Option<&str> {
        self.key.as_ref().map(|(id, _)| id.as_str())
    }

    /// The text to store for a secret in the record `key`.
    ///
    /// # Errors
    /// [`SealError::NoKey`] when there is no key and plaintext is not allowed.
    pub fn seal(&self, key: &Key, secret: &Secret<String>) -> Result<String, SealError> {
        let Some((id, cipher)) = &self.key else {
            return match self.allow_plaintext {
                true => Ok(secret.expose().clone()),
                false => Err(SealError::NoKey { key: self.name }),
            };
        };
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Unspecified)?;
        let mut sealed = secret.expose().as_bytes().to_vec();
        let aad = Aad::from(key.to_string());
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| SealError::Unspecified)?;
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        Ok(format!("{PREFIX}{id}:{}", STANDARD.encode(bytes)))
    }

    /// The secret in a stored text of the record `key`.
    ///
    /// # Errors
    /// Every [`SealError`] but the short key.
    pub fn open(&self, key: &Key, stored: &str) -> Result<Secret<String>, SealError> {
        let Some(sealed) = stored.strip_prefix(PREFIX) else {
            return match self.allow_plaintext {
                true => Ok(Secret::new(stored.to_owned())),
                false => Err(SealError::NotSealed),
            };
        };
        let Some((have, cipher)) = &self.key else {
            return Err(SealError::NoKey { key: self.name });
        };
        let (id, body) = sealed.split_once(':').ok_or(SealError::Malformed)?;
        if id != have {
            let (sealed_with, have) = (id.chars().take(16).collect(), have.clone());
            return Err(SealError::WrongKey { key: self.name, sealed_with, have });
        }
        let bytes = STANDARD.decode(body).map_err(|_| SealError::Malformed)?;
        let (nonce, body) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError::Malformed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Malformed)?;
        let mut body = body.to_vec();
        let plain = cipher
            .open_in_place(nonce, Aad::from(key.to_string()), &mut body)
            .map_err(|_| SealError::Tampered)?;
        String::from_utf8(plain.to_vec()).map(Secret::new).map_err(|_| SealError::Malformed)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.key.as_ref().map(|(id, _)| id);
        f.debug_struct("Seal")
            .field("name", &self.name)
            .field("key_id", &id)
            .finish_non_exhaustive()
    }
}

/// The cipher of a text and the id by which its values are known.
fn derive(
    name: &'static str,
    text: &[u8],
) -> Result<(String, std::sync::Arc<LessSafeKey>), SealError> {
    let root = Salt::new(HKDF_SHA256, b"gatewright").extract(text);
    let refused = |_| SealError::Unspecified;
    let info = [name.as_bytes(), b" key"];
    let cipher = root.expand(&info, &AES_256_GCM).map_err(refused)?;
    let mut id = [0; HKDF_LEN];
    let info = [name.as_bytes(), b" id"];
    root.expand(&info, HKDF_SHA256).map_err(refused)?.fill(&mut id).map_err(refused)?;
    let id = id[..KEY_ID].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((id, std::sync::Arc::new(LessSafeKey::new(cipher.into()))))
}

/// The bytes that HKDF-SHA256 gives at once.
const HKDF_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collection;

    const A: &str = "0123456789abcdef";
    const B: &str = "fedcba9876543210";

    fn seal(text: Option<&str>, allow_plaintext: bool) -> Seal {
        let text = text.map(|text| Secret::new(text.to_owned()));
        Seal::new("CERT_KEY", text.as_ref(), allow_plaintext).unwrap()
    }

    fn secret() -> Secret<String> {
        Secret::new("-----BEGIN PRIVATE KEY-----".to_owned())
    }

    fn key(id: &str) -> Key {
        Key::new(Collection::Cert, id)
    }

    #[test]
    fn a_value_opens_with_its_key_in_its_record_only() {
        let ours = seal(Some(A), false);
        let stored = ours.seal(&key("a"), &secret()).unwrap();
        assert!(!stored.contains("PRIVATE"));
        assert_eq!(ours.open(&key("a"), &stored).unwrap(), secret());
        assert!(matches!(ours.open(&key("b"), &stored), Err(SealError::Tampered)));
        let other = seal(Some(B), false).open(&key("a"), &stored).unwrap_err();
        assert!(other.to_string().contains("sealed with another CERT_KEY"), "{other}");
        assert!(matches!(seal(None, true).open(&key("a"), &stored), Err(SealError::NoKey { .. })));
    }

    #[test]
    fn an_altered_value_is_refused() {
        let ours = seal(Some(A), true);
        let stored = ours.seal(&key("a"), &secret()).unwrap();
        for cut in PREFIX.len()..stored.len() {
            assert!(ours.open(&key("a"), &stored[..cut]).is_err(), "{cut}");
        }
        let body = stored.rfind(':').unwrap() + 1;
        for at in body..stored.len() {
            let mut bytes = stored.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).unwrap();
            assert!(ours.open(&key("a"), &altered).is_err(), "{at}");
        }
    }

    #[test]
    fn plaintext_needs_leave() {
        assert!(matches!(
            seal(None, false).seal(&key("a"), &secret()),
            Err(SealError::NoKey { key: "CERT_KEY" })
        ));
        let clear = seal(None, true).seal(&key("a"), &secret()).unwrap();
        assert_eq!(seal(None, true).open(&key("a"), &clear).unwrap(), secret());
        assert_eq!(seal(Some(A), true).open(&key("a"), &clear).unwrap(), secret());
        assert!(matches!(seal(Some(A), false).open(&key("a"), &clear), Err(SealError::NotSealed)));
    }

    #[test]
    fn a_short_key_is_refused() {
        let short = Secret::new("short".to_owned());
        let error = Sealer::new(Some(&short), None, true).unwrap_err();
        assert!(error.to_string().contains("SECRET_KEY"), "{error}");
    }
}
