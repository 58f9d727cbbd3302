//! `Authorization: Basic` (RFC 7617). Checking a password takes a fifth of a second by design, so it is done elsewhere:
//! [`Verified`] remembers for a while what came out, and an [`Attempt`] is what there is to do.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use model::Secret;

use crate::Error;

/// Who may come in, by name and password hash.
#[derive(Clone)]
pub struct BasicAuth {
    challenge: HeaderValue,
    users: HashMap<Box<str>, Stored>,
    /// Some user's, for names that don't exist: those must take as long.
    any: Stored,
}

/// A password as it is kept.
#[derive(Clone, PartialEq)]
struct Stored {
    hash: Secret<Box<str>>,
    /// Stands for the hash where a request would have all its bytes hashed again.
    digest: u64,
}

impl Stored {
    fn new(hash: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        hash.hash(&mut hasher);
        Self { hash: Secret::new(hash.into()), digest: hasher.finish() }
    }
}

/// The longest `Authorization` that is looked at, in bytes.
const MAX_FIELD: usize = 1024;
/// bcrypt reads no more (and stops at a NUL): longer passwords never match instead of being cut.
const MAX_PASSWORD: usize = 72;
/// bcrypt's cost: up to about three seconds of CPU for one check.
const COSTS: std::ops::RangeInclusive<u8> = 4..=16;

impl BasicAuth {
    /// From names with bcrypt hashes (`$2a$`, `$2b$`, `$2y$`, as `htpasswd -B` writes them).
    ///
    /// # Errors
    /// [`Error::Credentials`]: nobody, a name twice, a name with a colon or control character, another kind of hash,
    /// a cost above 16, or a realm that isn't printable ASCII without quotes.
    pub fn new<'a>(
        realm: &str,
        users: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let wrong =
            |who: &str, why| Error::Credentials { who: who.chars().take(80).collect(), why };
        let is_printable = |byte: u8| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte);
        if realm.is_empty() || realm.len() > 80 || !realm.bytes().all(is_printable) {
            return Err(wrong(realm, "the realm must be 1 to 80 printable ASCII characters"));
        }
        let mut all = HashMap::new();
        for (name, hash) in users {
            if name.is_empty() || name.contains([':', '\0']) || name.contains(char::is_control) {
                return Err(wrong(name, "a name has no colon and no control character"));
            }
            if !is_bcrypt(hash) {
                return Err(wrong(name, "the password must be a bcrypt hash of cost 4 to 16"));
            }
            if all.insert(name.into(), Stored::new(hash)).is_some() {
                return Err(wrong(name, "the name is there twice"));
            }
        }
        let any = all.values().next().cloned();
        let any = any.ok_or_else(|| wrong(realm, "there is no user"))?;
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        let challenge = HeaderValue::try_from(challenge).map_err(|_| wrong(realm, "bad realm"))?;
        Ok(Self { challenge, users: all, any })
    }

    /// The value of `WWW-Authenticate`.
    pub fn challenge(&self) -> &HeaderValue {
        &self.challenge
    }
}

impl PartialEq for BasicAuth {
    fn eq(&self, other: &Self) -> bool {
        self.challenge == other.challenge && self.users == other.users
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

/// What a field says.
struct Sent {
    text: String,
    colon: usize,
}

impl Sent {
    /// `None` when it is malformed, another scheme, or could never match.
    fn read(field: &HeaderValue) -> Option<Self> {
        let field = field.to_str().ok().filter(|field| field.len() <= MAX_FIELD)?;
        let (scheme, encoded) = field.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let sent = Self { colon: text.find(':')?, text };
        let password = sent.password();
        (password.len() <= MAX_PASSWORD && !password.contains('\0')).then_some(sent)
    }

    fn name(&self) -> &str {
        &self.text[..self.colon]
    }

    fn password(&self) -> &str {
        &self.text[self.colon + 1..]
    }
}

/// A password to check, off the request path.
///
/// ```
/// use std::time::Duration;
///
/// use policy::{Attempt, BasicAuth, Credentials, Verified};
///
/// /// Who may come in; `matches` is bcrypt's, called where nobody else is kept waiting.
/// async fn user<F: Future<Output = bool>>(
///     verified: &Verified,
///     attempt: Attempt,
///     matches: impl FnOnce(Attempt) -> F,
///     now: Duration,
/// ) -> Option<Box<str>> {
///     let is_right = matches(attempt.clone()).await;
///     verified.learn(&attempt, is_right, now).then(|| attempt.name().into())
/// }
/// ```
///
/// How many are checked at a time is the caller's to bound. Who waits for a turn asks [`Verified::recall`] when it has come:
/// the same may have been checked meanwhile.
#[derive(Clone, Debug)]
pub struct Attempt {
    name: Box<str>,
    password: Secret<Box<str>>,
    hash: Secret<Box<str>>,
    is_known: bool,
    key: u128,
}

impl Attempt {
    /// The name that was sent, known or not.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The password that was sent; at most 72 bytes without a NUL.
    pub fn password(&self) -> &str {
        self.password.expose()
    }

    /// The bcrypt hash that it must match.
    pub fn hash(&self) -> &str {
        self.hash.expose()
    }
}

/// How a request stands with a host's credentials.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Its password is known to be right: this user.
    Known(Box<str>),
    /// Not the right ones, or none.
    Refused,
    /// To be checked.
    Unchecked(Attempt),
}

/// What was checked lately, for all hosts of a process. Bounded: two tables of 4,096 places; what meets in a place
/// is checked again.
///
/// Passwords are not in it, only a hash of them under a secret of this process together with the name and the stored
/// hash, so that a changed password counts at once.
#[derive(Debug)]
pub struct Verified {
    /// Apart, so that wrong guesses can't push right passwords out.
    right: Places,
    wrong: Places,
    hashers: [RandomState; 2],
}

/// (key, good until in nanoseconds)
type Places = Mutex<Box<[(u128, u64)]>>;

const PLACES: usize = 4096;
/// How long a right password is known since it was last sent: who keeps sending it never waits for a check.
const RIGHT_FOR: Duration = Duration::from_secs(60);
/// How long a wrong one is refused without a check: what a client repeats by itself costs one.
const WRONG_FOR: Duration = Duration::from_secs(5);

impl Default for Verified {
    fn default() -> Self {
        let places = || Mutex::new(vec![(0, 0); PLACES].into_boxed_slice());
        Self { right: places(), wrong: places(), hashers: [RandomState::new(), RandomState::new()] }
    }
}

impl Verified {
    /// Judges an `Authorization` field. `now` is the time since a moment that stays the same.
    pub fn judge(
        &self,
        auth: &BasicAuth,
        field: Option<&HeaderValue>,
        now: Duration,
    ) -> Credentials {
        let Some(sent) = field.and_then(Sent::read) else { return Credentials::Refused };
        let own = auth.users.get(sent.name());
        let stored = own.unwrap_or(&auth.any);
        let (key, is_known) = (self.key(&sent, stored), own.is_some());
        match self.known(key, is_known, now) {
            Some(true) => Credentials::Known(sent.name().into()),
            Some(false) => Credentials::Refused,
            None => Credentials::Unchecked(Attempt {
                name: sent.name().into(),
                password: Secret::new(sent.password().into()),
                hash: stored.hash.clone(),
                is_known,
                key,
            }),
        }
    }

    /// What a check came to that was made meanwhile, for those who waited for their turn to make the same.
    pub fn recall(&self, attempt: &Attempt, now: Duration) -> Option<bool> {
        self.known(attempt.key, attempt.is_known, now)
    }

    fn known(&self, key: u128, is_known: bool, now: Duration) -> Option<bool> {
        // A name that was removed may share its hash with the one that stands in for it.
        if is_known && holds(&self.right, key, now, Some(RIGHT_FOR)) {
            return Some(true);
        }
        holds(&self.wrong, key, now, None).then_some(false)
    }

    /// Remembers what a check came to, and says whether the user may come in.
    pub fn learn(&self, attempt: &Attempt, matches: bool, now: Duration) -> bool {
        let is_right = matches && attempt.is_known;
        let (places, good_for) =
            if is_right { (&self.right, RIGHT_FOR) } else { (&self.wrong, WRONG_FOR) };
        let until = nanos(now + good_for);
        lock(places)[place(attempt.key)] = (attempt.key, until);
        is_right
    }

    fn key(&self, sent: &Sent, stored: &Stored) -> u128 {
        let said = (&sent.text, stored.digest);
        let [high, low] = self.hashers.each_ref().map(|it| it.hash_one(said));
        (u128::from(high) << 64 | u128::from(low)).max(1)
    }
}

/// Whether it is remembered. Then it is from now on for as long as `again` says, if it says so.
fn holds(places: &Places, key: u128, now: Duration, again: Option<Duration>) -> bool {
    let (had, until) = &mut lock(places)[place(key)];
    let holds = *had == key && nanos(now) < *until;
    if let (true, Some(again)) = (holds, again) {
        *until = nanos(now + again);
    }
    holds
}

fn place(key: u128) -> usize {
    (key % PLACES as u128) as usize
}

fn lock(places: &Places) -> std::sync::MutexGuard<'_, Box<[(u128, u64)]>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// `$2b$12$` and 53 characters of bcrypt's alphabet.
fn is_bcrypt(hash: &str) -> bool {
    let mut parts = hash.split('$');
    let (before, kind, cost, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
    before == Some("")
        && matches!(kind, Some("2a" | "2b" | "2y"))
        && cost.is_some_and(|it| it.len() == 2 && it.parse().is_ok_and(|it| COSTS.contains(&it)))
        && rest.is_some_and(|rest| rest.len() == 53 && rest.bytes().all(is_letter))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";
    const OTHER: &str = "$2y$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01235";
    const NOW: Duration = Duration::from_secs(100);

    fn auth() -> BasicAuth {
        BasicAuth::new("Staff only", [("ann", HASH), ("bob", OTHER)]).unwrap()
    }

    fn field(text: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text))).unwrap()
    }

    fn unchecked(verified: &Verified, text: &str) -> Attempt {
        match verified.judge(&auth(), Some(&field(text)), NOW) {
            Credentials::Unchecked(attempt) => attempt,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_right_password_is_checked_again_when_it_was_not_sent_for_a_minute() {
        let verified = Verified::default();
        let attempt = unchecked(&verified, "ann:a:b");
        assert_eq!(verified.recall(&attempt, NOW), None);
        assert_eq!((attempt.name(), attempt.password(), attempt.hash()), ("ann", "a:b", HASH));
        assert!(verified.learn(&attempt, true, NOW));
        assert_eq!(
            verified.recall(&attempt, NOW),
            Some(true),
            "who waited for a turn makes use of it"
        );
        let judge = |text, now| verified.judge(&auth(), Some(&field(text)), now);
        let soon = NOW + RIGHT_FOR - Duration::from_nanos(1);
        assert!(matches!(judge("ann:a:b", soon), Credentials::Known(name) if &*name == "ann"));
        assert!(matches!(judge("ann:a:b", NOW + RIGHT_FOR), Credentials::Known(_)));
        assert!(matches!(judge("ann:a:b", NOW + RIGHT_FOR * 2), Credentials::Unchecked(_)));
        assert!(matches!(judge("ann:x", NOW), Credentials::Unchecked(_)));
        assert!(matches!(judge("bob:a:b", NOW), Credentials::Unchecked(_)));
    }

    #[test]
    fn a_changed_password_counts_at_once() {
        let verified = Verified::default();
        verified.learn(&unchecked(&verified, "ann:old"), true, NOW);
        let changed = BasicAuth::new("Staff only", [("ann", OTHER)]).unwrap();
        let judged = verified.judge(&changed, Some(&field("ann:old")), NOW);
        assert!(matches!(judged, Credentials::Unchecked(_)));
        let gone = BasicAuth::new("Staff only", [("bob", HASH)]).unwrap();
        let Credentials::Unchecked(attempt) = verified.judge(&gone, Some(&field("ann:old")), NOW)
        else {
            panic!("a stranger is to be checked");
        };
        assert!(!verified.learn(&attempt, true, NOW), "a stranger never gets in");
    }

    #[test]
    fn wrong_ones_are_refused_for_a_moment_and_strangers_take_as_long() {
        let verified = Verified::default();
        let stranger = unchecked(&verified, "eve:x");
        assert!([HASH, OTHER].contains(&stranger.hash()));
        assert!(!verified.learn(&stranger, true, NOW));
        let wrong = unchecked(&verified, "ann:wrong");
        assert!(!verified.learn(&wrong, false, NOW));
        let judge = |now| verified.judge(&auth(), Some(&field("ann:wrong")), now);
        assert!(matches!(judge(NOW), Credentials::Refused));
        assert!(matches!(judge(NOW + WRONG_FOR), Credentials::Unchecked(_)));
    }

    #[test]
    fn malformed_fields_are_refused_without_a_check() {
        let verified = Verified::default();
        let long = format!("ann:{}", "x".repeat(73));
        let huge = format!("Basic {}", "A".repeat(2000));
        let encoded = |text: &str| field(text).to_str().unwrap().to_owned();
        for text in [
            "",
            "Basic",
            "Basic ",
            "Basic !",
            "Bearer YTpi",
            "Basic YW5u",
            &encoded("ann"),
            &encoded(&long),
            &encoded("ann:a\0b"),
            "Basic /w==",
            &huge,
            "BasicYW5uOmE=",
        ] {
            let value = HeaderValue::try_from(text).unwrap();
            let judged = verified.judge(&auth(), Some(&value), NOW);
            assert!(matches!(judged, Credentials::Refused), "{text}: {judged:?}");
        }
        assert!(matches!(verified.judge(&auth(), None, NOW), Credentials::Refused));
        let lower = HeaderValue::from_static("bASIC  YW5uOmE=");
        let judged = verified.judge(&auth(), Some(&lower), NOW);
        assert!(matches!(judged, Credentials::Unchecked(_)), "the scheme's case is free");
    }

    #[test]
    fn what_cannot_be_configured() {
        for (realm, users, why) in [
            ("", &[("ann", HASH)][..], "realm"),
            ("a\"b", &[("ann", HASH)], "realm"),
            ("a\r\nb", &[("ann", HASH)], "realm"),
            ("r", &[], "no user"),
            ("r", &[("a:b", HASH)], "colon"),
            ("r", &[("", HASH)], "colon"),
            ("r", &[("ann", HASH), ("ann", OTHER)], "twice"),
            ("r", &[("ann", "plain")], "bcrypt"),
            ("r", &[("ann", "$apr1$abcdefgh$0123456789012345678901")], "bcrypt"),
            ("r", &[("ann", &HASH[1..])], "bcrypt"),
            ("r", &[("ann", &HASH[..59])], "bcrypt"),
        ] {
            let error = BasicAuth::new(realm, users.iter().copied()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("$2"), "{error}");
        }
        let costly = HASH.replace("$12$", "$31$");
        assert!(BasicAuth::new("r", [("ann", &*costly)]).is_err());
        let text = format!("{:?}", auth());
        assert!(!text.contains("$2") && !text.contains("ann"), "{text}");
    }
}
