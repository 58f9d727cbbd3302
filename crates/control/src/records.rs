//! What people's records have in common, whatever their kind: how the history shows them, what of them is secret, who
//! may touch them. A new kind of record is a line in [`KINDS`].

use auth::Permission;
use model::{CertRecord, Host, Reach, Timestamp, User};
use serde_json::{Map, Value, json};
use store::{
    Collection, DnsProviderRecord, Expect, Fields, Key, LocalCaRecord, Record, Sealer, Txn, etag,
};

use crate::Error;
use crate::error::Subject;
use runtime::with_causes;

/// A kind of record that belongs into a backup and whose writes are told in the history.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) collection: Collection,
    /// The fields that the product speaks for; those of other programs are not shown and not taken back.
    fields: &'static [&'static str],
    /// Fields besides that are shown and taken back.
    also: &'static [&'static str],
    /// The fields among them that never leave the store in clear, nor enter the history.
    pub(crate) secrets: &'static [&'static str],
    /// Those of the secrets that not every such record has. Where one was left out stands [`LEFT_OUT`].
    pub(crate) optional: &'static [&'static str],
    /// The setting whose key seals them; `None` for those that are hashes.
    pub(crate) sealed_with: Option<&'static str>,
    /// Who may see such a record in the history, and who may write it.
    pub(crate) read: Permission,
    pub(crate) write: Permission,
    view: fn(&str, &Fields) -> Option<Value>,
    check: fn(&str, &Fields, &Sealer, &Reach) -> Vec<String>,
}

/// Every kind, in the order in which an import writes them: the authority before what makes use of it, hosts before
/// certificates, since a certificate without a host would be tidied away.
pub(crate) const KINDS: [Kind; 5] = [
    Kind {
        also: &[],
        secrets: &["key_pem"],
        sealed_with: Some("SECRET_KEY"),
        read: Permission::WriteUsers,
        write: Permission::WriteUsers,
        view: |_, _| None,
        check: readable::<LocalCaRecord>,
        ..Kind::of_record::<LocalCaRecord>()
    },
    Kind {
        secrets: &["password"],
        read: Permission::WriteUsers,
        write: Permission::WriteUsers,
        view: user_view,
        check: readable::<User>,
        ..Kind::of_record::<User>()
    },
    Kind {
        secrets: &["gw_basic_auth"],
        optional: &["gw_basic_auth"],
        // Kept from an older layout, where the name may be one that is none here.
        also: &["created_by"],
        view: host_view,
        check: sound_host,
        ..Kind::of_record::<Host>()
    },
    Kind {
        secrets: &["credentials"],
        sealed_with: Some("SECRET_KEY"),
        write: Permission::WriteProviders,
        check: readable::<DnsProviderRecord>,
        ..Kind::of_record::<DnsProviderRecord>()
    },
    Kind {
        secrets: &["privkey_pem"],
        sealed_with: Some("CERT_KEY"),
        check: readable::<CertRecord>,
        ..Kind::of_record::<CertRecord>()
    },
];

impl Kind {
    const fn of_record<R: Record>() -> Self {
        Self {
            collection: R::COLLECTION,
            fields: R::FIELDS,
            also: &[],
            secrets: &[],
            optional: &[],
            sealed_with: None,
            read: Permission::Read,
            write: Permission::WriteHosts,
            view: |_, _| None,
            check: |_, _, _, _| Vec::new(),
        }
    }

    pub(crate) fn of(collection: Collection) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.collection == collection)
    }

    /// The part of a record that may be told.
    pub(crate) fn shown(&self, fields: &Fields) -> Fields {
        let told = |name: &str| self.is_ours(name) && !self.secrets.contains(&name);
        let shown = fields.iter().filter(|(name, _)| told(name));
        shown.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The record with what may be told replaced by `shown`; secrets and what others keep there stays.
    pub(crate) fn with_shown(&self, fields: Option<&Fields>, shown: &Fields) -> Fields {
        let mut fields = fields.cloned().unwrap_or_default();
        fields.retain(|name, _| !self.is_ours(name) || self.secrets.contains(&name.as_str()));
        fields.extend(shown.clone());
        fields
    }

    /// The record without its secrets. That there was an optional one is told: a host must not come back unguarded.
    pub(crate) fn without_secrets(&self, mut fields: Fields) -> Fields {
        fields.retain(|name, value| {
            if self.optional.contains(&name.as_str()) {
                LEFT_OUT.clone_into(value);
                return true;
            }
            !self.secrets.contains(&name.as_str())
        });
        fields
    }

    /// Says that the record changed at this moment.
    pub(crate) fn touch(&self, fields: &mut Fields, now: Timestamp) {
        if self.fields.contains(&UPDATED) {
            fields.insert(UPDATED.to_owned(), now.as_millis().to_string());
        }
    }

    /// As the API shows such a record, from what may be told of it.
    pub(crate) fn view(&self, id: &str, shown: &Fields) -> Value {
        (self.view)(id, shown).unwrap_or_else(|| {
            let texts = shown.iter().map(|(name, value)| (name.clone(), Value::from(&**value)));
            Value::Object(texts.collect::<Map<_, _>>())
        })
    }

    /// All that is wrong with a record, its secrets included.
    pub(crate) fn check(
        &self,
        id: &str,
        fields: &Fields,
        sealer: &Sealer,
        reach: &Reach,
    ) -> Vec<String> {
        (self.check)(id, fields, sealer, reach)
    }

    fn is_ours(&self, name: &str) -> bool {
        self.fields.contains(&name) || self.also.contains(&name)
    }
}

/// When a record last changed; not a difference by itself.
pub(crate) const UPDATED: &str = "updated_on";

/// Whether two contents differ in more than when they were written.
pub(crate) fn differ(a: &Fields, b: &Fields) -> bool {
    let content = |fields: &Fields| {
        let mut fields = fields.clone();
        fields.remove(UPDATED);
        fields
    };
    content(a) != content(b)
}

/// One record before and after a write, at least one of the two.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) before: Option<Fields>,
    pub(crate) after: Option<Fields>,
}

impl Change {
    /// Adds the write to a transaction that fails unless the record is still as it was.
    pub(crate) fn add_to(self, txn: Txn) -> Txn {
        let expect = self.before.map_or(Expect::Absent, |fields| Expect::ETag(etag(&fields)));
        match self.after {
            Some(fields) => txn.put(self.key, fields, expect),
            None => txn.delete(self.key, expect),
        }
    }
}

/// The record that an error is about.
pub(crate) fn subject(key: &Key) -> Subject {
    match key.collection {
        Collection::Host => Subject::host(&key.id),
        Collection::User => Subject::user(&key.id),
        Collection::Cert => Subject::cert(&key.id),
        Collection::DnsProvider => Subject::dns_provider(&key.id),
        _ => Subject::other(key.collection, &key.id),
    }
}

fn readable<R: Record>(id: &str, fields: &Fields, sealer: &Sealer, _: &Reach) -> Vec<String> {
    R::from_fields(id, fields, sealer).err().map(|bad| with_causes(&bad)).into_iter().collect()
}

fn sound_host(id: &str, fields: &Fields, sealer: &Sealer, reach: &Reach) -> Vec<String> {
    match Host::from_fields(id, fields, sealer) {
        Err(bad) => vec![with_causes(&bad)],
        Ok(host) => match crate::hosts::check(&host, reach) {
            Err(Error::Invalid { errors }) => errors
                .into_iter()
                .map(|error| format!("{}: {}", error.pointer, error.detail))
                .collect(),
            _ => Vec::new(),
        },
    }
}

fn host_view(id: &str, shown: &Fields) -> Option<Value> {
    let host = Host::from_fields(id, shown, &unsealed()?).ok()?;
    let upstreams: Vec<_> = host.upstreams.iter().map(ToString::to_string).collect();
    let mut view = json!({
        "host": host.pattern.as_str(),
        "upstreams": upstreams,
        "upstream_tls": host.upstream_tls,
        "preserve_host": host.preserve_host,
        "force_https": host.force_https,
        "certificate": host.certificate,
        "enabled": host.enabled,
        "created_at": host.created_at.to_string(),
        "updated_at": host.updated_at.to_string(),
    });
    if let Some(name) = host.created_by {
        view["created_by"] = name.as_str().into();
    }
    Some(view)
}

fn user_view(id: &str, shown: &Fields) -> Option<Value> {
    let mut shown = shown.clone();
    shown.insert("password".to_owned(), LOCKED.to_owned());
    let user = User::from_fields(id, &shown, &unsealed()?).ok()?;
    Some(json!({
        "username": user.username.as_str(),
        "role": user.role,
        "created_at": user.created_at.to_string(),
        "updated_at": user.updated_at.to_string(),
    }))
}

/// In place of a password's hash: no password fits it.
pub(crate) const LOCKED: &str = "*";

/// What stands for an optional secret that was left out: a value of its kind that lets nobody in. Data planes refuse
/// such a host.
pub(crate) const LEFT_OUT: &str = "{}";

/// For records that have nothing to open.
fn unsealed() -> Option<Sealer> {
    Sealer::new(None, None, true).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn no_secret_and_nothing_of_others_is_shown() {
        for kind in &KINDS {
            let everything: Fields = kind
                .fields
                .iter()
                .chain(kind.also)
                .chain(&["of_others"])
                .map(|name| ((*name).to_owned(), "s3cret".to_owned()))
                .collect();
            let shown = kind.shown(&everything);
            assert_eq!(shown.len(), kind.fields.len() + kind.also.len() - kind.secrets.len());
            for secret in kind.secrets.iter().chain(&["of_others"]) {
                assert!(!shown.contains_key(*secret), "{secret} of {}", kind.collection);
            }
            // Put back, nothing is lost.
            assert_eq!(kind.with_shown(Some(&everything), &shown), everything);
        }
    }

    #[test]
    fn taking_back_keeps_secrets_and_what_others_wrote() {
        let kind = Kind::of(Collection::User).unwrap();
        let now =
            fields(&[("username", "ann"), ("password", "$2b$"), ("gw_role", "admin"), ("x", "y")]);
        let before = fields(&[("username", "ann"), ("gw_role", "viewer")]);
        let back = kind.with_shown(Some(&now), &before);
        assert_eq!(
            back,
            fields(&[("username", "ann"), ("password", "$2b$"), ("gw_role", "viewer"), ("x", "y")])
        );
    }

    #[test]
    fn views_speak_the_words_of_the_api() {
        let host = Kind::of(Collection::Host).unwrap();
        let shown = fields(&[("host", "a.test"), ("ip", "127.0.0.1"), ("targetPort", "80")]);
        let view = host.view("a.test", &shown);
        assert_eq!(view["upstreams"], json!(["127.0.0.1:80"]));
        assert_eq!(view["certificate"], "auto");
        // What can't be understood is shown as it stands.
        let odd = fields(&[("ip", "?")]);
        assert_eq!(host.view("a.test", &odd), json!({ "ip": "?" }));
    }
}
