use model::Secret;

use crate::Error;

/// The shortest password that can be set, in characters.
pub const MIN_PASSWORD: usize = 8;
/// The longest password that bcrypt takes whole, in bytes: 72 less the NUL that ends it.
pub const MAX_PASSWORD: usize = 71;

/// How much work a hash is: bcrypt's exponent. One more doubles the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost(u32);

impl Cost {
    /// Takes 4 (for tests) to 16 (several seconds).
    ///
    /// # Errors
    /// [`Error::Cost`] outside that range.
    pub fn new(exponent: u32) -> Result<Self, Error> {
        if (4..=16).contains(&exponent) { Ok(Self(exponent)) } else { Err(Error::Cost(exponent)) }
    }
}

impl Default for Cost {
    /// 12: about 0.2 s of one core.
    fn default() -> Self {
        Self(12)
    }
}

/// Makes and checks password hashes. Both take long on purpose: never call them on a thread that serves.
#[derive(Clone, Debug)]
pub struct Passwords {
    cost: Cost,
    /// A well-formed hash that no password is known for, to spend the usual work on unknown accounts.
    nobody: String,
}

impl Passwords {
    /// Hashes made from now on have this cost.
    pub fn new(cost: Cost) -> Self {
        // 22 characters of salt and 31 of hash, all zero bits.
        Self { cost, nobody: format!("$2b${:02}${}", cost.0, ".".repeat(53)) }
    }

    /// Hashes a new password, `$2b$…`.
    ///
    /// # Errors
    /// [`Error::Password`] as [`check_password`]; [`Error::Hash`] when the system has no randomness.
    pub fn hash(&self, password: &Secret<String>) -> Result<Secret<String>, Error> {
        check_password(password)?;
        bcrypt::non_truncating_hash(password.expose(), self.cost.0)
            .map(Secret::new)
            .map_err(Error::Hash)
    }

    /// Whether the password belongs to the hash. `None`, a damaged hash and a password that bcrypt would cut cost as
    /// much time as a wrong password and never match.
    pub fn verify(&self, password: &Secret<String>, hash: Option<&Secret<String>>) -> bool {
        let whole = taken_whole(password.expose());
        let hash = hash.map(Secret::expose).filter(|_| whole);
        let outcome = hash.and_then(|hash| bcrypt::verify(password.expose(), hash).ok());
        if let Some(matches) = outcome {
            return matches;
        }
        // The answer is known; the work keeps the clock from telling why.
        let _unused = bcrypt::verify("", &self.nobody);
        false
    }
}

/// Checks the rules for a new password: at least [`MIN_PASSWORD`] characters, at most [`MAX_PASSWORD`] bytes, no NUL.
///
/// # Errors
/// [`Error::Password`] naming the rule.
pub fn check_password(password: &Secret<String>) -> Result<(), Error> {
    let text = password.expose();
    if text.contains('\0') {
        Err(Error::Password("a password can't contain the NUL character"))
    } else if text.len() > MAX_PASSWORD {
        Err(Error::Password("a password has at most 71 bytes, so that none of it is ignored"))
    } else if text.chars().count() < MIN_PASSWORD {
        Err(Error::Password("a password has at least 8 characters"))
    } else {
        Ok(())
    }
}

/// bcrypt would take `x\0x` for `x` and forget what follows byte 72.
fn taken_whole(text: &str) -> bool {
    text.len() <= MAX_PASSWORD && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn cheap() -> Passwords {
        Passwords::new(Cost::new(4).unwrap())
    }

    #[test]
    fn the_rules_are_named() {
        for (text, why) in [
            ("", "at least 8"),
            ("seven77", "at least 8"),
            ("éééé", "at least 8"),
            (&"a".repeat(72), "at most 71"),
            (&"é".repeat(36), "at most 71"),
            ("12345678\0", "NUL"),
        ] {
            let error = cheap().hash(&secret(text)).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        assert!(cheap().hash(&secret(&"a".repeat(71))).is_ok());
        assert!(cheap().hash(&secret("éééééééé")).is_ok());
    }

    #[test]
    fn what_bcrypt_would_cut_never_matches() {
        let longest = "a".repeat(71);
        let hash = cheap().hash(&secret(&longest)).unwrap();
        assert!(cheap().verify(&secret(&longest), Some(&hash)));
        for more in ["\0", "\0anything", "a", "aa"] {
            assert!(!cheap().verify(&secret(&format!("{longest}{more}")), Some(&hash)), "{more:?}");
        }
        let short = cheap().hash(&secret("12345678")).unwrap();
        assert!(!cheap().verify(&secret("12345678\x0012345678"), Some(&short)));
    }

    #[test]
    fn hashes_made_elsewhere_verify() {
        let hash = cheap().hash(&secret("correct horse")).unwrap();
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let foreign = secret(&hash.expose().replacen("$2b$", prefix, 1));
            assert!(cheap().verify(&secret("correct horse"), Some(&foreign)), "{prefix}");
            assert!(!cheap().verify(&secret("correct house"), Some(&foreign)), "{prefix}");
        }
    }

    #[test]
    fn a_damaged_hash_matches_nothing() {
        for damaged in ["", "plain", "$2b$04$short", "$2b$99$......................"] {
            assert!(!cheap().verify(&secret("whatever1"), Some(&secret(damaged))), "{damaged:?}");
        }
        assert!(!cheap().verify(&secret(""), None));
    }

    #[test]
    fn the_stand_in_for_nobody_costs_a_real_verification() {
        let passwords = cheap();
        assert!(matches!(bcrypt::verify("x", &passwords.nobody), Ok(false)));
        assert!(Cost::new(3).is_err() && Cost::new(17).is_err());
        assert_eq!(Cost::default(), Cost::new(12).unwrap());
    }
}
