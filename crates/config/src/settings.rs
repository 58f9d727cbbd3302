//! The typed settings of each program, and which texts they are read from.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use model::{Allowed, Secret, Username};

use crate::acme::{self, AcmeCa, AcmeChallenge, AcmeKey};
use crate::reader::Reader;
use crate::table::Program;
use crate::values::{self, Listen, StoreUrl};

/// What every program has.
#[derive(Clone, Debug)]
pub struct Common {
    /// Which defaults hold.
    pub profile: Profile,
    /// Where shared state is kept.
    pub store: StoreUrl,
    /// A PEM file of authorities for a store over TLS.
    pub store_root_ca: Option<PathBuf>,
    /// What Redis keys begin with.
    pub key_prefix: String,
    /// What a program keeps for itself.
    pub state_dir: PathBuf,
    /// The process' name, if one was given.
    pub instance: Option<String>,
    /// Seals certificates' private keys.
    pub cert_key: Option<Secret<String>>,
    /// Whether secrets may stand unsealed where their key is missing.
    pub allow_plaintext_secrets: bool,
    /// How long requests under way get to finish at the end.
    pub drain_timeout: Duration,
    /// The lookup socket: served by the API, asked by the proxy; none: off.
    pub lookup_socket: Option<PathBuf>,
    /// Whether certificates and challenges are shared with programs of the older layout.
    pub legacy_keys: bool,
    /// Which diagnostics.
    pub log: String,
    /// How they look.
    pub log_format: LogFormat,
}

/// `PROFILE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For use.
    Production,
    /// For one's own machine.
    Development,
}

/// `LOG_FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object per line.
    Json,
    /// A readable line.
    Text,
}

/// `ACCESS_LOG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// A JSON object per request.
    Json,
    /// Apache's combined format.
    Combined,
    /// None.
    Off,
}

/// `UPSTREAM_EXCHANGE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Our own codec.
    Codec,
    /// hyper's client connection.
    Hyper,
}

/// The settings of the data plane.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// What every program has.
    pub common: Common,
    /// Where plain HTTP is served.
    pub http: Vec<Listen>,
    /// Where HTTPS is served.
    pub https: Vec<Listen>,
    /// The port in redirects, if not that of the first HTTPS listener.
    pub https_public_port: Option<NonZeroU16>,
    /// Where health and metrics are served.
    pub admin: Option<Listen>,
    /// Where the REST API is served on this machine, if that is known.
    pub api_listen: Option<Listen>,
    /// Threads that serve.
    pub workers: usize,
    /// Peers whose forwarded headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers that say whose a connection is.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Connections of one client at a time; 0: any number.
    pub max_connections_per_client: usize,
    /// What is in reach although it would not be.
    pub allow_upstreams: Vec<Allowed>,
    /// Whether a request without a trace begins one.
    pub begins_traces: bool,
    /// How many hosts have histograms of their own.
    pub metrics_host_histograms: usize,
    /// The directories under which shared state may name one to serve, absolute.
    pub static_roots: Vec<PathBuf>,
    /// The status for an unknown host, 400 to 599.
    pub unknown_host_status: u16,
    /// For a TLS handshake and for a request's head.
    pub header_timeout: Duration,
    /// For a connection without a request.
    pub idle_timeout: Duration,
    /// For reaching an upstream.
    pub connect_timeout: Duration,
    /// For an upstream that owes a byte; none: for ever.
    pub upstream_idle_timeout: Option<Duration>,
    /// Who speaks HTTP/1.1 to upstreams.
    pub upstream_exchange: Exchange,
    /// A PEM file of authorities for upstreams.
    pub upstream_root_ca: Option<PathBuf>,
    /// How long to serve on after readiness is withdrawn.
    pub lame_duck: Duration,
    /// The access log's format.
    pub access_log: AccessLogFormat,
    /// The access log's file; none: stdout.
    pub access_log_file: Option<PathBuf>,
}

/// The settings of the control plane.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// What every program has.
    pub common: Common,
    /// Where the API is served.
    pub listen: Listen,
    /// Upstreams that hosts may name although they are out of reach.
    pub allow_upstreams: Vec<Allowed>,
    /// Listeners of the administration that no host may lead to: known where there is one machine for all.
    pub own_listeners: Vec<Listen>,
    /// The first administrator.
    pub admin_user: Username,
    /// The first administrator's password; none: random.
    pub admin_password: Option<Secret<String>>,
    /// How many writes the history keeps.
    pub history_entries: usize,
    /// Seals what only the control plane may read.
    pub secret_key: Option<Secret<String>>,
    /// The id of the group that may connect to the lookup socket, besides the owner.
    pub lookup_socket_group: Option<u32>,
    /// The authorities that certificates are got from, in the order in which they are tried; none: from none.
    pub acme: Vec<AcmeCa>,
    /// The kind of key of those certificates.
    pub acme_key: AcmeKey,
    /// How names are proved, the best way first.
    pub acme_challenges: Vec<AcmeChallenge>,
    /// Who is asked for names when the DNS is checked; none: whom the system asks.
    pub dns_resolvers: Vec<SocketAddr>,
}

/// The settings of both planes in one process. Their `common` is the same.
#[derive(Clone, Debug)]
pub struct UpSettings {
    /// Those of the data plane.
    pub proxy: ProxySettings,
    /// Those of the control plane.
    pub api: ApiSettings,
}

pub(crate) fn proxy(read: &mut Reader<'_>) -> Option<ProxySettings> {
    let common = common(read);
    let settings = proxy_with(read, common);
    check_listeners(read);
    settings
}

pub(crate) fn api(read: &mut Reader<'_>) -> Option<ApiSettings> {
    let common = common(read);
    api_with(read, common)
}

pub(crate) fn up(read: &mut Reader<'_>) -> Option<UpSettings> {
    let common = common(read);
    let (proxy, api) = (proxy_with(read, common.clone()), api_with(read, common));
    check_listeners(read);
    let (proxy, mut api) = (proxy?, api?);
    api.own_listeners.extend(proxy.admin.clone());
    api.own_listeners.push(api.listen.clone());
    Some(UpSettings { proxy, api })
}

// In the functions below everything is read before the first `?`, so that every mistake is found.

fn common(read: &mut Reader<'_>) -> Option<Common> {
    let profiles = [("production", Profile::Production), ("development", Profile::Development)];
    let profile = read.word("PROFILE", &profiles);
    let store = read.value("STORE", values::store_url);
    let store_root_ca = read.path("STORE_ROOT_CA");
    let key_prefix = read.value("KEY_PREFIX", |text| Ok(text.to_owned()));
    let state_dir = read.value("STATE_DIR", |text| Ok(PathBuf::from(text)));
    let instance = read.optional("INSTANCE", values::instance);
    let cert_key = read.optional("CERT_KEY", key);
    let allow_plaintext_secrets = read.value("ALLOW_PLAINTEXT_SECRETS", values::boolean);
    let drain_timeout = read.value("DRAIN_TIMEOUT", values::duration);
    let lookup_socket = read.path("LOOKUP_SOCKET");
    let legacy_keys = legacy_keys(read, store.as_ref());
    let log = read.value("LOG", values::log);
    let log_format =
        read.word("LOG_FORMAT", &[("json", LogFormat::Json), ("text", LogFormat::Text)]);
    Some(Common {
        profile: profile?,
        store: store?,
        store_root_ca,
        key_prefix: key_prefix?,
        state_dir: state_dir?,
        instance,
        cert_key,
        allow_plaintext_secrets: allow_plaintext_secrets?,
        drain_timeout: drain_timeout?,
        lookup_socket,
        legacy_keys: legacy_keys?,
        log: log?,
        log_format: log_format?,
    })
}

/// The older layout's keys have no prefix, so a cluster keeps them on other nodes than the records they go with.
fn legacy_keys(read: &mut Reader<'_>, store: Option<&StoreUrl>) -> Option<bool> {
    let wanted = read.value("LEGACY_KEYS", values::boolean)?;
    match store {
        Some(StoreUrl::Redis(url)) if !values::is_cluster(url.expose()) => Some(wanted),
        Some(StoreUrl::Redis(_)) if wanted && !read.is_default("LEGACY_KEYS") => {
            read.wrong("LEGACY_KEYS", "can't be true on a cluster");
            None
        }
        _ => Some(false),
    }
}

fn proxy_with(read: &mut Reader<'_>, common: Option<Common>) -> Option<ProxySettings> {
    let http = read.list("HTTP_LISTEN", values::listen);
    let https = read.list("HTTPS_LISTEN", values::listen);
    let https_public_port = read.optional("HTTPS_PUBLIC_PORT", values::port);
    let admin = read.optional("PROXY_ADMIN_LISTEN", values::listen);
    // By default an API on this machine is no more likely than an app in its place.
    let api_listen = read.optional("API_LISTEN", values::listen);
    let api_listen = match read.program {
        Program::Up => api_listen,
        _ => api_listen.filter(|_| !read.is_default("API_LISTEN")),
    };
    let workers = read.value("WORKERS", values::workers);
    let trusted_proxies = read.list("TRUSTED_PROXIES", values::networks);
    let proxy_protocol_from = read.list("PROXY_PROTOCOL_FROM", values::networks);
    let max_connections_per_client = read.value("MAX_CONNECTIONS_PER_CLIENT", values::connections);
    let allow_upstreams = read.list("ALLOW_UPSTREAMS", values::allowed);
    let begins_traces = read.word("TRACE_CONTEXT", &[("pass", false), ("generate", true)]);
    let metrics_host_histograms = read.value("METRICS_HOST_HISTOGRAMS", values::graphs);
    let static_roots = read.list("STATIC_ROOTS", values::absolute);
    let unknown_host_status = read.value("UNKNOWN_HOST_STATUS", values::error_status);
    let header_timeout = read.value("HEADER_TIMEOUT", values::positive_duration);
    let idle_timeout = read.value("IDLE_TIMEOUT", values::positive_duration);
    let connect_timeout = read.value("CONNECT_TIMEOUT", values::positive_duration);
    let upstream_idle_timeout = read.value("UPSTREAM_IDLE_TIMEOUT", values::duration);
    let exchanges = [("codec", Exchange::Codec), ("hyper", Exchange::Hyper)];
    let upstream_exchange = read.word("UPSTREAM_EXCHANGE", &exchanges);
    let upstream_root_ca = read.path("UPSTREAM_ROOT_CA");
    let lame_duck = read.value("LAME_DUCK", values::duration);
    let formats = [
        ("json", AccessLogFormat::Json),
        ("combined", AccessLogFormat::Combined),
        ("off", AccessLogFormat::Off),
    ];
    let access_log = read.word("ACCESS_LOG", &formats);
    let access_log_file = read.path("ACCESS_LOG_FILE");
    Some(ProxySettings {
        common: common?,
        http,
        https,
        https_public_port,
        admin,
        api_listen,
        workers: workers?,
        trusted_proxies: trusted_proxies.into_iter().flatten().collect(),
        proxy_protocol_from: proxy_protocol_from.into_iter().flatten().collect(),
        max_connections_per_client: max_connections_per_client?,
        allow_upstreams: allow_upstreams.into_iter().flatten().collect(),
        begins_traces: begins_traces?,
        metrics_host_histograms: metrics_host_histograms?,
        static_roots,
        unknown_host_status: unknown_host_status?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        connect_timeout: connect_timeout?,
        upstream_idle_timeout: Some(upstream_idle_timeout?).filter(|limit| !limit.is_zero()),
        upstream_exchange: upstream_exchange?,
        upstream_root_ca,
        lame_duck: lame_duck?,
        access_log: access_log?,
        access_log_file,
    })
}

fn api_with(read: &mut Reader<'_>, common: Option<Common>) -> Option<ApiSettings> {
    let listen = read.value("API_LISTEN", values::listen);
    let allow_upstreams = read.list("ALLOW_UPSTREAMS", values::allowed);
    let admin_user =
        read.value("ADMIN_USER", |text| text.parse::<Username>().map_err(|_| {
            "can't be a user name: 1 to 64 of a-z 0-9 . _ - @, starting with a letter or a digit".to_owned()
        }));
    let admin_password = read.secret("ADMIN_PASSWORD");
    let history_entries = read.value("HISTORY_ENTRIES", values::entries);
    let secret_key = read.optional("SECRET_KEY", key);
    let lookup_socket_group = read.optional("LOOKUP_SOCKET_GROUP", values::group);
    let acme = acme::authorities(read);
    let keys = [("ecdsa", AcmeKey::Ecdsa), ("rsa", AcmeKey::Rsa)];
    let acme_key = read.word("ACME_KEY", &keys);
    let acme_challenges = read.list("ACME_CHALLENGES", values::challenge);
    let dns_resolvers = read.list("DNS_RESOLVERS", values::resolver);
    let shared = common.as_ref().is_some_and(|common| matches!(common.store, StoreUrl::Redis(_)));
    let (given, _) = read.text("SECRET_KEY");
    let (plaintext, _) = read.text("ALLOW_PLAINTEXT_SECRETS");
    if shared && read.program != Program::Up && given.is_empty() && plaintext != "true" {
        read.wrong("SECRET_KEY", "is required with Redis, unless ALLOW_PLAINTEXT_SECRETS is true");
    }
    Some(ApiSettings {
        common: common?,
        listen: listen?,
        own_listeners: Vec::new(),
        allow_upstreams: allow_upstreams.into_iter().flatten().collect(),
        admin_user: admin_user?,
        admin_password,
        history_entries: history_entries?,
        secret_key,
        lookup_socket_group,
        acme: acme?,
        acme_key: acme_key?,
        acme_challenges,
        dns_resolvers,
    })
}

fn key(text: &str) -> Result<Secret<String>, String> {
    match text.len() {
        0..16 => Err("is shorter than 16 bytes".to_owned()),
        _ => Ok(Secret::new(text.to_owned())),
    }
}

/// Two listeners on one address would both bind, since each worker binds for itself, and share its connections at
/// random.
fn check_listeners(read: &mut Reader<'_>) {
    let mut seen = BTreeSet::new();
    let names = ["HTTP_LISTEN", "HTTPS_LISTEN", "PROXY_ADMIN_LISTEN", "API_LISTEN"];
    let names = &names[..if read.program == Program::Up { 4 } else { 3 }];
    for name in names {
        let (text, _) = read.text(name);
        for listen in text.split(',').filter_map(|item| values::listen(item.trim()).ok()) {
            let ephemeral = matches!(listen, Listen::Address(address) if address.port() == 0);
            if !ephemeral && !seen.insert(listen.clone()) {
                read.wrong(name, &format!("listens on {listen} a second time"));
            }
        }
    }
    if read.text("HTTP_LISTEN").0.trim().is_empty() && read.text("HTTPS_LISTEN").0.trim().is_empty()
    {
        read.wrong("HTTP_LISTEN", "is empty like HTTPS_LISTEN: there is nothing to serve");
    }
}
