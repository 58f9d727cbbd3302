//! Families of like series, and what a thread holds of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cells::{Buckets, Counter, Gauge, Histogram, Padded, SharedCounter, SharedGauge};
use crate::text;

/// Counters of one name.
#[derive(Clone, Debug)]
pub struct CounterFamily<const N: usize> {
    pub(crate) series: Arc<Series<Padded<AtomicU64>>>,
    pub(crate) labels: [&'static str; N],
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
    pub(crate) series: Arc<Series<Padded<AtomicI64>>>,
    pub(crate) labels: [&'static str; N],
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
    pub(crate) series: Arc<Series<Buckets>>,
    pub(crate) labels: [&'static str; N],
    pub(crate) bounds: &'static [f64],
}

impl<const N: usize> HistogramFamily<N> {
    fn fresh(&self) -> Buckets {
        Buckets::new(self.bounds)
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

            /// Drops the cells with this label value that no thread holds any more, because what they stood for is
            /// gone; without such a label nothing happens. A cell that is still held stays until a later call, so
            /// that nothing is counted where nobody sees it. Costs O(series).
            pub fn forget(&self, label: &str, value: &str) {
                self.series.forget(&self.labels, label, value);
            }
        }

        #[doc = concat!("One thread's cells of a [`", stringify!($Family), "`], found by their label values.")]
        #[derive(Debug)]
        pub struct $Local<const N: usize>(Local<N, $Cell, $Handle>, $Family<N>);

        impl<const N: usize> $Local<N> {
            /// Applies a change to the cell with these label values. The first use per thread and label set
            /// registers the cell; later ones neither allocate nor share anything. `apply` must not come back here.
            pub fn with(&self, values: [&str; N], apply: impl FnOnce(&$Handle)) {
                self.0.with(values, || self.1.fresh(), $Handle::new, apply);
            }
        }
    };
}

family!(CounterFamily, LocalCounters, Counter, Padded<AtomicU64>, "counter");
family!(GaugeFamily, LocalGauges, Gauge, Padded<AtomicI64>, "gauge");
family!(HistogramFamily, LocalHistograms, Histogram, Buckets, "histogram");

/// The series of one family: label text → the cells of every thread that counts under it.
#[derive(Debug)]
pub(crate) struct Series<C> {
    cells: Mutex<BTreeMap<String, Vec<Arc<C>>>>,
}

impl<C> Default for Series<C> {
    fn default() -> Self {
        Self { cells: Mutex::default() }
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
        self.lock().retain(|labels, cells| {
            if text::has_label(labels, &wanted) {
                cells.retain(|cell| Arc::strong_count(cell) > 1);
            }
            !cells.is_empty()
        });
    }

    pub(crate) fn each(&self, mut visit: impl FnMut(&str, &[Arc<C>])) {
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
}

impl<const N: usize, C, Handle> Local<N, C, Handle> {
    fn new(series: &Arc<Series<C>>, labels: [&'static str; N]) -> Self {
        Self { series: series.clone(), labels, known: RefCell::default(), key: RefCell::default() }
    }

    fn with(
        &self,
        values: [&str; N],
        fresh: impl FnOnce() -> C,
        handle: impl FnOnce(Arc<C>) -> Handle,
        apply: impl FnOnce(&Handle),
    ) {
        let mut known = self.known.borrow_mut();
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
