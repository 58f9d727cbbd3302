//! The rules of a host as the API shows and takes them. These types are the description; the values are the model's.
#![expect(dead_code, reason = "they describe what the model reads and writes")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::schema;

/// What a host does with requests besides passing them to its upstreams. What is absent is not done.
#[derive(ToSchema)]
pub(crate) struct Rules {
    /// When there are any: only clients of these networks are let in. CIDR blocks, addresses, or `private_ranges`.
    #[schema(max_items = 100_000)]
    allow: Option<Vec<Network>>,
    /// Clients of these networks are not let in, even if allowed.
    #[schema(max_items = 100_000)]
    deny: Option<Vec<Network>>,
    /// How requests are shared out among the upstreams of the host, and of each of its routes.
    balance: Option<Balance>,
    /// Names and passwords without which nobody comes in.
    basic_auth: Option<BasicAuth>,
    /// When an upstream that keeps failing is not asked any more, but for a probe now and then: 503.
    breaker: Option<Breaker>,
    /// The one name to which clients that ask for another one of this host are sent.
    #[schema(schema_with = schema::name_or_null)]
    canonical: Option<String>,
    /// How the health of upstreams is judged.
    health: Option<Health>,
    /// Whether answers that came uncompressed are compressed for clients that take that: text in the widest sense, of 1 KiB
    /// or more.
    #[schema(default = false)]
    compress: Option<bool>,
    /// Pages in the place of the gateway's own for what goes wrong, for clients that read HTML.
    error_pages: Option<ErrorPages>,
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
    /// How upstreams are told whose a connection is, before anything else is sent: by the PROXY protocol. Such a connection
    /// serves one request.
    #[schema(schema_with = schema::proxy_protocol_or_null)]
    upstream_proxy_protocol: Option<model::ProxyProtocol>,
    /// Which version of HTTP the upstreams speak, those of routes included; `2` for gRPC. In clear the connection begins
    /// with it at once, over TLS it is agreed on by ALPN. WebSockets use HTTP/1.1 all the same.
    #[schema(default = "1")]
    upstream_http: Option<UpstreamHttp>,
}

/// Pages for what goes wrong.
#[derive(ToSchema)]
pub(crate) struct ErrorPages {
    /// HTML by the status that it is for: `404`, or `5xx` for all without a page of their own. `{status}`, `{reason}`,
    /// `{request_id}` and `{host}` in it are replaced. At most 64 KiB each and 128 KiB together.
    #[schema(example = json!({"404": "<h1>Nothing here</h1>", "5xx": "<h1>{status} {reason}</h1><p>{request_id}</p>"}))]
    pages: BTreeMap<String, String>,
    /// Whether they also take the place of an app's own answers that are errors, unless these have data (JSON and the like).
    #[schema(default = false)]
    intercept: Option<bool>,
}

/// How requests are shared out.
#[derive(ToSchema)]
pub(crate) struct Balance {
    /// Who is next: one after the other (`round_robin`), the one with the fewest requests in flight (`least_requests`), the
    /// better of two at random (`random_two`), always the same for a client's address (`client_hash`) or for a browser
    /// (`cookie`).
    #[schema(default = "round_robin")]
    policy: Option<Policy>,
    /// Shares by upstream, `{"127.0.0.1:9000": 3}`, 1 to 256; 1 for one that is not named.
    weights: Option<BTreeMap<String, u16>>,
    /// Those of the upstreams that get requests only when none of the others is usable.
    #[schema(max_items = 64)]
    backup: Option<Vec<String>>,
    /// The name of the cookie, for the policy `cookie` alone; `gw_upstream` if not given.
    #[schema(pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")]
    cookie: Option<String>,
}

/// A way to share out requests.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Policy {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastRequests,
    /// The better of two at random.
    RandomTwo,
    /// Always the same for a client's address.
    ClientHash,
    /// Always the same for a browser.
    Cookie,
}

/// A length of time: `500ms`, `15s`, `2m` or `1h`. What it is for says how long it may be.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9]{1,8}(ms|s|m|h)$")]
pub(crate) struct Span(String);

/// A CIDR block, an address, or `private_ranges`.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?$|^private_ranges$", example = "10.0.0.0/8")]
pub(crate) struct Network(String);

/// A status from 200 to 599, or all from one to another: `204`, `200-399`.
#[derive(ToSchema)]
#[schema(pattern = "^[2-5][0-9]{2}(-[2-5][0-9]{2})?$", example = "200-399")]
pub(crate) struct Statuses(String);

/// How the health of upstreams is judged. Lengths of time are written as `500ms`, `15s` or `2m`.
#[derive(ToSchema)]
pub(crate) struct Health {
    /// What each upstream is asked for regularly; without it, it is judged by what becomes of requests alone.
    #[schema(
        example = "/up",
        pattern = "^/[A-Za-z0-9/_.~%!$&'()*+,;:@=-]*(\\?[A-Za-z0-9/_.~%!$&'()*+,;:@=?-]*)?$"
    )]
    path: Option<String>,
    /// How often it is asked; twice a second until its first good answer, for 15 s at most.
    #[schema(default = "15s")]
    interval: Option<Span>,
    /// How long it may take to answer that.
    #[schema(default = "2s")]
    timeout: Option<Span>,
    /// The statuses that are good: `200-399`, `204`.
    #[schema(default = json!(["200-499"]), min_items = 1)]
    expect: Option<Vec<Statuses>>,
    /// After how many good answers in a row it is used again.
    #[schema(default = 2, minimum = 1)]
    healthy_after: Option<u32>,
    /// After how many bad ones in a row it is not.
    #[schema(default = 3, minimum = 1)]
    unhealthy_after: Option<u32>,
    /// After how many failed requests in a row it is left out for a while; one that can't be connected to is at once.
    #[schema(default = 3, minimum = 1)]
    failures: Option<u32>,
    /// For how long, the first time; twice as long each further time.
    #[schema(default = "1s")]
    eject_for: Option<Span>,
    /// For how long at most.
    #[schema(default = "1m")]
    eject_at_most: Option<Span>,
    /// Whether its answers 502, 503 and 504 count as failures.
    #[schema(default = false)]
    gateway_errors: Option<bool>,
}

/// When an upstream that keeps failing is not asked any more.
#[derive(ToSchema)]
pub(crate) struct Breaker {
    /// After how many failed requests in a row it opens.
    #[schema(default = 5, minimum = 1)]
    failures: Option<u32>,
    /// How long it stays open before one request probes: `500ms`, `10s`, `2m`.
    #[schema(default = "10s")]
    open_for: Option<Span>,
    /// After how many good probes in a row it closes.
    #[schema(default = 2, minimum = 1)]
    successes: Option<u32>,
    /// Whether answers 502, 503 and 504 count as failures.
    #[schema(default = false)]
    gateway_errors: Option<bool>,
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
    /// The most requests in flight at each upstream, WebSockets included; counted by each proxy for itself.
    #[schema(minimum = 1)]
    max_connections: Option<u32>,
    /// The most requests that wait until an upstream has room; beyond it 503. 100 if not given.
    max_pending: Option<u32>,
    /// How long they wait before they get 503: `500ms`, `5s`. 5 s if not given.
    #[schema(example = "5s")]
    pending_timeout: Option<Span>,
}

/// A host that is closed.
#[derive(ToSchema)]
pub(crate) struct Maintenance {
    /// When to come back, in seconds.
    retry_after: Option<u32>,
    /// Networks for whose clients it is open.
    except: Option<Vec<Network>>,
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
    #[schema(
        default = "client",
        example = "header:x-api-key",
        pattern = "^(client|host|header:[A-Za-z0-9!#$%&'*+.^_`|~-]+)$"
    )]
    by: Option<String>,
}

/// Sends requests elsewhere.
#[derive(ToSchema)]
pub(crate) struct Redirect {
    /// An absolute URL.
    #[schema(example = "https://www.example.com", pattern = "^[Hh][Tt][Tt][Pp][Ss]?://")]
    to: String,
    /// 301, 302, 307 or 308.
    #[schema(schema_with = schema::redirect_status_or_null)]
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
    #[schema(example = "/api", pattern = "^/")]
    path: String,
    /// Where requests go: `address:port`.
    #[schema(schema_with = schema::upstreams_or_null)]
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
    /// Its absolute path, such as `/srv/www/shop`, under one of the proxy's `STATIC_ROOTS`.
    #[schema(pattern = "^/")]
    root: String,
    /// The file that stands for a directory; empty: none does.
    #[schema(default = "index.html")]
    index: Option<String>,
    /// The file that answers navigations to what is not there, for apps that route in the browser; often `index.html`.
    fallback: Option<String>,
    /// Whether compressed files beside the plain ones are used.
    #[schema(default = true)]
    precompressed: Option<bool>,
    /// Folders whose files never change under their names.
    immutable: Option<Vec<String>>,
}
