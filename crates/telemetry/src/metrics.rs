use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cells::{Buckets, Counter, Gauge, Histogram, Padded, SharedCounter, SharedGauge};
use crate::text;

/// Bucket bounds for request times, in seconds: from 0.5 ms, where a proxy's own work shows, to a minute.
pub const LATENCY_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// A registry of metric families. Clones share it; a process may have several (two programs in one test do).
///
/// Names are to begin with `gatewright_` and end in their base unit (`_seconds`, `_bytes`) and, for counters, `_total`.
/// Registering a name again gives the same family, so that two planes in one process add up.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<&'static str, Family>>>);

#[derive(Clone)]
struct Family {
    help: &'static str,
    labels: Vec<&'static str>,
    values: Values,
}

#[derive(Clone)]
enum Values {
    Counter(Arc<Series<Padded<AtomicU64>>>),
    Gauge(Arc<Series<Padded<AtomicI64>>>),
    Histogram(Arc<Series<Buckets>>, &'static [f64]),
    Sampled(&'static str, Arc<dyn Fn(&mut Samples<'_>) + Send + Sync>),
}

/// The series of one family: label text → the cells of every thread that counts under it.
#[derive(Debug)]
struct Series<C> {
    cells: Mutex<BTreeMap<String, Vec<Arc<C>>>>,
    /// Grows whenever series are forgotten, so that threads drop the cells they remember.
    forgotten: AtomicU64,
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// A family of counters with these labels.
    pub fn counter<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> CounterFamily<N> {
        let fresh = Values::Counter(Arc::default());
        let series = match self.register(name, help, &labels, fresh) {
            Values::Counter(series) => series,
            _ => Arc::default(),
        };
        CounterFamily { series, labels }
    }

    /// A family of gauges with these labels.
    pub fn gauge<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> GaugeFamily<N> {
        let fresh = Values::Gauge(Arc::default());
        let series = match self.register(name, help, &labels, fresh) {
            Values::Gauge(series) => series,
            _ => Arc::default(),
        };
        GaugeFamily { series, labels }
    }

    /// A family of histograms with these labels and ascending bucket bounds ([`LATENCY_BUCKETS`]).
    pub fn histogram<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        bounds: &'static [f64],
    ) -> HistogramFamily<N> {
        let fresh = Values::Histogram(Arc::default(), bounds);
        let (series, bounds) = match self.register(name, help, &labels, fresh) {
            Values::Histogram(series, bounds) => (series, bounds),
            _ => (Arc::default(), bounds),
        };
        HistogramFamily { series, labels, bounds }
    }

    /// A gauge that is asked for when scraped, for what is already known elsewhere. Registered again, the later
    /// function counts.
    pub fn sampled_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        sample: impl Fn(&mut Samples<'_>) + Send + Sync + 'static,
    ) {
        self.sampled(name, help, "gauge", Arc::new(sample));
    }

    /// As [`sampled_gauge`](Self::sampled_gauge), for a count that only grows.
    pub fn sampled_counter(
        &self,
        name: &'static str,
        help: &'static str,
        sample: impl Fn(&mut Samples<'_>) + Send + Sync + 'static,
    ) {
        self.sampled(name, help, "counter", Arc::new(sample));
    }

    /// Registers `gatewright_build_info`, 1 with the version as a label.
    pub fn build_info(&self) {
        self.gauge("gatewright_build_info", "The version of this build.", ["version"])
            .shared([crate::VERSION])
            .set(1);
    }

    /// Everything in Prometheus' text format 0.0.4 (`text/plain; version=0.0.4`).
    pub fn render(&self) -> String {
        // Copied out, so that no family's rendering holds up another's registration.
        let families: Vec<_> =
            self.families().iter().map(|(name, family)| (*name, family.clone())).collect();
        let mut out = String::with_capacity(16 << 10);
        for (name, family) in families {
            match &family.values {
                Values::Counter(series) => {
                    text::header(&mut out, name, family.help, "counter");
                    series.each(|labels, cells| {
                        let sum: u64 = cells
                            .iter()
                            .fold(0, |sum, cell| sum.wrapping_add(cell.0.load(Relaxed)));
                        text::sample(&mut out, name, labels, sum);
                    });
                }
                Values::Gauge(series) => {
                    text::header(&mut out, name, family.help, "gauge");
                    series.each(|labels, cells| {
                        let sum: i64 = cells.iter().map(|cell| cell.0.load(Relaxed)).sum();
                        text::sample(&mut out, name, labels, sum);
                    });
                }
                Values::Histogram(series, bounds) => {
                    text::header(&mut out, name, family.help, "histogram");
                    series.each(|labels, cells| {
                        text::histogram(&mut out, name, labels, bounds, cells)
                    });
                }
                Values::Sampled(kind, sample) => {
                    text::header(&mut out, name, family.help, kind);
                    sample(&mut Samples { out: &mut out, name });
                }
            }
        }
        out
    }

    fn sampled(
        &self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        sample: Arc<dyn Fn(&mut Samples<'_>) + Send + Sync>,
    ) {
        let family = Family { help, labels: Vec::new(), values: Values::Sampled(kind, sample) };
        self.families().insert(name, family);
    }

    /// The family's values: those of `name` if it is registered already, else `fresh`. A family of another shape is a
    /// mistake in the program; the caller then counts into values nobody sees, which harms less than a panic.
    fn register(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
        fresh: Values,
    ) -> Values {
        let mut families = self.families();
        let family = families.entry(name).or_insert_with(|| Family {
            help,
            labels: labels.to_vec(),
            values: fresh.clone(),
        });
        let alike = std::mem::discriminant(&family.values) == std::mem::discriminant(&fresh);
        if alike && family.labels == labels {
            return family.values.clone();
        }
        tracing::error!(metric = name, "registered twice with different shapes");
        fresh
    }

    fn families(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// Takes the samples of one family while it is scraped.
#[derive(Debug)]
pub struct Samples<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Samples<'_> {
    /// Adds one sample: pairs of label name and value, and the value.
    pub fn push(&mut self, labels: &[(&str, &str)], value: impl fmt::Display) {
        let mut rendered = String::new();
        for (name, value) in labels {
            text::push_label(&mut rendered, name, value);
        }
        text::sample(self.out, self.name, &rendered, value);
    }
}

impl<C> Default for Series<C> {
    fn default() -> Self {
        Self { cells: Mutex::default(), forgotten: AtomicU64::new(0) }
    }
}

impl<C> Series<C> {
    fn add(&self, labels: &str, cell: C) -> Arc<C> {
        let cell = Arc::new(cell);
        self.lock().entry(labels.to_owned()).or_default().push(cell.clone());
        cell
    }

    /// The first cell under these labels, for the kinds that share one.
    fn shared(&self, labels: &str, fresh: impl FnOnce() -> C) -> Arc<C> {
        let mut cells = self.lock();
        let cells = cells.entry(labels.to_owned()).or_default();
        match cells.first() {
            Some(cell) => cell.clone(),
            None => {
                let cell = Arc::new(fresh());
                cells.push(cell.clone());
                cell
            }
        }
    }

    fn forget(&self, names: &[&'static str], name: &str, value: &str) {
        let mut wanted = String::new();
        text::push_label(&mut wanted, name, value);
        if !names.contains(&name) {
            return;
        }
        self.lock().retain(|labels, _| !text::has_label(labels, &wanted));
        self.forgotten.fetch_add(1, Relaxed);
    }

    fn each(&self, mut visit: impl FnMut(&str, &[Arc<C>])) {
        self.lock().iter().for_each(|(labels, cells)| visit(labels, cells));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<C>>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's cells of one family, made at first use and found again by their labels without an allocation.
#[derive(Debug)]
struct Local<const N: usize, C, Handle> {
    series: Arc<Series<C>>,
    labels: [&'static str; N],
    known: RefCell<HashMap<String, Handle>>,
    key: RefCell<String>,
    forgotten: Cell<u64>,
}

impl<const N: usize, C, Handle> Local<N, C, Handle> {
    fn new(series: &Arc<Series<C>>, labels: [&'static str; N]) -> Self {
        let forgotten = Cell::new(series.forgotten.load(Relaxed));
        Self {
            series: series.clone(),
            labels,
            known: RefCell::default(),
            key: RefCell::default(),
            forgotten,
        }
    }

    fn with(
        &self,
        values: [&str; N],
        fresh: impl FnOnce() -> C,
        handle: impl FnOnce(Arc<C>) -> Handle,
        apply: impl FnOnce(&Handle),
    ) {
        let mut known = self.known.borrow_mut();
        let forgotten = self.series.forgotten.load(Relaxed);
        if self.forgotten.replace(forgotten) != forgotten {
            known.clear();
        }
        let mut key = self.key.borrow_mut();
        render_labels(&mut key, self.labels, values);
        if let Some(cell) = known.get(key.as_str()) {
            return apply(cell);
        }
        let cell = handle(self.series.add(&key, fresh()));
        apply(&cell);
        known.insert(key.clone(), cell);
    }
}

fn render_labels<const N: usize>(out: &mut String, names: [&'static str; N], values: [&str; N]) {
    out.clear();
    for (name, value) in names.into_iter().zip(values) {
        text::push_label(out, name, value);
    }
}

macro_rules! family {
    ($Family:ident, $Local:ident, $Handle:ident, $Cell:ty, $what:literal) => {
        impl<const N: usize> $Family<N> {
            #[doc = concat!("One ", $what, " of its own for the calling thread, with these label values.")]
            pub fn cell(&self, values: [&str; N]) -> $Handle {
                let mut labels = String::new();
                render_labels(&mut labels, self.labels, values);
                $Handle::new(self.series.add(&labels, self.fresh()))
            }

            /// One thread's cells, found by their label values.
            pub fn local(&self) -> $Local<N> {
                $Local(Local::new(&self.series, self.labels), self.clone())
            }

            /// Drops every series with this label value, because what it stood for is gone; without such a label
            /// nothing happens. Costs O(series), and each thread forgets the cells it knows.
            pub fn forget(&self, label: &str, value: &str) {
                self.series.forget(&self.labels, label, value);
            }
        }

        #[doc = concat!("One thread's cells of a [`", stringify!($Family), "`], found by their label values.")]
        #[derive(Debug)]
        pub struct $Local<const N: usize>(Local<N, $Cell, $Handle>, $Family<N>);

        impl<const N: usize> $Local<N> {
            /// Applies a change to the cell with these label values. The first use per thread and label set
            /// registers the cell; later ones neither allocate nor share anything.
            pub fn with(&self, values: [&str; N], apply: impl FnOnce(&$Handle)) {
                self.0.with(values, || self.1.fresh(), $Handle::new, apply);
            }
        }
    };
}

/// Counters of one name.
#[derive(Clone, Debug)]
pub struct CounterFamily<const N: usize> {
    series: Arc<Series<Padded<AtomicU64>>>,
    labels: [&'static str; N],
}

impl<const N: usize> CounterFamily<N> {
    /// A counter anyone may write, the same one for the same label values.
    pub fn shared(&self, values: [&str; N]) -> SharedCounter {
        let mut labels = String::new();
        render_labels(&mut labels, self.labels, values);
        SharedCounter(self.series.shared(&labels, || self.fresh()))
    }

    fn fresh(&self) -> Padded<AtomicU64> {
        Padded::default()
    }
}

/// Gauges of one name.
#[derive(Clone, Debug)]
pub struct GaugeFamily<const N: usize> {
    series: Arc<Series<Padded<AtomicI64>>>,
    labels: [&'static str; N],
}

impl<const N: usize> GaugeFamily<N> {
    /// A gauge anyone may write, the same one for the same label values.
    pub fn shared(&self, values: [&str; N]) -> SharedGauge {
        let mut labels = String::new();
        render_labels(&mut labels, self.labels, values);
        SharedGauge(self.series.shared(&labels, || self.fresh()))
    }

    fn fresh(&self) -> Padded<AtomicI64> {
        Padded::default()
    }
}

/// Histograms of one name.
#[derive(Clone, Debug)]
pub struct HistogramFamily<const N: usize> {
    series: Arc<Series<Buckets>>,
    labels: [&'static str; N],
    bounds: &'static [f64],
}

impl<const N: usize> HistogramFamily<N> {
    fn fresh(&self) -> Buckets {
        Buckets::new(self.bounds)
    }
}

family!(CounterFamily, LocalCounters, Counter, Padded<AtomicU64>, "counter");
family!(GaugeFamily, LocalGauges, Gauge, Padded<AtomicI64>, "gauge");
family!(HistogramFamily, LocalHistograms, Histogram, Buckets, "histogram");
