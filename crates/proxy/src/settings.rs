use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rewrite::TrustedProxies;

/// Everything the data plane is told at start. Nothing here changes while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where plain HTTP is served; may be empty.
    pub http: Vec<Listen>,
    /// Where HTTPS is served; may be empty.
    pub https: Vec<Listen>,
    /// The port named in redirects to HTTPS; without one, that of the first HTTPS listener.
    pub https_public_port: Option<u16>,
    /// Where `/livez`, `/readyz`, `/metrics` and `/debug` are served.
    pub admin: Option<Listen>,
    /// Threads that serve, at least 1.
    pub workers: usize,
    /// Peers whose `X-Forwarded-*` is believed.
    pub trusted_proxies: TrustedProxies,
    /// Peers that say at the beginning of a connection whose it is, and are served in no other way.
    pub proxy_protocol_from: TrustedProxies,
    /// Whether a request that belongs to no trace begins one.
    pub begins_traces: bool,
    /// How many hosts have histograms of their own; what others do is counted together. 0: there are none.
    pub host_histograms: usize,
    /// The status for a host that no pattern matches.
    pub unknown_host_status: StatusCode,
    /// How long clients may take over what.
    pub timeouts: Timeouts,
    /// The slowest client that is served.
    pub rates: MinimumRates,
    /// Counts that are refused beyond.
    pub limits: Limits,
    /// How the end goes.
    pub drain: Drain,
    /// How upstreams are reached.
    pub upstream: upstream::Settings,
}

impl Default for Settings {
    /// No listener, one worker, the documented values for the rest.
    fn default() -> Self {
        Self {
            http: Vec::new(),
            https: Vec::new(),
            https_public_port: None,
            admin: None,
            workers: 1,
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol_from: TrustedProxies::default(),
            begins_traces: false,
            host_histograms: 100,
            unknown_host_status: StatusCode::NOT_FOUND,
            timeouts: Timeouts::default(),
            rates: MinimumRates::default(),
            limits: Limits::default(),
            drain: Drain::default(),
            upstream: upstream::Settings::default(),
        }
    }
}

/// A place to listen.
#[derive(Clone, Debug)]
pub enum Listen {
    /// An address to bind; port 0 takes a free one, the same for every worker.
    Address(SocketAddr),
    /// A listening socket handed over by the service manager, with the name it goes by.
    Inherited(String, Arc<TcpListener>),
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From accept to the end of the TLS handshake, and from the first to the last byte of a request's head.
    pub header: Duration,
    /// How long a connection may stay open without a request.
    pub idle: Duration,
    /// How long a handshake waits for a certificate that is being made.
    pub certificate: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            certificate: Duration::from_secs(10),
        }
    }
}

/// The slowest client that is served. Only time in which the client is what everybody waits for counts.
#[derive(Clone, Copy, Debug)]
pub struct MinimumRates {
    /// Bytes per second of a request body that is being waited for; 0 accepts any.
    pub upload: u64,
    /// Bytes per second of answer that the client takes while some is waiting; 0 accepts any.
    pub download: u64,
    /// What the rates are averaged over; also the grace before the first judgement.
    pub window: Duration,
}

impl Default for MinimumRates {
    fn default() -> Self {
        Self { upload: 240, download: 240, window: Duration::from_secs(10) }
    }
}

/// Counts that are refused beyond. (A head is limited to 64 KiB and 100 fields.)
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests in flight on one HTTP/2 connection.
    pub streams: u32,
    /// Handshakes that wait for a certificate, per process.
    pub parked: usize,
    /// Connections of one client at a time, per process; an IPv6 client is its /64. 0: any number.
    pub connections_per_client: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { streams: 250, parked: 1000, connections_per_client: 0 }
    }
}

/// How the end goes.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long to serve on as usual after readiness is withdrawn, so that balancers notice.
    pub lame_duck: Duration,
    /// How long an idle keep-alive connection may yet bring a request, which is answered with `Connection: close`.
    pub idle_grace: Duration,
    /// After how long, lame duck excluded, what still runs is cut off.
    pub deadline: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            lame_duck: Duration::ZERO,
            idle_grace: Duration::from_millis(500),
            deadline: Duration::from_secs(30),
        }
    }
}
