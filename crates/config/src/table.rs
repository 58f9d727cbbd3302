//! The one list of settings.

/// Where lookups are served unless told otherwise. Nobody asked for it there, so a control plane that can't make it goes on.
pub const LOOKUP_SOCKET: &str = "/run/gatewright/lookup.sock";

/// A program that reads settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `gatewright-proxy`.
    Proxy,
    /// `gatewright-api`.
    Api,
    /// `gatewright up`, which reads the settings of both.
    Up,
}

impl Program {
    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "gatewright-proxy",
            Self::Api => "gatewright-api",
            Self::Up => "gatewright up",
        }
    }
}

/// A setting, as declared.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `HTTP_LISTEN`, of which flag, variable and key are made.
    pub name: &'static str,
    /// What a value looks like, for the help.
    pub value: &'static str,
    /// The programs besides `up` that read it.
    pub programs: &'static [Program],
    /// What holds when it isn't given.
    pub default: Default,
    /// Whether it must not be shown and may come from a file of its own.
    pub secret: bool,
    /// One or two sentences.
    pub doc: &'static str,
}

/// What holds when a setting isn't given. An empty text means that it stays unset.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// The same everywhere.
    Same(&'static str),
    /// By program.
    Shape {
        /// For the services.
        services: &'static str,
        /// For `gatewright up`.
        up: &'static str,
    },
    /// By the setting `PROFILE`.
    Profile {
        /// For `production`.
        production: &'static str,
        /// For `development`.
        development: &'static str,
    },
}

impl Setting {
    /// The flag, without its dashes: `http-listen`.
    pub fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    /// The key in the file: `http_listen`.
    pub fn key(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// The variable: `GATEWRIGHT_HTTP_LISTEN`.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// What holds when it isn't given; that of a profile needs to know which.
    pub(crate) fn default_for(&self, program: Program, development: bool) -> &'static str {
        match self.default {
            Default::Same(text) => text,
            Default::Shape { up, .. } if program == Program::Up => up,
            Default::Shape { services, .. } => services,
            Default::Profile { development: text, .. } if development => text,
            Default::Profile { production, .. } => production,
        }
    }

    /// Whether a program reads it.
    pub fn concerns(&self, program: Program) -> bool {
        program == Program::Up || self.programs.contains(&program)
    }
}

/// What the names of our variables begin with.
pub(crate) const PREFIX: &str = "GATEWRIGHT_";

/// Variables of ours that are no settings: the file's name and what the command line client reads.
pub(crate) const OTHER_VARIABLES: [&str; 4] =
    ["GATEWRIGHT_API", "GATEWRIGHT_CONFIG", "GATEWRIGHT_PASSWORD", "GATEWRIGHT_TOKEN"];

const PROXY: &[Program] = &[Program::Proxy];
const API: &[Program] = &[Program::Api];
const BOTH: &[Program] = &[Program::Proxy, Program::Api];

const fn setting(
    name: &'static str,
    value: &'static str,
    programs: &'static [Program],
    default: Default,
    doc: &'static str,
) -> Setting {
    Setting { name, value, programs, default, secret: false, doc }
}

const fn secret(
    name: &'static str,
    programs: &'static [Program],
    default: Default,
    doc: &'static str,
) -> Setting {
    Setting { name, value: "TEXT", programs, default, secret: true, doc }
}

use self::Default::{Profile, Same, Shape};

/// Every setting, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    setting(
        "PROFILE",
        "production|development",
        BOTH,
        Shape { services: "production", up: "development" },
        "Chooses between defaults that differ while developing; those show both in their line.",
    ),
    setting(
        "STORE",
        "URL",
        BOTH,
        Shape { services: "redis://127.0.0.1:6379", up: "embedded:./gatewright-data" },
        "Where shared state is kept. redis://, rediss:// (TLS), redis-sentinel://host:port?sentinelServiceName=name, \
         redis-cluster://host:port?node=host:port, redis+unix://path, or embedded:directory, which serves one process.",
    ),
    setting(
        "STORE_ROOT_CA",
        "FILE",
        BOTH,
        Same(""),
        "Certificates (PEM) of authorities that the certificate of a store over TLS (rediss://) is checked against, \
         besides the system's.",
    ),
    setting(
        "KEY_PREFIX",
        "TEXT",
        BOTH,
        Same("proxy_"),
        "What every Redis key of ours begins with. On a cluster it must keep all keys in one slot: {proxy}_.",
    ),
    setting(
        "HTTP_LISTEN",
        "ADDRESS,...",
        PROXY,
        Shape { services: "[::]:80", up: "127.0.0.1:8080" },
        "Where plain HTTP is served. Empty: nowhere. `fd:NAME` takes a socket of the service manager instead (systemd's \
         `FileDescriptorName=`), as with every other listener.",
    ),
    setting(
        "HTTPS_LISTEN",
        "ADDRESS,...",
        PROXY,
        Shape { services: "[::]:443", up: "127.0.0.1:4443" },
        "Where HTTPS is served. Empty: nowhere.",
    ),
    setting(
        "HTTPS_PUBLIC_PORT",
        "PORT",
        PROXY,
        Same(""),
        "The port that redirects to HTTPS name, when clients reach us through another one. Unset: that of the first \
         HTTPS listener.",
    ),
    setting(
        "PROXY_ADMIN_LISTEN",
        "ADDRESS",
        PROXY,
        Same("127.0.0.1:9180"),
        "Where the proxy serves /livez, /readyz, /metrics, /debug/table and /debug/explain, without authentication. \
         Empty: nowhere.",
    ),
    setting(
        "API_LISTEN",
        "ADDRESS",
        BOTH,
        Same("127.0.0.1:3000"),
        "Where the REST API is served, with /livez, /readyz and /metrics. A proxy that is told it sends no host's requests there.",
    ),
    setting(
        "LOOKUP_SOCKET",
        "FILE",
        BOTH,
        Shape { services: LOOKUP_SOCKET, up: "" },
        "A Unix socket where the API tells which host answers a name: to an older data plane, and to a proxy while it \
         can't read the store. Its directory is made. Empty: off.",
    ),
    setting(
        "LOOKUP_SOCKET_GROUP",
        "GROUP",
        API,
        Same(""),
        "The group, by its name in /etc/group or its number, that may connect to LOOKUP_SOCKET besides the owner. Unset: \
         that of the process.",
    ),
    setting(
        "LEGACY_KEYS",
        "true|false",
        BOTH,
        Shape { services: "true", up: "false" },
        "Shares certificates and challenges on Redis with programs of the older layout, at NAME:latest and \
         DOMAIN:challenge:TOKEN. Private keys only while they may stand unsealed: without CERT_KEY. Always false on a \
         cluster.",
    ),
    setting(
        "STATE_DIR",
        "DIRECTORY",
        BOTH,
        Shape { services: "/var/lib/gatewright", up: "./gatewright-data" },
        "What a program keeps for itself between two runs.",
    ),
    setting(
        "INSTANCE",
        "NAME",
        BOTH,
        Same(""),
        "This process' name in leases and status: letters, digits, dots, dashes and underscores. Unset: random, kept \
         in STATE_DIR.",
    ),
    setting(
        "WORKERS",
        "NUMBER|cores",
        PROXY,
        Same("cores"),
        "Threads that serve traffic, each with its own listeners, connections and upstream pools.",
    ),
    setting(
        "ADMIN_USER",
        "NAME",
        API,
        Same("admin"),
        "The first administrator, made when there is no user at all.",
    ),
    secret(
        "ADMIN_PASSWORD",
        API,
        Same(""),
        "The first administrator's password. Unset: random, printed once.",
    ),
    setting(
        "HISTORY_ENTRIES",
        "NUMBER",
        API,
        Same("10000"),
        "How many writes the history keeps; the oldest go. 0: none is written down.",
    ),
    secret(
        "SECRET_KEY",
        API,
        Same(""),
        "Seals what only the control plane may read: the local authority's key, credentials. At least 16 bytes. \
         Required with Redis unless ALLOW_PLAINTEXT_SECRETS; up makes one.",
    ),
    secret(
        "CERT_KEY",
        BOTH,
        Same(""),
        "Seals the private keys of certificates; the same text for API and proxy. At least 16 bytes. Without it they \
         stand in the store unsealed; up makes one.",
    ),
    setting(
        "ALLOW_PLAINTEXT_SECRETS",
        "true|false",
        BOTH,
        Same("false"),
        "Lets secrets stand unsealed in the store where their key is not set.",
    ),
    setting(
        "TRUSTED_PROXIES",
        "NETWORK,...",
        PROXY,
        Same(""),
        "Peers whose X-Forwarded headers are believed: addresses, networks (10.0.0.0/8), or private_ranges for all \
         private ones. Empty: nobody.",
    ),
    setting(
        "PROXY_PROTOCOL_FROM",
        "NETWORK,...",
        PROXY,
        Same(""),
        "Peers that say by the PROXY protocol (version 1 or 2) at the beginning of each connection whose it is, on all listeners. \
         What they say counts as the peer's address for everything else; without it in time the connection is closed. \
         Nobody else is believed. Addresses, networks, private_ranges.",
    ),
    setting(
        "MAX_CONNECTIONS_PER_CLIENT",
        "NUMBER|off",
        PROXY,
        Same("off"),
        "How many connections one address may have open at a time, an IPv6 client its /64; more are closed at once. Those of \
         TRUSTED_PROXIES are not counted.",
    ),
    setting(
        "ALLOW_UPSTREAMS",
        "NETWORK|ADDRESS:PORT,...",
        BOTH,
        Same(""),
        "Upstreams that are reached although they are link-local, a cloud's metadata service or a listener of the gateway's own \
         administration. None by default: whoever may edit hosts must not come by what only this machine was meant to reach.",
    ),
    setting(
        "STATIC_ROOTS",
        "DIRECTORIES",
        PROXY,
        Same(""),
        "Directories under which a host may name one to serve. None by default: what stands in the store can then open no file.",
    ),
    setting(
        "UNKNOWN_HOST_STATUS",
        "STATUS",
        PROXY,
        Same("404"),
        "The status, 400 to 599, for a host that no pattern matches.",
    ),
    setting(
        "HEADER_TIMEOUT",
        "DURATION",
        PROXY,
        Same("10s"),
        "How long a TLS handshake may take, and the head of a request from its first byte.",
    ),
    setting(
        "IDLE_TIMEOUT",
        "DURATION",
        PROXY,
        Same("60s"),
        "How long a client's connection stays open without a request.",
    ),
    setting(
        "CONNECT_TIMEOUT",
        "DURATION",
        PROXY,
        Same("5s"),
        "How long reaching an upstream may take, from the look-up of its name to the end of its TLS handshake.",
    ),
    setting(
        "UPSTREAM_IDLE_TIMEOUT",
        "DURATION",
        PROXY,
        Same("60s"),
        "How long an upstream that owes a byte may send none; 0s for no limit. The total time is never limited.",
    ),
    setting(
        "UPSTREAM_EXCHANGE",
        "codec|hyper",
        PROXY,
        Same("codec"),
        "Who speaks HTTP/1.1 to upstreams: our own codec, or hyper's client.",
    ),
    setting(
        "UPSTREAM_ROOT_CA",
        "FILE",
        PROXY,
        Same(""),
        "Certificates (PEM) of authorities that upstreams' certificates are checked against, besides the system's.",
    ),
    setting(
        "LAME_DUCK",
        "DURATION",
        PROXY,
        Same("0s"),
        "How long to serve on after readiness is withdrawn at the end, so that load balancers notice.",
    ),
    setting(
        "ACME_DIRECTORY",
        "URL|off",
        API,
        Same("https://acme-v02.api.letsencrypt.org/directory"),
        "The directory of the authority that certificates are got from; its terms of service are agreed to by using it. off: from none.",
    ),
    setting(
        "ACME_ROOT_CA",
        "FILE",
        API,
        Same(""),
        "Certificates (PEM) that the authority's own API is checked against, in place of the system's.",
    ),
    setting(
        "ACME_EMAIL",
        "ADDRESS",
        API,
        Same(""),
        "Whom the authority may write to, for instance before a certificate ends.",
    ),
    setting(
        "ACME_PROFILE",
        "NAME",
        API,
        Same(""),
        "Which profile of certificates to ask for, of those that the authority's directory names: shortlived, tlsserver, ….",
    ),
    setting(
        "ACME_EAB_KID",
        "TEXT",
        API,
        Same(""),
        "The id of an account elsewhere that the ACME account is bound to, where the authority requires that.",
    ),
    secret(
        "ACME_EAB_HMAC",
        API,
        Same(""),
        "The MAC key of that account, in base64url as the authority shows it.",
    ),
    setting(
        "ACME_KEY",
        "ecdsa|rsa",
        API,
        Same("ecdsa"),
        "The kind of key of certificates that are got: ECDSA on P-256, or RSA with 2048 bits for very old clients.",
    ),
    setting(
        "ACME_CHALLENGES",
        "KINDS",
        API,
        Same("http-01,tls-alpn-01,dns-01"),
        "How names are proved, the best way first. Wildcards are proved by dns-01 whatever stands here.",
    ),
    setting(
        "DNS_RESOLVERS",
        "ADDRESSES",
        API,
        Same(""),
        "Whom to ask for names when it is checked whether the DNS has a value. Unset: whom the system asks.",
    ),
    setting(
        "DRAIN_TIMEOUT",
        "DURATION",
        BOTH,
        Same("30s"),
        "How long requests under way get to finish at the end.",
    ),
    setting(
        "LOG",
        "LEVEL",
        BOTH,
        Same("info"),
        "Diagnostics, to stderr: error, warn, info, debug, trace or off, or per part: info,proxy=debug.",
    ),
    setting(
        "LOG_FORMAT",
        "json|text",
        BOTH,
        Profile { production: "json", development: "text" },
        "How diagnostics look.",
    ),
    setting(
        "TRACE_CONTEXT",
        "pass|generate",
        PROXY,
        Same("pass"),
        "pass: a request's traceparent and tracestate go on as they came; malformed ones are dropped. generate: a request without \
         begins a trace, too. The access log names the trace.",
    ),
    setting(
        "METRICS_HOST_HISTOGRAMS",
        "NUMBER",
        PROXY,
        Same("100"),
        "How many hosts have histograms of their own, of how long requests take and how large answers are: the first that are \
         asked for. The others are counted together, as other. 0: no histograms by host.",
    ),
    setting(
        "ACCESS_LOG",
        "json|combined|off",
        PROXY,
        Same("json"),
        "One line per request: as JSON, or in Apache's combined format.",
    ),
    setting(
        "ACCESS_LOG_FILE",
        "FILE",
        PROXY,
        Same(""),
        "Where the access log goes, opened anew on SIGHUP. Unset: to stdout.",
    ),
];
