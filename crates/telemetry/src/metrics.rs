use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cells::{Buckets, Padded};
use crate::families::{CounterFamily, GaugeFamily, HistogramFamily, Series};
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
                        text::histogram(&mut out, name, labels, bounds, cells);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Counter;

    #[test]
    fn the_threads_cells_are_summed() {
        let metrics = Metrics::new();
        let family = metrics.counter("gatewright_x_total", "X.", ["host"]);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let local = family.clone();
                std::thread::spawn(move || {
                    let local = local.local();
                    (0..1000).for_each(|_| local.with(["a"], Counter::inc));
                    local.with(["b"], |cell| cell.add(2));
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        family.shared(["c"]).inc();
        assert_eq!(
            metrics.render(),
            "# HELP gatewright_x_total X.\n# TYPE gatewright_x_total counter\n\
             gatewright_x_total{host=\"a\"} 4000\ngatewright_x_total{host=\"b\"} 8\n\
             gatewright_x_total{host=\"c\"} 1\n"
        );
    }

    #[test]
    fn a_forgotten_host_starts_again_at_zero() {
        let metrics = Metrics::new();
        let family = metrics.counter("x_total", "X.", ["host", "code"]);
        let (one, other, held) =
            (family.cell(["a", "2xx"]), family.cell(["aa", "2xx"]), family.cell(["a", "2xx"]));
        [&one, &other, &held].into_iter().for_each(Counter::inc);
        drop((one, other));
        family.forget("host", "a");
        assert!(metrics.render().contains("host=\"a\",code=\"2xx\"} 1\n"), "one is still held");
        drop(held);
        family.forget("host", "a");
        assert!(!metrics.render().contains("host=\"a\""));
        assert!(metrics.render().contains("host=\"aa\""), "only the whole label counts");
        family.cell(["a", "2xx"]).inc();
        assert!(metrics.render().contains("x_total{host=\"a\",code=\"2xx\"} 1\n"));
    }

    #[test]
    fn histogram_buckets_are_cumulative_and_end_in_the_count() {
        let metrics = Metrics::new();
        let family = metrics.histogram("x_seconds", "X.", [], &[0.1, 1.0]);
        let (one, two) = (family.cell([]), family.cell([]));
        one.observe(Duration::from_millis(100));
        two.observe(Duration::from_millis(500));
        two.observe(Duration::from_secs(7));
        let text = metrics.render();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "x_seconds_bucket{le=\"0.1\"} 1",
                "x_seconds_bucket{le=\"1\"} 2",
                "x_seconds_bucket{le=\"+Inf\"} 3",
                "x_seconds_sum 7.6",
                "x_seconds_count 3",
            ]
        );
    }

    #[test]
    fn what_is_observed_in_two_is_in_both() {
        const OTHERS: &[f64] = &[0.2];
        let metrics = Metrics::new();
        let [one, two] =
            ["one", "two"].map(|name| metrics.histogram(name, "X.", [], LATENCY_BUCKETS));
        let (one, two) = (one.cell([]), two.cell([]));
        let three = metrics.histogram("three", "X.", [], OTHERS).cell([]);
        one.observe_in_both(&two, Duration::from_millis(100));
        one.observe_in_both(&three, Duration::from_secs(100));
        let text = metrics.render();
        for line in [
            "one_bucket{le=\"0.05\"} 0",
            "one_bucket{le=\"0.1\"} 1",
            "one_count 2",
            "two_bucket{le=\"0.1\"} 1",
            "two_count 1",
            "three_bucket{le=\"0.2\"} 0",
            "three_sum 100",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}");
        }
    }

    #[test]
    fn gauges_add_up_and_samples_are_taken_when_scraped() {
        let metrics = Metrics::new();
        let open = metrics.gauge("open", "Open.", []);
        let (one, two) = (open.cell([]), open.cell([]));
        one.add(5);
        two.add(2);
        one.add(-1);
        metrics.sampled_gauge("age", "Age.", |samples| samples.push(&[("name", "x\"y")], 1.5));
        let text = metrics.render();
        assert!(text.contains("\nopen 6\n"));
        assert!(text.contains("age{name=\"x\\\"y\"} 1.5\n"));
    }

    #[test]
    fn registering_again_gives_the_same_family_and_another_shape_is_left_out() {
        let metrics = Metrics::new();
        metrics.counter("x_total", "X.", ["a"]).shared(["1"]).inc();
        metrics.counter("x_total", "X.", ["a"]).shared(["1"]).inc();
        metrics.counter("x_total", "X.", ["b"]).shared(["1"]).inc();
        metrics.gauge("x_total", "X.", ["a"]).shared(["1"]).set(9);
        assert!(metrics.render().ends_with("counter\nx_total{a=\"1\"} 2\n"));
    }
}
