//! The rules of a host as the API shows and takes them. These types are the description; the values are the model's.
#![expect(dead_code, reason = "they describe what the model reads and writes")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// What a host does with requests besides passing them to its upstreams. What is absent is not done.
#[derive(ToSchema)]
pub(crate) struct Rules {
    /// When there are any: only clients of these networks are let in. CIDR blocks, addresses, or `private_ranges`.
    #[schema(max_items = 100_000)]
    allow: Option<Vec<String>>,
    /// Clients of these networks are not let in, even if allowed.
    #[schema(max_items = 100_000)]
    deny: Option<Vec<String>>,
    /// Names and passwords without which nobody comes in.
    basic_auth: Option<BasicAuth>,
    /// The one name to which clients that ask for another one of this host are sent.
    canonical: Option<String>,
    /// `Strict-Transport-Security`.
    hsts: Option<Hsts>,
    /// Bounds of requests.
    limits: Option<Limits>,
    /// Closes the host: 503.
    maintenance: Option<Maintenance>,
    /// How often may be asked; each of them counts.
    rate_limit: Option<Vec<RateLimit>>,
    /// Sends every request elsewhere.
    redirect: Option<Redirect>,
    /// Changes to the fields of requests.
    request_headers: Option<HeaderChanges>,
    /// Changes to the fields of answers.
    response_headers: Option<HeaderChanges>,
    /// Whether answers that name an upstream name the public URL instead.
    #[schema(default = true)]
    rewrite_responses: Option<bool>,
    /// Paths that something else stands behind; the longest prefix wins.
    #[schema(max_items = 256)]
    routes: Option<Vec<PathRoute>>,
    /// Whether browsers are told to be strict: no sniffing, no frames elsewhere, short referrers.
    #[schema(default = false)]
    security_headers: Option<bool>,
    /// A directory in place of upstreams.
    r#static: Option<Directory>,
    /// Which version of HTTP the upstreams speak, those of routes included; `2` for gRPC. In clear the connection begins
    /// with it at once, over TLS it is agreed on by ALPN. WebSockets use HTTP/1.1 all the same.
    #[schema(default = "1")]
    upstream_http: Option<UpstreamHttp>,
}

/// A version of HTTP.
#[derive(ToSchema)]
pub(crate) enum UpstreamHttp {
    /// HTTP/1.1.
    #[schema(rename = "1")]
    One,
    /// HTTP/2.
    #[schema(rename = "2")]
    Two,
}

/// Names and passwords.
#[derive(ToSchema)]
pub(crate) struct BasicAuth {
    /// What clients show to whoever is asked.
    #[schema(default = "Restricted")]
    realm: Option<String>,
    /// Passwords by name: plain, or bcrypt hashes. Shown as `********`, which given back keeps the password.
    users: BTreeMap<String, String>,
}

/// `Strict-Transport-Security` (RFC 6797).
#[derive(ToSchema)]
pub(crate) struct Hsts {
    /// For how many seconds.
    #[schema(default = 31_536_000)]
    max_age: Option<u32>,
    /// Also for all names below.
    #[schema(default = false)]
    include_subdomains: Option<bool>,
    /// Consent to be built into browsers.
    #[schema(default = false)]
    preload: Option<bool>,
}

/// Bounds of requests; what is absent is not bounded.
#[derive(ToSchema)]
pub(crate) struct Limits {
    /// The largest body of a request, in bytes: beyond it 413.
    max_body: Option<u64>,
}

/// A host that is closed.
#[derive(ToSchema)]
pub(crate) struct Maintenance {
    /// When to come back, in seconds.
    retry_after: Option<u32>,
    /// Networks for whose clients it is open.
    except: Option<Vec<String>>,
}

/// How often may be asked.
#[derive(ToSchema)]
pub(crate) struct RateLimit {
    /// Its name in `RateLimit` fields.
    #[schema(default = "default", pattern = "^[a-z0-9_-]{1,40}$")]
    name: Option<String>,
    /// How many requests.
    #[schema(minimum = 1, maximum = 1_000_000)]
    requests: u32,
    /// In how many seconds.
    #[schema(minimum = 1, maximum = 86_400, default = 1)]
    per_seconds: Option<u32>,
    /// How many of them at once; as many as `requests` if not given.
    #[schema(minimum = 1, maximum = 1_000_000)]
    burst: Option<u32>,
    /// Counted by `client`, `host`, or a field: `header:x-api-key`.
    #[schema(default = "client", example = "header:x-api-key")]
    by: Option<String>,
}

/// Sends requests elsewhere.
#[derive(ToSchema)]
pub(crate) struct Redirect {
    /// An absolute URL.
    #[schema(example = "https://www.example.com")]
    to: String,
    /// 301, 302, 307 or 308.
    #[schema(default = 308)]
    status: Option<u16>,
    /// Whether path and query go along.
    #[schema(default = true)]
    keep_path: Option<bool>,
}

/// Changes to the fields of a message, done in this order.
#[derive(ToSchema)]
pub(crate) struct HeaderChanges {
    /// Fields that go.
    #[schema(max_items = 64)]
    remove: Option<Vec<String>>,
    /// Fields that get this value, whatever they had.
    set: Option<BTreeMap<String, String>>,
    /// Values beside those that are there.
    add: Option<BTreeMap<String, String>>,
}

/// What stands behind the paths under a prefix: `upstreams` or `static`.
#[derive(ToSchema)]
pub(crate) struct PathRoute {
    /// The prefix, whole segments.
    #[schema(example = "/api")]
    path: String,
    /// Where requests go: `address:port`.
    upstreams: Option<Vec<String>>,
    /// The directory that is served.
    r#static: Option<Directory>,
    /// Whether the prefix is taken off the path first.
    #[schema(default = false)]
    strip_prefix: Option<bool>,
}

/// A directory of the proxy's machine.
#[derive(ToSchema)]
pub(crate) struct Directory {
    /// Its absolute path, under one of the proxy's `STATIC_ROOTS`.
    #[schema(example = "/srv/www/shop")]
    root: String,
    /// The file that stands for a directory; null: none does.
    #[schema(default = "index.html")]
    index: Option<String>,
    /// The file that answers navigations to what is not there, for apps that route in the browser.
    #[schema(example = "index.html")]
    fallback: Option<String>,
    /// Whether compressed files beside the plain ones are used.
    #[schema(default = true)]
    precompressed: Option<bool>,
    /// Folders whose files never change under their names.
    immutable: Option<Vec<String>>,
}
