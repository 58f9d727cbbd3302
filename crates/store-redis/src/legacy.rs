use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fred::error::Error as RedisError;
use fred::types::Value;
use serde_json::json;
use store::{Action, Collection, Error, Fields, Key, Op, ScanPage};

use crate::answer::is_not_allowed;
use crate::backend::Link;
use crate::scan::{self, Listing};

/// What a sealed value begins with: older programs have no key to open it.
const SEALED: &str = "gw1:";
/// The `expiry`, in seconds, of a certificate that the HTTP-01 client of an older data plane is to leave alone: in the
/// year 2100. The real one stands beside it.
const NEVER: u64 = 4_120_307_657;
/// How long a certificate of others is taken to have been valid when it ends, in milliseconds: 90 days.
const USUAL_LIFE: u64 = 90 * 24 * 3_600_000;
/// The end of a certificate's first block.
const PEM_END: &str = "-----END CERTIFICATE-----";

/// What is shared with programs of the older layout at keys of theirs, without our prefix: a certificate as JSON at
/// `<name>:latest`, a challenge at `<domain>:challenge:<token>`. See `docs/decisions/legacy-keys.md`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Legacy {
    challenges: bool,
    certificates: bool,
    /// Whether it was said that the server does not let us read them.
    refused: Arc<AtomicBool>,
}

/// What a change does to the key that older programs read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) key: String,
    /// `None`: it goes.
    pub(crate) value: Option<String>,
}

impl Legacy {
    /// Challenges, and certificates only where private keys may stand unsealed.
    pub(crate) fn new(certificates: bool) -> Self {
        Self { challenges: true, certificates, ..Self::default() }
    }

    /// Whether a host that others changed may have come with a certificate.
    pub(crate) fn has_certificates(&self) -> bool {
        self.certificates
    }

    /// What goes with a change in the same transaction.
    pub(crate) fn copy(&self, op: &Op) -> Option<Copy> {
        let fields = match &op.action {
            Action::Put { fields, .. } => Some(fields),
            Action::Delete => None,
        };
        let id = op.key.id.as_str();
        match op.key.collection {
            Collection::Cert if self.certificates => {
                let value = fields.map(certificate_text);
                // Nothing is left of a value that must not be written, and what others wrote there is theirs.
                (value != Some(None)).then(|| Copy { key: latest(id), value: value.flatten() })
            }
            Collection::Challenge if self.challenges => {
                // A token has no colon; an address may.
                let (domain, token) = id.rsplit_once(':')?;
                let value = fields.map(|fields| fields.get("key_authorisation").cloned());
                let key = challenge_key(domain, token);
                (value != Some(None)).then(|| Copy { key, value: value.flatten() })
            }
            _ => None,
        }
    }
}

/// The record of this key with what others wrote for it taken in.
pub(crate) async fn with_copy(
    link: &Link,
    key: &Key,
    record: Option<Fields>,
) -> Result<Option<Fields>, Error> {
    let legacy = link.layout.legacy();
    match key.collection {
        Collection::Cert if legacy.certificates => {
            let copies = copies(link, vec![latest(&key.id)]).await?;
            Ok(better(&key.id, record, copies.into_iter().next().flatten()))
        }
        Collection::Challenge if legacy.challenges && record.is_none() => {
            let Some((domain, token)) = key.id.rsplit_once(':') else { return Ok(None) };
            let copies = copies(link, vec![challenge_key(domain, token)]).await?;
            let found = copies.into_iter().next().flatten();
            Ok(found.and_then(|authorisation| challenge_of(domain, token, authorisation)))
        }
        _ => Ok(record),
    }
}

/// One page of a collection, as [`scan::page`]. Certificates: first those that have a record, then, under a cursor that
/// begins with `h`, those that others wrote for a host: at its own name, or at that of its `wildcard_parent`.
pub(crate) async fn page(
    link: &Link,
    collection: Collection,
    cursor: Option<&str>,
    limit: usize,
) -> Result<ScanPage, Error> {
    if collection != Collection::Cert || !link.layout.legacy().certificates {
        return scan::page(link, Listing::Records(collection), cursor, limit).await;
    }
    if let Some(cursor) = cursor.and_then(|cursor| cursor.strip_prefix('h')) {
        let cursor = Some(cursor).filter(|it| !it.is_empty());
        let page = scan::page(link, Listing::Copies, cursor, limit).await?;
        return Ok(ScanPage { next: page.next.map(|next| format!("h{next}")), ..page });
    }
    let mut page = scan::page(link, Listing::Records(collection), cursor, limit).await?;
    let ids: Vec<_> = page.records.iter().map(|(id, _)| id.clone()).collect();
    let copies = copies(link, ids.iter().map(|id| latest(id)).collect()).await?;
    for ((id, fields), copy) in page.records.iter_mut().zip(copies) {
        if let Some(better) = better(id, Some(std::mem::take(fields)), copy) {
            *fields = better;
        }
    }
    page.next = page.next.or_else(|| Some("h".to_owned()));
    Ok(page)
}

/// The certificates that others wrote for these hosts and that have no record.
pub(crate) async fn of_hosts(link: &Link, ids: &[String]) -> Result<Vec<(String, Fields)>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let host = |id: &String| link.layout.record(&Key::new(Collection::Host, id.as_str()));
    let hosts = ids.iter().map(host).collect();
    let certificates = link.layout.record(&Key::new(Collection::Cert, ""));
    let arguments =
        std::iter::once(&certificates).chain(ids).map(|text| Value::from(text.as_str()));
    let script = &link.scripts.copies_of_hosts;
    let found = link.connection.read(script, hosts, arguments.collect()).await;
    let found: Vec<String> = allowed(link, found)?;
    let found: BTreeMap<_, _> = found.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect();
    let records = found.into_iter().filter_map(|(id, copy)| {
        let fields = better(id, None, Some(copy.clone()))?;
        Some((id.clone(), fields))
    });
    Ok(records.collect())
}

/// What stands at each of these keys of others.
async fn copies(link: &Link, keys: Vec<String>) -> Result<Vec<Option<String>>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let count = keys.len();
    let copies = link.connection.read(&link.scripts.copies, keys, Vec::new()).await;
    let copies: Vec<Value> = allowed(link, copies)?;
    let copies = copies.into_iter().map(Value::into_string).chain(std::iter::repeat(None));
    Ok(copies.take(count).collect())
}

/// What was read; nothing where the server does not let us.
fn allowed<T: Default>(link: &Link, read: Result<T, RedisError>) -> Result<T, Error> {
    match read {
        Ok(read) => Ok(read),
        Err(error) if is_not_allowed(&error) => {
            if !link.layout.legacy().refused.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "Redis does not let us read NAME:latest and NAME:challenge:TOKEN: what older programs wrote there is not \
                     seen; allow it, or say LEGACY_KEYS=false"
                );
            }
            Ok(T::default())
        }
        Err(error) => Err(link.failed("reading what older programs wrote", error)),
    }
}

/// The key that older programs read a certificate from.
fn latest(name: &str) -> String {
    format!("{name}:latest")
}

/// The key that older programs read the answer to a challenge from.
fn challenge_key(domain: &str, token: &str) -> String {
    format!("{domain}:challenge:{token}")
}

/// A challenge of others as a record of ours. When it ends is theirs to say: by taking it away. What is no key authorisation
/// of this token (RFC 8555 §8.1) is something else under that name.
fn challenge_of(domain: &str, token: &str, authorisation: String) -> Option<Fields> {
    authorisation.strip_prefix(token)?.strip_prefix('.')?;
    Some(Fields::from([
        ("domain".to_owned(), domain.to_owned()),
        ("token".to_owned(), token.to_owned()),
        ("key_authorisation".to_owned(), authorisation),
        ("expires_at".to_owned(), (NEVER * 1000).to_string()),
    ]))
}

/// The record, or what others wrote: the one that lasts longer serves.
fn better(id: &str, record: Option<Fields>, copy: Option<String>) -> Option<Fields> {
    let Some(copy) = copy else { return record };
    let copy: serde_json::Value = serde_json::from_str(&copy).unwrap_or_default();
    let end = end(&copy);
    match record {
        Some(record) if end.is_none_or(|end| end <= millis(&record, "not_after")) => Some(record),
        // What makes no sense is left for the reader to reject by name.
        _ => Some(from_copy(id, &copy, end.unwrap_or(NEVER * 1000))),
    }
}

fn millis(fields: &Fields, name: &str) -> u64 {
    fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// When a certificate of others really ends, in milliseconds.
fn end(copy: &serde_json::Value) -> Option<u64> {
    let seconds = |name: &str| {
        let value = copy.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    let seconds = seconds("real_expiry").or_else(|| seconds("expiry").filter(|at| *at != NEVER));
    seconds?.checked_mul(1000)
}

/// A certificate of others as a record of ours. Theirs to renew: an uploaded one to us.
fn from_copy(id: &str, copy: &serde_json::Value, end: u64) -> Fields {
    let mut fields = Fields::from([
        ("name".to_owned(), id.to_owned()),
        ("source".to_owned(), "custom".to_owned()),
        ("not_before".to_owned(), end.saturating_sub(USUAL_LIFE).to_string()),
        ("not_after".to_owned(), end.to_string()),
    ]);
    for name in ["fullchain_pem", "privkey_pem"] {
        if let Some(text) = copy.get(name).and_then(serde_json::Value::as_str) {
            fields.insert(name.to_owned(), text.to_owned());
        }
    }
    fields
}

/// A certificate's record as older programs read it; `None` when its key is sealed or missing.
fn certificate_text(fields: &Fields) -> Option<String> {
    let key = fields.get("privkey_pem").filter(|key| !key.starts_with(SEALED))?;
    let chain = fields.get("fullchain_pem")?;
    let leaf = chain.find(PEM_END).map_or(chain.as_str(), |at| &chain[..at + PEM_END.len()]);
    let text = json!({
        "cert_pem": format!("{leaf}\n"),
        "fullchain_pem": chain,
        "privkey_pem": key,
        "expiry": NEVER,
        "real_expiry": millis(fields, "not_after") / 1000,
    });
    Some(text.to_string())
}

#[cfg(test)]
mod tests {
    use store::{Expect, Txn};

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn certificate(key: &str) -> Fields {
        let chain = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n-----BEGIN B";
        fields(&[("fullchain_pem", chain), ("privkey_pem", key), ("not_after", "5999")])
    }

    fn copy(legacy: &Legacy, txn: &Txn) -> Option<Copy> {
        legacy.copy(&txn.ops()[0])
    }

    #[test]
    fn a_certificate_is_copied_with_its_leaf_alone_and_a_sealed_one_is_not() {
        let key = Key::new(Collection::Cert, "*.a.test");
        let put = |fields| Txn::new().put(key.clone(), fields, Expect::Any);
        let (all, some) = (Legacy::new(true), Legacy::new(false));
        let made = copy(&all, &put(certificate("KEY"))).unwrap();
        assert_eq!(made.key, "*.a.test:latest");
        let value: serde_json::Value = serde_json::from_str(&made.value.unwrap()).unwrap();
        let leaf = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n";
        assert_eq!((&value["cert_pem"], &value["real_expiry"]), (&leaf.into(), &5.into()));
        assert_eq!((&value["privkey_pem"], &value["expiry"]), (&"KEY".into(), &NEVER.into()));
        assert_eq!(copy(&all, &put(certificate("gw1:x:y"))), None);
        let gone = Copy { key: "*.a.test:latest".to_owned(), value: None };
        assert_eq!(copy(&all, &Txn::new().delete(key.clone(), Expect::Any)), Some(gone));
        assert_eq!(copy(&some, &put(certificate("KEY"))), None);
        assert_eq!(copy(&some, &Txn::new().delete(key.clone(), Expect::Any)), None);
        assert_eq!(copy(&Legacy::default(), &put(certificate("KEY"))), None);
    }

    #[test]
    fn a_challenge_is_copied_whatever_becomes_of_certificates() {
        let key = Key::new(Collection::Challenge, "[::1]:to-ken");
        let fields = fields(&[("key_authorisation", "to-ken.x")]);
        let copied = copy(&Legacy::new(false), &Txn::new().put(key, fields, Expect::Any));
        let value = Some("to-ken.x".to_owned());
        assert_eq!(copied, Some(Copy { key: "[::1]:challenge:to-ken".to_owned(), value }));
    }

    #[test]
    fn a_challenge_of_others_is_a_record_if_it_is_one() {
        let found = challenge_of("a.test", "to-ken", "to-ken.x".to_owned()).unwrap();
        assert_eq!((found["domain"].as_str(), found["token"].as_str()), ("a.test", "to-ken"));
        assert_eq!(found["key_authorisation"], "to-ken.x");
        for other in ["", "to-ken", "other.x", "to-kenx.y"] {
            assert_eq!(challenge_of("a.test", "to-ken", other.to_owned()), None, "{other}");
        }
    }

    #[test]
    fn the_one_that_lasts_longer_serves_and_our_own_copy_is_no_other() {
        let ours = certificate("KEY");
        let own = certificate_text(&ours);
        assert_eq!(better("a", Some(ours.clone()), own.clone()), Some(ours.clone()));
        assert_eq!(better("a", None, own).unwrap()["not_after"], "5000");
        let theirs = |json: &str| better("a", Some(ours.clone()), Some(json.to_owned())).unwrap();
        let later = theirs(r#"{"expiry":7,"fullchain_pem":"F","privkey_pem":"P"}"#);
        assert_eq!((later["not_after"].as_str(), later["privkey_pem"].as_str()), ("7000", "P"));
        assert_eq!(later["source"], "custom");
        for worse in ["nonsense", "{}", r#"{"expiry":4120307657}"#, r#"{"real_expiry":"4"}"#] {
            assert_eq!(theirs(worse), ours, "{worse}");
        }
        let odd = better("a", None, Some("nonsense".to_owned())).unwrap();
        assert_eq!((odd["name"].as_str(), odd.get("fullchain_pem")), ("a", None));
        assert_eq!(better("a", None, None), None);
    }
}
