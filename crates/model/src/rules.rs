use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BalanceRules, BreakerRules, HealthRules, Span, Upstream, UpstreamHttp};

/// What a host does with requests besides passing them to its upstreams in turn. Every part has a default that does
/// nothing, but for [`HostRules::rewrite_responses`].
///
/// The serialised form is that of the API and of the store. Texts that have a grammar of their own (networks, paths, durations)
/// are kept as they were given; `policy` compiles them, and says what is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostRules {
    /// The one name to which clients that ask for another are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical: Option<String>,
    /// Paths that something else stands behind; the longest prefix wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<PathRoute>,
    /// A directory in place of upstreams.
    #[serde(rename = "static", skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryRules>,
    /// Sends every request elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<RedirectRules>,
    /// Closes the host for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceRules>,
    /// When there are any: only clients of these networks are let in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Clients of these networks are not let in, even if allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// How often may be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rate_limit: Vec<RateRules>,
    /// Who may come in, by name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuthRules>,
    /// Bounds of requests.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: LimitRules,
    /// Whether answers that name an upstream name the public URL instead.
    #[serde(skip_serializing_if = "is_true")]
    pub rewrite_responses: bool,
    /// Changes to the fields of requests.
    #[serde(skip_serializing_if = "is_default")]
    pub request_headers: HeaderRules,
    /// Changes to the fields of answers.
    #[serde(skip_serializing_if = "is_default")]
    pub response_headers: HeaderRules,
    /// Has browsers use HTTPS from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<HstsRules>,
    /// Whether browsers are told to be strict: no sniffing, no frames elsewhere, short referrers.
    #[serde(skip_serializing_if = "is_default")]
    pub security_headers: bool,
    /// How requests are shared out among upstreams.
    #[serde(skip_serializing_if = "is_default")]
    pub balance: BalanceRules,
    /// How the health of upstreams is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthRules>,
    /// When an upstream that keeps failing is not asked any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerRules>,
    /// Whether answers that came uncompressed are compressed for clients that take that.
    #[serde(skip_serializing_if = "is_default")]
    pub compress: bool,
    /// Pages in the place of ours for what goes wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_pages: Option<ErrorPageRules>,
    /// How upstreams are told whose a connection is, before anything else is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_proxy_protocol: Option<ProxyProtocol>,
    /// Which version of HTTP the upstreams speak, those of routes included.
    #[serde(skip_serializing_if = "is_default")]
    pub upstream_http: UpstreamHttp,
}

impl Default for HostRules {
    fn default() -> Self {
        Self {
            canonical: None,
            routes: Vec::new(),
            directory: None,
            redirect: None,
            maintenance: None,
            allow: Vec::new(),
            deny: Vec::new(),
            rate_limit: Vec::new(),
            basic_auth: None,
            limits: LimitRules::default(),
            rewrite_responses: true,
            request_headers: HeaderRules::default(),
            response_headers: HeaderRules::default(),
            hsts: None,
            security_headers: false,
            balance: BalanceRules::default(),
            health: None,
            breaker: None,
            compress: false,
            error_pages: None,
            upstream_proxy_protocol: None,
            upstream_http: UpstreamHttp::default(),
        }
    }
}

/// What stands behind the paths under a prefix: upstreams or a directory, one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathRoute {
    /// The prefix, whole segments: `/api`.
    pub path: String,
    /// Where requests go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
    /// The directory that is served.
    #[serde(rename = "static", skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryRules>,
    /// Whether the prefix is taken off the path first.
    #[serde(skip_serializing_if = "is_default")]
    pub strip_prefix: bool,
}

/// A directory that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectoryRules {
    /// Its absolute path on the machine of the proxy, under one of that machine's `STATIC_ROOTS`.
    pub root: String,
    /// The file that stands for a directory; empty: none does.
    pub index: String,
    /// The file that answers navigations to what is not there, for apps that route in the browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Whether compressed files beside the plain ones are used.
    pub precompressed: bool,
    /// Folders whose files never change under their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub immutable: Vec<String>,
}

impl Default for DirectoryRules {
    fn default() -> Self {
        Self {
            root: String::new(),
            index: "index.html".to_owned(),
            fallback: None,
            precompressed: true,
            immutable: Vec::new(),
        }
    }
}

/// Sends requests elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedirectRules {
    /// An absolute URL: `https://www.example.com`.
    pub to: String,
    /// 301, 302, 307 or 308.
    pub status: u16,
    /// Whether path and query go along.
    pub keep_path: bool,
}

impl Default for RedirectRules {
    fn default() -> Self {
        Self { to: String::new(), status: 308, keep_path: true }
    }
}

/// A host that is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaintenanceRules {
    /// When to come back, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
    /// Networks for whose clients it is open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// How often may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateRules {
    /// Its name in `RateLimit` fields.
    pub name: String,
    /// How many requests.
    pub requests: u32,
    /// In how many seconds.
    pub per_seconds: u32,
    /// How many of them at once; as many as `requests` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Counted by `client`, `host`, or a field: `header:x-api-key`.
    pub by: String,
}

impl Default for RateRules {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            requests: 0,
            per_seconds: 1,
            burst: None,
            by: "client".to_owned(),
        }
    }
}

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuthRules {
    /// What the client shows to whoever is asked for the password.
    pub realm: String,
    /// Names with bcrypt hashes.
    pub users: BTreeMap<String, String>,
}

impl Default for BasicAuthRules {
    fn default() -> Self {
        Self { realm: "Restricted".to_owned(), users: BTreeMap::new() }
    }
}

/// Bounds of requests; what is not given is not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitRules {
    /// The largest body of a request, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// The most requests in flight at each upstream, counted by each proxy for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// The most requests that wait until an upstream has room; 100 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pending: Option<u32>,
    /// How long they wait; 5 s if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_timeout: Option<Span>,
}

/// Pages for what goes wrong, for clients that read HTML.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorPageRules {
    /// HTML by the status that it is for: `404`, or `5xx` for all that have no page of their own.
    pub pages: BTreeMap<String, String>,
    /// Whether they also take the place of an app's own answers that are errors, but for those with data in them.
    #[serde(skip_serializing_if = "is_default")]
    pub intercept: bool,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Changes to the fields of a message, done in this order: removed, set, added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderRules {
    /// Fields that go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields that get this value, whatever they had.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Values beside those that are there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
}

/// `Strict-Transport-Security` (RFC 6797).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HstsRules {
    /// For how many seconds.
    pub max_age: u32,
    /// Also for all names below.
    pub include_subdomains: bool,
    /// Consent to be built into browsers.
    pub preload: bool,
}

impl Default for HstsRules {
    fn default() -> Self {
        Self { max_age: 31_536_000, include_subdomains: false, preload: false }
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_true(value: &bool) -> bool {
    *value
}
