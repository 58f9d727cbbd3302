//! What the programs tell about themselves: diagnostics, metrics and the access log. It knows nothing about who
//! measures what.
//!
//! - [`init_logs`]: diagnostics by `tracing` to stderr, as text or JSON lines.
//! - [`Metrics`]: a registry in Prometheus' text format. The hot path writes cells that belong to one thread and are
//!   summed when scraped, so counting a request shares nothing with another core.
//! - [`AccessLog`]: one line per request, as JSON or in the combined format, written by a thread of its own. A reader
//!   that is too slow costs lines (counted), never requests.
//!
//! ```
//! use telemetry::Metrics;
//!
//! let metrics = Metrics::new();
//! let requests = metrics.counter("gatewright_http_requests_total", "Requests answered.", ["host", "code"]);
//! let mine = requests.local(); // one per worker thread
//! mine.with(["a.test", "2xx"], |cell| cell.inc());
//! assert!(metrics.render().contains(r#"gatewright_http_requests_total{host="a.test",code="2xx"} 1"#));
//! ```

mod access;
mod cells;
mod datetime;
mod families;
mod logs;
mod metrics;
mod process;
mod record;
mod text;

pub use access::{AccessLog, AccessSettings, AccessTarget, AccessWriter};
pub use cells::{Counter, Gauge, Histogram, SharedCounter, SharedGauge};
pub use families::{
    CounterFamily, GaugeFamily, HistogramFamily, LocalCounters, LocalGauges, LocalHistograms,
};
pub use logs::{LogFormat, LogsError, init_logs};
pub use metrics::{LATENCY_BUCKETS, Metrics, Samples};
pub use record::{AccessContext, AccessFormat, AccessOrigin, AccessRecord};

/// The label value for every host that is not configured. Not a possible host name: those have no leading underscore
/// label of this spelling, and a client can't make more series by inventing names.
pub const UNKNOWN_HOST: &str = "_unknown";

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The label value for a request method: itself when it is one of the nine of RFC 9110 and RFC 5789, else `_OTHER`.
pub fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}

/// The label value for a status code: its class, `1xx` to `5xx`, else `_OTHER`.
pub fn status_label(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "_OTHER",
    }
}
