//! How upstreams fare: who asks them, and what is told of it.

use std::sync::Arc;

use runtime::{Shutdown, Workers};
use telemetry::Metrics;
use upstream::Vitals;

use crate::{Error, Tables};

/// Asks upstreams how they are, where their hosts want that, on a thread of its own: a busy worker must not take them for
/// ill. It ends with `over`.
pub(crate) fn start(
    tables: &Arc<Tables>,
    settings: &upstream::Settings,
    over: &Shutdown,
) -> Result<Workers, Error> {
    let (tables, settings, over) = (tables.clone(), settings.clone(), over.clone());
    let started = Workers::spawn(1, "proxy-health", move |_| {
        let (tables, settings, over) = (tables.clone(), settings.clone(), over.clone());
        async move {
            tokio::select! {
                () = tables.live().watch.run(settings) => {}
                () = over.draining() => {}
            }
        }
    });
    started.map_err(Error::Worker)
}

/// Metrics of the upstreams for which an operator asked for health or a breaker.
pub(crate) fn tell(metrics: &Metrics, tables: &Arc<Tables>) {
    let of = tables.clone();
    metrics.sampled_gauge(
        "gatewright_upstream_healthy",
        "1 while an upstream is used as usual; for hosts with health or breaker.",
        move |samples| {
            for it in of.live().watch.vitals() {
                samples.push(&labels(&it), u8::from(it.healthy));
            }
        },
    );
    let of = tables.clone();
    metrics.sampled_counter(
        "gatewright_upstream_ejections_total",
        "How often an upstream was left out for a while; for hosts with health or breaker.",
        move |samples| {
            for it in of.live().watch.vitals() {
                samples.push(&labels(&it), it.ejections);
            }
        },
    );
    let of = tables.clone();
    metrics.sampled_gauge(
        "gatewright_upstream_breaker_state",
        "Where an upstream's breaker stands: 0 closed, 1 half open, 2 open.",
        move |samples| {
            for it in of.live().watch.vitals() {
                it.breaker.into_iter().for_each(|state| samples.push(&labels(&it), state));
            }
        },
    );
}

fn labels(it: &Vitals) -> [(&'static str, &str); 3] {
    [("host", &it.host), ("path", &it.path), ("upstream", &it.upstream)]
}
