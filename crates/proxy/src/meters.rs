//! What a worker counts: cells of its own, found once per host and then written without a look-up.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::Tables;
use crate::gone::Since;
use telemetry::{
    Counter, CounterFamily, Gauge, Histogram, LATENCY_BUCKETS, LocalCounters, Metrics, UNKNOWN_HOST,
};

/// The metric families of the data plane.
#[derive(Clone)]
pub(crate) struct Families {
    requests: CounterFamily<2>,
    read: CounterFamily<1>,
    sent: CounterFamily<1>,
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
}

impl Families {
    pub(crate) fn new(metrics: &Metrics) -> Self {
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
        }
    }

    /// Counts a request.
    pub(crate) fn count(&self, status: u16, read: u64, sent: u64) {
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
}
