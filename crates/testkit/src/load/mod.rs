//! Requests at a rate that does not wait for answers, each accounted for.
//!
//! A request is due at a fixed moment; when its connection is late its latency counts from that moment, so a pause of
//! the proxy shows in full. Every request ends in exactly one [`Ending`], and the load says how many of each.

mod h1;
mod h2;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Front;

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// A whole answer with this status.
    Whole(u16),
    /// The answer began and was cut.
    Cut,
    /// The peer read the request, or some of it, and closed without a byte of an answer.
    Swallowed,
    /// The connection closed before the peer read any of it: the kernel (a reset) or HTTP/2 (`GOAWAY`,
    /// `REFUSED_STREAM`) says so. Safe to send again; the loss of nothing.
    Unread,
    /// The same on a connection just opened: the peer's kernel had accepted it and it was thrown away.
    Abandoned,
}

/// One request's account.
#[derive(Clone, Debug)]
pub struct Record {
    /// The value of its `x-test-id`.
    pub id: String,
    /// From the moment it was due to the last byte of its answer.
    pub latency: Duration,
    /// When it ended.
    pub at: Instant,
    /// How it ended.
    pub ending: Ending,
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Starts every id.
    pub label: &'static str,
    /// Requests per second over all connections.
    pub rate: u32,
    /// Connections.
    pub connections: usize,
    /// The name asked for.
    pub host: String,
    /// The path asked for.
    pub path: String,
    /// Requests per connection, after which it is opened anew; 0: no limit. HTTP/1.1 only.
    pub per_connection: usize,
}

/// A running load; stops with its value.
pub struct Load {
    stop: watch::Sender<bool>,
    connections: JoinSet<Vec<Record>>,
}

impl Load {
    /// HTTP/1.1 with keep-alive over plain TCP, reconnecting when told to close.
    pub fn h1(to: SocketAddr, plan: &Plan) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        for number in 0..plan.connections {
            connections.spawn(h1::run(
                h1::Target::Plain(to),
                schedule(plan, number),
                stopped.clone(),
            ));
        }
        Self { stop, connections }
    }

    /// HTTP/1.1 with keep-alive over TLS. A close without an answer can't be told from a swallowed request there.
    pub fn h1_tls(to: &Front, plan: &Plan) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        for number in 0..plan.connections {
            let target = h1::Target::Tls(Box::new(to.clone()));
            connections.spawn(h1::run(target, schedule(plan, number), stopped.clone()));
        }
        Self { stop, connections }
    }

    /// HTTP/2 over TLS with at most `streams` at once per connection; not reconnecting.
    pub fn h2(to: &Front, plan: &Plan, streams: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        for number in 0..plan.connections {
            connections.spawn(h2::run(
                to.clone(),
                schedule(plan, number),
                streams,
                stopped.clone(),
            ));
        }
        Self { stop, connections }
    }

    /// Sends no further request, waits for the answers of those sent, and gives every account.
    pub async fn finish(mut self) -> Report {
        let _ = self.stop.send(true);
        let mut records = Vec::new();
        while let Some(ended) = self.connections.join_next().await {
            records.extend(ended.expect("a load's task does not panic"));
        }
        Report { records }
    }

    /// Whether every connection has ended by itself.
    pub fn is_over(&mut self) -> bool {
        self.connections.is_empty()
    }
}

/// The account of a load.
#[derive(Debug, Default)]
pub struct Report {
    /// Every request.
    pub records: Vec<Record>,
}

impl Report {
    /// How many requests ended so.
    pub fn count(&self, ending: Ending) -> usize {
        self.records.iter().filter(|record| record.ending == ending).count()
    }

    /// The requests that ended otherwise than one of `allowed`.
    pub fn except(&self, allowed: &[Ending]) -> Vec<&Record> {
        self.records.iter().filter(|record| !allowed.contains(&record.ending)).collect()
    }

    /// The latency that `share` (0 to 1) of the whole answers did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        let whole = self.records.iter().filter(|it| matches!(it.ending, Ending::Whole(_)));
        percentile(whole.map(|record| record.latency).collect(), share)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = BTreeMap::<Ending, usize>::new();
        for record in &self.records {
            *counts.entry(record.ending).or_default() += 1;
        }
        let (median, p99) = (self.percentile(0.5), self.percentile(0.99));
        write!(f, "{} requests {counts:?}, p50 {median:.1?}, p99 {p99:.1?}", self.records.len())
    }
}

/// The value that `share` (0 to 1) of `values` do not exceed; zero when there are none.
pub fn percentile(mut values: Vec<Duration>, share: f64) -> Duration {
    values.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank within the length"
    )]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The moments at which one connection is to send, and what.
struct Schedule {
    plan: Plan,
    connection: usize,
    start: Instant,
    sent: u32,
}

fn schedule(plan: &Plan, connection: usize) -> Schedule {
    Schedule { plan: plan.clone(), connection, start: Instant::now(), sent: 0 }
}

impl Schedule {
    /// The next request's id and moment. Connections take turns.
    fn next(&mut self) -> (String, Instant) {
        let turn = self.sent as usize * self.plan.connections + self.connection;
        let turn = u32::try_from(turn).expect("tests are short");
        self.sent += 1;
        let due = self.start + Duration::from_secs(1) * turn / self.plan.rate;
        (format!("{}-{}-{}", self.plan.label, self.connection, self.sent), due)
    }
}

/// Sleeps until `due`; false when stopped first.
async fn pause(due: Instant, stopped: &mut watch::Receiver<bool>) -> bool {
    if *stopped.borrow() {
        return false;
    }
    tokio::select! {
        () = tokio::time::sleep_until(due.into()) => true,
        _ = stopped.changed() => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let values: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(values.clone(), 0.99), Duration::from_millis(99));
        assert_eq!(percentile(values, 1.0), Duration::from_millis(100));
        assert_eq!(percentile(Vec::new(), 0.5), Duration::ZERO);
    }
}
