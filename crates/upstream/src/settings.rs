use std::time::Duration;

use model::Reach;
use rustls::pki_types::CertificateDer;

/// How upstreams are reached. One value for the process, cloned to each worker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who speaks HTTP on the connections.
    pub exchange: ExchangeKind,
    /// From the first lookup of the name to the end of the TLS handshake.
    pub connect_timeout: Duration,
    /// Without a byte of the answer, while one is owed. None: for ever. There is no limit on the total time.
    pub idle_timeout: Option<Duration>,
    /// How long an unused connection is kept. Below the 60 s after which many applications close theirs.
    pub keep_alive: Duration,
    /// Unused connections kept per endpoint and worker.
    pub max_idle: usize,
    /// How long a resolved name is believed.
    pub resolve_ttl: Duration,
    /// How long a request with `Expect: 100-continue` holds its body back when the upstream says nothing.
    pub continue_timeout: Duration,
    /// The largest head of a response, and the largest trailer section, in bytes.
    pub max_head: usize,
    /// The most header fields of a response.
    pub max_headers: usize,
    /// Certificate authorities believed besides those of the system.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Where nothing is sent, whatever name leads there.
    pub reach: Reach,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            exchange: ExchangeKind::default(),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_secs(60)),
            keep_alive: Duration::from_secs(55),
            max_idle: 512,
            resolve_ttl: Duration::from_secs(5),
            continue_timeout: Duration::from_secs(1),
            max_head: 64 * 1024,
            max_headers: 128,
            extra_roots: Vec::new(),
            reach: Reach::default(),
        }
    }
}

/// Who speaks HTTP/1.1 to upstreams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeKind {
    /// This crate's codec, in the request's own task.
    #[default]
    Codec,
    /// hyper's client connection, in a task of its own.
    Hyper,
}
