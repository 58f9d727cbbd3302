use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// A DNS provider: an account at one, or name servers of one's own. Its credentials are never in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsProviderView {
    /// Its id.
    pub id: String,
    /// Its kind, one of `/api/dns/kinds`.
    pub kind: String,
    /// Its settings that are no secrets, by name.
    pub settings: BTreeMap<String, String>,
    /// The names of the credentials that are set.
    pub credentials_set: Vec<String>,
    /// Which name servers are asked whether a value has arrived; empty: those that the zone names.
    pub nameservers: Vec<String>,
    /// Its zones, as last seen.
    pub zones: Vec<String>,
    /// The entity tag for `If-Match`, without quotes; absent after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub etag: Option<String>,
    /// Everything up to this revision of the store is included in this answer: `epoch:number`.
    pub revision: String,
    /// Who made it; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub created_by: Option<String>,
    /// When it was made (RFC 3339).
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed (RFC 3339).
    #[schema(format = DateTime)]
    pub updated_at: String,
}

impl From<control::DnsProviderView> for DnsProviderView {
    fn from(view: control::DnsProviderView) -> Self {
        Self {
            id: view.id,
            kind: view.kind,
            settings: view.settings,
            credentials_set: view.secrets,
            nameservers: view.nameservers.iter().map(ToString::to_string).collect(),
            zones: view.zones,
            etag: view.etag.map(|tag| tag.as_str().to_owned()),
            revision: view.revision.to_string(),
            created_by: view.record.created_by.map(|name| name.to_string()),
            created_at: view.record.created_at.to_string(),
            updated_at: view.record.updated_at.to_string(),
        }
    }
}

/// Some DNS providers, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsProviderList {
    /// The providers.
    pub results: Vec<DnsProviderView>,
    /// What to give as `after` for the next page; null at the end.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// What a DNS provider is to be. Before it is kept, the provider is asked for its zones, which proves the credentials.
///
/// When one is replaced, credentials that are left out stay as they are, unless its kind changes; everything else has its default.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsProviderWrite {
    /// Its id; a new one without it gets one made of its kind. It can't change: in a PUT it is that of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::provider_id_or_null)]
    pub id: Option<String>,
    /// Its kind, one of `/api/dns/kinds`.
    #[schema(schema_with = schema::provider_kind)]
    pub kind: String,
    /// Its settings that are no secrets, by name. Credentials may stand here as well: the kind says which is which.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = schema::provider_settings_or_null)]
    pub settings: BTreeMap<String, String>,
    /// Its credentials, by name. They are sealed and never shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = schema::provider_credentials_or_null)]
    pub credentials: BTreeMap<String, String>,
    /// Which name servers to ask whether a value has arrived, `address:port`; empty: those that the zone names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = schema::nameservers_or_null)]
    pub nameservers: Vec<String>,
}

/// Nothing of the settings is shown: credentials may stand among them.
impl fmt::Debug for DnsProviderWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsProviderWrite").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The kinds of DNS providers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsKindList {
    /// The kinds.
    pub results: Vec<DnsKind>,
    /// Always null: there is one page.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// A kind of DNS provider and what its accounts need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsKind {
    /// Its name in requests.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// What the credentials must be allowed to do, and what else one should know.
    pub help: String,
    /// Its settings.
    pub fields: Vec<DnsField>,
}

/// A setting of a kind of DNS provider. All are text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsField {
    /// Its name in requests.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// Whether it is a credential: write-only, sealed.
    pub secret: bool,
    /// Whether it must be there.
    pub required: bool,
    /// What to write, where to get it, what holds without it.
    pub help: String,
}

impl From<&control::DnsKind> for DnsKind {
    fn from(kind: &control::DnsKind) -> Self {
        let field = |field: &control::DnsField| DnsField {
            name: field.name.to_owned(),
            title: field.title.to_owned(),
            secret: field.secret,
            required: field.required,
            help: field.help.to_owned(),
        };
        Self {
            id: kind.id.to_owned(),
            title: kind.title.to_owned(),
            help: kind.help.to_owned(),
            fields: kind.fields.iter().map(field).collect(),
        }
    }
}

/// A zone that a DNS provider has, as it last said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsDomain {
    /// Its name.
    pub name: String,
    /// The id of the provider.
    pub provider: String,
    /// What the provider calls it.
    pub zone_id: String,
    /// When it was first seen (RFC 3339).
    #[schema(format = DateTime)]
    pub seen_at: String,
}

impl From<control::Domain> for DnsDomain {
    fn from(control::Domain { name, provider, zone_id, seen_at }: control::Domain) -> Self {
        Self { name, provider, zone_id, seen_at: seen_at.to_string() }
    }
}

/// Some zones, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsDomainList {
    /// The zones.
    pub results: Vec<DnsDomain>,
    /// What to give as `after` for the next page; null at the end.
    #[schema(required = true)]
    pub next: Option<String>,
}
