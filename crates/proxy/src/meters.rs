//! What a worker counts: cells of its own, found once per host and then written without a look-up.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Tables;
use crate::gone::Since;
use telemetry::{
    Counter, CounterFamily, Gauge, Histogram, HistogramFamily, LATENCY_BUCKETS, LocalCounters,
    Metrics, UNKNOWN_HOST,
};

/// What hosts without histograms of their own are observed as.
const OTHER_HOSTS: &str = "other";
/// Bucket bounds for the sizes of bodies, in bytes.
const SIZE_BUCKETS: &[f64] = &[
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    16_777_216.0,
    268_435_456.0,
    4_294_967_296.0,
];

/// The metric families of the data plane.
#[derive(Clone)]
pub(crate) struct Families {
    requests: CounterFamily<2>,
    read: CounterFamily<1>,
    sent: CounterFamily<1>,
    durations: HistogramFamily<1>,
    sizes: HistogramFamily<1>,
    /// The hosts with histograms of their own.
    graphed: Arc<Graphed>,
    metrics: Metrics,
}

/// One worker's cells.
pub(crate) struct Meters {
    families: Families,
    hosts: RefCell<HashMap<String, Rc<HostMeters>>>,
    /// Cells of hosts that are gone while a connection still remembers them.
    leaving: RefCell<Vec<Rc<HostMeters>>>,
    gone_seen: Cell<u64>,
    pub(crate) unknown: Rc<HostMeters>,
    pub(crate) duration: Histogram,
    pub(crate) upstream_duration: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) tunnels: Gauge,
    pub(crate) parked: Gauge,
    /// By what became of it.
    pub(crate) handshakes: LocalCounters<1>,
    /// By the upstream and what went wrong.
    pub(crate) upstream_errors: LocalCounters<1>,
    /// By what went wrong before.
    pub(crate) retries: LocalCounters<1>,
    /// By why none took it.
    pub(crate) upstream_refusals: LocalCounters<1>,
    /// By what ended a connection, or a stream, before its time.
    pub(crate) lapses: LocalCounters<1>,
    /// By why a connection was closed at once.
    pub(crate) refused: LocalCounters<1>,
    pub(crate) malformed: Counter,
    pub(crate) cut_off: Counter,
}

/// The cells of one host, or of all unknown ones.
pub(crate) struct HostMeters {
    families: Families,
    label: String,
    classes: [OnceCell<Counter>; 6],
    read: OnceCell<Counter>,
    sent: OnceCell<Counter>,
    /// Its own, or those of all that have none; `None` when there are none.
    graphs: OnceCell<Option<Graphs>>,
}

/// How long the requests of a host take, and how large its answers are.
struct Graphs {
    duration: Histogram,
    size: Histogram,
}

/// Which hosts have histograms of their own: as many as there may be, first come, first served. Shared by all workers.
struct Graphed {
    most: usize,
    hosts: Mutex<HashSet<String>>,
}

impl Graphed {
    /// The label under which a host is observed.
    fn label<'a>(&self, host: &'a str) -> &'a str {
        let mut hosts = self.hosts();
        if hosts.contains(host) {
            return host;
        }
        if hosts.len() >= self.most {
            return OTHER_HOSTS;
        }
        hosts.insert(host.to_owned());
        host
    }

    fn hosts(&self) -> MutexGuard<'_, HashSet<String>> {
        // Every state of a set is a good one.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Families {
    /// With histograms for so many hosts.
    pub(crate) fn new(metrics: &Metrics, graphed: usize) -> Self {
        Self {
            requests: metrics.counter(
                "gatewright_http_requests_total",
                "Requests by the pattern of the host that answered and the class of the status.",
                ["host", "code"],
            ),
            read: metrics.counter(
                "gatewright_http_request_body_bytes_total",
                "Bytes of request bodies read.",
                ["host"],
            ),
            sent: metrics.counter(
                "gatewright_http_response_body_bytes_total",
                "Bytes of answers' bodies sent.",
                ["host"],
            ),
            durations: metrics.histogram(
                "gatewright_host_request_duration_seconds",
                "From a request's head to the last byte of its answer, by the pattern of its host; other: those without one \
                 of their own.",
                ["host"],
                LATENCY_BUCKETS,
            ),
            sizes: metrics.histogram(
                "gatewright_host_response_body_bytes",
                "Sizes of answers' bodies as sent, by the pattern of the host; other: those without one of their own.",
                ["host"],
                SIZE_BUCKETS,
            ),
            graphed: Arc::new(Graphed { most: graphed, hosts: Mutex::default() }),
            metrics: metrics.clone(),
        }
    }
}

impl Families {
    /// Drops cells that nobody writes any more.
    fn forget(&self, meters: Rc<HostMeters>) {
        let label = meters.label.clone();
        drop(meters);
        self.requests.forget("host", &label);
        self.read.forget("host", &label);
        self.sent.forget("host", &label);
        self.durations.forget("host", &label);
        self.sizes.forget("host", &label);
        self.graphed.hosts().remove(&label);
    }
}

impl Meters {
    pub(crate) fn new(families: Families) -> Self {
        let metrics = families.metrics.clone();
        let counter = |name, help| metrics.counter(name, help, []).cell([]);
        let gauge = |name, help| metrics.gauge(name, help, []).cell([]);
        let histogram = |name, help| metrics.histogram(name, help, [], LATENCY_BUCKETS).cell([]);
        let by = |name, help, label| metrics.counter(name, help, [label]).local();
        Self {
            hosts: RefCell::default(),
            leaving: RefCell::default(),
            gone_seen: Cell::new(0),
            unknown: Rc::new(HostMeters::new(families.clone(), UNKNOWN_HOST)),
            families,
            duration: histogram(
                "gatewright_http_request_duration_seconds",
                "From a request's head to the last byte of its answer.",
            ),
            upstream_duration: histogram(
                "gatewright_upstream_response_duration_seconds",
                "From sending a request upstream to the head of the answer.",
            ),
            in_flight: gauge("gatewright_http_requests_in_flight", "Requests being answered."),
            connections: gauge("gatewright_connections_open", "Connections of clients."),
            accepted: counter("gatewright_connections_total", "Connections accepted."),
            tunnels: gauge("gatewright_tunnels_open", "Upgraded connections."),
            parked: gauge(
                "gatewright_tls_handshakes_parked",
                "Handshakes that wait for a certificate.",
            ),
            handshakes: by(
                "gatewright_tls_handshakes_total",
                "TLS handshakes by what became of them.",
                "result",
            ),
            upstream_errors: by(
                "gatewright_upstream_errors_total",
                "Requests that an upstream failed, by how.",
                "kind",
            ),
            retries: by(
                "gatewright_upstream_retries_total",
                "Requests that went on to another upstream, by how the one before failed.",
                "kind",
            ),
            upstream_refusals: by(
                "gatewright_upstream_refusals_total",
                "Requests that no upstream was given, by why: its breaker, its limits, or a wait in vain.",
                "reason",
            ),
            lapses: by(
                "gatewright_connections_lapsed_total",
                "Connections, and streams of HTTP/2, ended for their client's slowness, by which.",
                "reason",
            ),
            refused: by(
                "gatewright_connections_refused_total",
                "Connections closed before anything was read for the client, by why.",
                "reason",
            ),
            malformed: counter(
                "gatewright_http_malformed_requests_total",
                "HTTP/1 requests refused before they were one.",
            ),
            cut_off: counter(
                "gatewright_drain_cut_off_total",
                "Connections cut off at the end of a drain.",
            ),
        }
    }

    /// The cells of a configured host.
    pub(crate) fn host(&self, pattern: &str) -> Rc<HostMeters> {
        let mut hosts = self.hosts.borrow_mut();
        if let Some(meters) = hosts.get(pattern) {
            return meters.clone();
        }
        let meters = self
            .come_back(pattern)
            .unwrap_or_else(|| Rc::new(HostMeters::new(self.families.clone(), pattern)));
        hosts.insert(pattern.to_owned(), meters.clone());
        meters
    }

    /// Drops the cells of hosts that are gone, once nobody counts in them any more. To be called now and then.
    pub(crate) fn forget_gone(&self, tables: &Tables) {
        let mut hosts = self.hosts.borrow_mut();
        let mut leaving = self.leaving.borrow_mut();
        match tables.gone().since(&self.gone_seen) {
            Some(Since::These(patterns)) => {
                let patterns = patterns.iter().filter(|pattern| !tables.has_host(pattern));
                leaving.extend(patterns.filter_map(|pattern| hosts.remove(pattern)));
            }
            Some(Since::Many) => {
                let gone = hosts.extract_if(|pattern, _| !tables.has_host(pattern));
                leaving.extend(gone.map(|(_, meters)| meters));
            }
            None => {}
        }
        let done = leaving.extract_if(.., |meters| Rc::strong_count(meters) == 1);
        done.for_each(|meters| self.families.forget(meters));
    }

    /// The cells of a host that was gone and is there again, so that its counts go on.
    fn come_back(&self, pattern: &str) -> Option<Rc<HostMeters>> {
        let mut leaving = self.leaving.borrow_mut();
        let at = leaving.iter().position(|meters| meters.label == pattern)?;
        Some(leaving.swap_remove(at))
    }
}

impl HostMeters {
    fn new(families: Families, label: &str) -> Self {
        Self {
            families,
            label: label.to_owned(),
            classes: Default::default(),
            read: OnceCell::new(),
            sent: OnceCell::new(),
            graphs: OnceCell::new(),
        }
    }

    /// Counts a request. How long it took is observed in `all` too.
    pub(crate) fn count(
        &self,
        status: u16,
        (read, sent): (u64, u64),
        duration: Duration,
        all: &Histogram,
    ) {
        match self.graphs.get_or_init(|| self.graphs()) {
            None => all.observe(duration),
            Some(own) => {
                all.observe_in_both(&own.duration, duration);
                #[expect(clippy::cast_precision_loss, reason = "a bucket is wider")]
                own.size.observe_value(sent as f64);
            }
        }
        let class = usize::from(status / 100);
        let class = if class < self.classes.len() { class } else { 0 };
        if let Some(cell) = self.classes.get(class) {
            let code = telemetry::status_label(status);
            cell.get_or_init(|| self.families.requests.cell([&self.label, code])).inc();
        }
        if read > 0 {
            self.read.get_or_init(|| self.families.read.cell([&self.label])).add(read);
        }
        if sent > 0 {
            self.sent.get_or_init(|| self.families.sent.cell([&self.label])).add(sent);
        }
    }

    fn graphs(&self) -> Option<Graphs> {
        let Families { durations, sizes, graphed, .. } = &self.families;
        let label = match self.label.as_str() {
            _ if graphed.most == 0 => return None,
            // Names of strangers have no graph of their own.
            UNKNOWN_HOST => UNKNOWN_HOST,
            host => graphed.label(host),
        };
        Some(Graphs { duration: durations.cell([label]), size: sizes.cell([label]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first hosts that are asked for have histograms of their own; one that is gone makes room.
    #[test]
    fn so_many_hosts_have_histograms_of_their_own() {
        let metrics = Metrics::new();
        let families = Families::new(&metrics, 2);
        let all = metrics.histogram("all", "All.", [], LATENCY_BUCKETS).cell([]);
        let hosts = ["a.test", "b.test", "c.test", UNKNOWN_HOST];
        let hosts = hosts.map(|host| Rc::new(HostMeters::new(families.clone(), host)));
        let second = Duration::from_secs(1);
        hosts.iter().for_each(|host| host.count(200, (0, 5000), second, &all));
        let counted = |host: &str| {
            let line =
                format!("gatewright_host_request_duration_seconds_count{{host=\"{host}\"}} 1\n");
            metrics.render().contains(&line)
        };
        assert!(["a.test", "b.test", "other", UNKNOWN_HOST].into_iter().all(counted));
        assert!(!counted("c.test"));
        let size = "gatewright_host_response_body_bytes_bucket{host=\"a.test\",le=\"16384\"} 1\n";
        assert!(metrics.render().contains(size));
        assert!(metrics.render().contains("all_count 4\n"));
        let [first, ..] = hosts;
        families.forget(first);
        let next = HostMeters::new(families, "d.test");
        next.count(200, (0, 0), second, &all);
        assert!(counted("d.test") && !counted("a.test"));
    }

    #[test]
    fn there_need_not_be_any() {
        let metrics = Metrics::new();
        let all = metrics.histogram("all", "All.", [], LATENCY_BUCKETS).cell([]);
        HostMeters::new(Families::new(&metrics, 0), "a.test").count(
            200,
            (0, 0),
            Duration::ZERO,
            &all,
        );
        let text = metrics.render();
        assert!(!text.contains("duration_seconds_count{host") && text.contains("all_count 1\n"));
    }
}
