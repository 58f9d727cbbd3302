use model::{CertStatus, CertificateMode, UpstreamTls};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::rules::Rules;
use super::schema;

/// A host as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostView {
    /// The pattern: a name, of which any label may be `*` (one label) or `**` (one or more).
    #[schema(example = "*.example.com")]
    pub host: String,
    /// Where requests go, in turn: `address:port`.
    #[schema(example = json!(["127.0.0.1:9000", "[::1]:9000", "app:80"]))]
    pub upstreams: Vec<String>,
    /// How upstreams are spoken to.
    #[schema(schema_with = schema::upstream_tls)]
    pub upstream_tls: UpstreamTls,
    /// Whether the upstream sees the public name in `Host`; else its own.
    pub preserve_host: bool,
    /// Whether plain HTTP answers a redirect to HTTPS.
    pub force_https: bool,
    /// How it comes by a certificate.
    #[schema(schema_with = schema::certificate_mode)]
    pub certificate: CertificateMode,
    /// Whether it takes part in lookup.
    pub enabled: bool,
    /// What it does with requests besides; what is not there is not done.
    #[serde(flatten)]
    #[schema(value_type = Rules)]
    pub rules: Map<String, Value>,
    /// The entity tag for `If-Match`, without quotes; absent after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub etag: Option<String>,
    /// Everything up to this revision of the store is included in this answer: `epoch:number`.
    pub revision: String,
    /// Who made it; absent when another program did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub created_by: Option<String>,
    /// When it was made (RFC 3339).
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed (RFC 3339).
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// How it stands with its certificate.
    #[schema(schema_with = schema::certificate_status)]
    pub certificate_status: CertStatus,
}

impl From<control::HostView> for HostView {
    fn from(view: control::HostView) -> Self {
        let control::HostView { host, etag, revision, certificate_status } = view;
        Self {
            rules: shown(&host),
            host: host.pattern.to_string(),
            upstreams: host.upstreams.iter().map(ToString::to_string).collect(),
            upstream_tls: host.upstream_tls,
            preserve_host: host.preserve_host,
            force_https: host.force_https,
            certificate: host.certificate,
            enabled: host.enabled,
            etag: etag.map(|tag| tag.as_str().to_owned()),
            revision: revision.to_string(),
            created_by: host.created_by.map(|name| name.to_string()),
            created_at: host.created_at.to_string(),
            updated_at: host.updated_at.to_string(),
            certificate_status,
        }
    }
}

/// The rules of a host without its passwords.
fn shown(host: &model::Host) -> Map<String, Value> {
    let mut rules = host.rules().clone();
    if let Some(basic) = &mut rules.basic_auth {
        basic.users.values_mut().for_each(|hash| control::KEPT_PASSWORD.clone_into(hash));
    }
    match serde_json::to_value(&rules) {
        Ok(Value::Object(members)) => members,
        // Plain data: JSON can say it.
        _ => Map::new(),
    }
}

/// A host to make. What is absent or null has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostCreate {
    /// The pattern: a name, of which any label may be `*` (one label) or `**` (one or more).
    #[schema(schema_with = schema::host_pattern)]
    pub host: String,
    /// Where requests go, in turn: `address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::upstreams_or_null)]
    pub upstreams: Option<Vec<String>>,
    /// How upstreams are spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::upstream_tls_or_null)]
    pub upstream_tls: Option<UpstreamTls>,
    /// Whether the upstream sees the public name in `Host`; else its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(default = true)]
    pub preserve_host: Option<bool>,
    /// Whether plain HTTP answers a redirect to HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(default = true)]
    pub force_https: Option<bool>,
    /// How it comes by a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::certificate_mode_or_null)]
    pub certificate: Option<CertificateMode>,
    /// Whether it takes part in lookup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(default = true)]
    pub enabled: Option<bool>,
    /// What it does with requests besides. In a PATCH each member is merged (RFC 7396).
    #[serde(flatten)]
    #[schema(value_type = Rules)]
    pub rules: Map<String, Value>,
}

/// What to change of a host. In a PUT what is absent or null has its default; in a PATCH (RFC 7396) what is absent
/// stays and what is null goes back to its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostChange {
    /// The pattern, which can't change: when given it is that of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::host_pattern_or_null)]
    pub host: Option<String>,
    /// Where requests go, in turn: `address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::upstreams_or_null)]
    pub upstreams: Option<Vec<String>>,
    /// How upstreams are spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::upstream_tls_or_null)]
    pub upstream_tls: Option<UpstreamTls>,
    /// Whether the upstream sees the public name in `Host`; else its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_host: Option<bool>,
    /// Whether plain HTTP answers a redirect to HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_https: Option<bool>,
    /// How it comes by a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::certificate_mode_or_null)]
    pub certificate: Option<CertificateMode>,
    /// Whether it takes part in lookup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What it does with requests besides. In a PATCH each member is merged (RFC 7396).
    #[serde(flatten)]
    #[schema(value_type = Rules)]
    pub rules: Map<String, Value>,
}

/// Some hosts, in the order of their patterns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostList {
    /// The hosts.
    pub results: Vec<HostView>,
    /// What to give as `after` for the next page; null at the end.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// The answer to a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// What was deleted: the pattern of a host, the name of an account or a certificate, the id of a provider.
    pub deleted: String,
    /// The revision of the store without it; after a dry run the one it was tried on.
    pub revision: String,
}

/// Which host a name leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LookupAnswer {
    /// The name as it is compared: lower case, A-labels, no port, no trailing dot.
    pub name: String,
    /// The pattern of the host that gets its requests; null when there is none.
    #[serde(rename = "match")]
    #[schema(required = true)]
    pub matched: Option<String>,
    /// Every pattern that matches, the best first.
    pub candidates: Vec<LookupCandidate>,
}

/// A pattern that matches a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LookupCandidate {
    /// The pattern.
    pub pattern: String,
    /// Why it won or lost, for people.
    pub why: String,
}

/// What would become of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainAnswer {
    /// The name as it is compared.
    pub name: String,
    /// The pattern of the host that gets it; null when there is none.
    #[serde(rename = "match")]
    #[schema(required = true)]
    pub matched: Option<String>,
    /// Every pattern that matches, the best first.
    pub candidates: Vec<LookupCandidate>,
    /// Each gate on its way, and how it came out.
    pub steps: Vec<ExplainStep>,
    /// What it comes to, in a sentence.
    pub outcome: String,
    /// The status that the gateway itself answers with; null when the request goes on.
    #[schema(required = true)]
    pub status: Option<u16>,
    /// Where a redirect leads; null when it is none.
    #[schema(required = true)]
    pub location: Option<String>,
    /// The prefix of the route that it takes, `/` for the default; null when it does not come so far.
    #[schema(required = true)]
    pub route: Option<String>,
    /// The path that is asked for there.
    #[schema(required = true)]
    pub path: Option<String>,
    /// The upstreams that it goes to one of.
    pub upstreams: Vec<String>,
    /// The directory that it goes to.
    #[schema(required = true)]
    pub directory: Option<String>,
}

/// A gate on a request's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainStep {
    /// Which.
    pub gate: String,
    /// Whether the request went on.
    pub passed: bool,
    /// Why.
    pub why: String,
}

impl From<control::Explanation> for ExplainAnswer {
    fn from(it: control::Explanation) -> Self {
        let candidate = |control::Candidate { pattern, why }| LookupCandidate { pattern, why };
        let step = |step: control::Step| ExplainStep {
            gate: step.gate.to_string(),
            passed: step.passed,
            why: step.why,
        };
        let control::Explained {
            steps,
            outcome,
            status,
            location,
            route,
            path,
            upstreams,
            directory,
        } = it.explained;
        Self {
            name: it.name,
            matched: it.matched,
            candidates: it.candidates.into_iter().map(candidate).collect(),
            steps: steps.into_iter().map(step).collect(),
            outcome,
            status,
            location,
            route,
            path,
            upstreams,
            directory,
        }
    }
}

impl From<control::Lookup> for LookupAnswer {
    fn from(control::Lookup { name, matched, candidates }: control::Lookup) -> Self {
        let one = |control::Candidate { pattern, why }| LookupCandidate { pattern, why };
        Self {
            name: name.to_string(),
            matched,
            candidates: candidates.into_iter().map(one).collect(),
        }
    }
}
