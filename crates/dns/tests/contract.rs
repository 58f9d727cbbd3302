//! What every provider must do, run for each: those over HTTP against scripted servers that speak the documented JSON.
//!
//! A new provider over HTTP is a dialect in `testkit::dns_api` and a row in [`rows!`].
#![cfg(test)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns::{DnsProvider, Error, Options, Zone};
use model::Secret;
use testkit::Log;
use testkit::dns_api::{CREDENTIAL, Dialect, DnsApi, Fault};

/// How long a timeout of 100 ms may take in all on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// What differs between the providers.
#[derive(Clone, Copy)]
struct Row {
    kind: &'static str,
    dialect: Dialect,
    zone: &'static str,
    /// More zones than fit on two pages; 0 where nothing can be listed.
    zones: usize,
    /// What it says to wrong credentials and when its rate limit is reached.
    words: [&'static str; 2],
}

macro_rules! rows {
    ($($module:ident: $row:expr;)*) => { $(mod $module { use super::*; const ROW: Row = $row; cases!(); })* };
}

macro_rules! cases {
    () => { each! {
        zones_come_from_every_page, two_values_stand_side_by_side, a_value_is_appended_once, only_our_value_is_removed,
        removing_what_is_absent_is_fine, wrong_credentials_are_told_in_its_words, a_rate_limit_is_told_with_its_time,
        a_short_rate_limit_is_waited_for, a_server_error_is_tried_again, a_server_error_that_stays_is_told,
        nonsense_is_not_understood, a_record_that_is_not_listed_yet_is_removed, a_slow_server_is_given_up,
        a_closed_connection_is_tried_again, credentials_are_in_no_error, credentials_are_in_no_log,
        nobody_there_is_told
    } };
}

macro_rules! each {
    ($($case:ident),*) => { $(#[tokio::test] async fn $case() { super::$case(ROW).await; })* };
}

rows! {
    cloudflare: Row {
        kind: "cloudflare", dialect: Dialect::Cloudflare, zone: "example.test", zones: 120,
        words: ["Invalid access token", "Please wait and consider throttling your request speed"],
    };
    digitalocean: Row {
        kind: "digitalocean", dialect: Dialect::DigitalOcean, zone: "example.test", zones: 450,
        words: ["Unable to authenticate you", "API Rate limit exceeded."],
    };
    porkbun: Row {
        kind: "porkbun", dialect: Dialect::Porkbun, zone: "example.test", zones: 2_050,
        words: ["Invalid API key. (001)", "Rate limit exceeded. Please try again later."],
    };
    duckdns: Row {
        kind: "duckdns", dialect: Dialect::DuckDns, zone: "example.duckdns.org", zones: 0,
        words: ["KO: the token is wrong, or example is not of this account", "slow down"],
    };
}

/// A provider and the scripted server behind it.
struct Subject {
    api: DnsApi,
    provider: Arc<dyn DnsProvider>,
    zone: Zone,
    name: String,
}

impl Subject {
    async fn start(row: Row) -> Self {
        Self::with(row, |_| ()).await
    }

    async fn with(row: Row, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Self {
        let api = DnsApi::start(row.dialect, [row.zone]);
        let mut settings = api.settings();
        change(&mut settings);
        let provider = build(row, settings);
        let zone = Zone { id: id(&api, row).await, name: row.zone.to_owned() };
        let name = format!("_acme-challenge.{}", row.zone);
        Self { api, provider, zone, name }
    }

    async fn append(&self, value: &str) -> Result<(), Error> {
        self.provider.append_txt(&self.zone, &self.name, value).await
    }

    async fn remove(&self, value: &str) -> Result<(), Error> {
        self.provider.remove_txt(&self.zone, &self.name, value).await
    }

    fn values(&self) -> Vec<String> {
        self.api.values(&self.name)
    }

    fn one_value(&self) -> bool {
        self.provider.holds_one_value()
    }
}

fn build(row: Row, settings: BTreeMap<String, String>) -> Arc<dyn DnsProvider> {
    let settings = settings.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
    let pause = Duration::from_millis(10);
    dns::build(row.kind, &settings, Options { pause, ..Options::default() }).unwrap()
}

/// What the provider calls the row's zone.
async fn id(api: &DnsApi, row: Row) -> String {
    let zones = build(row, api.settings()).zones().await.unwrap();
    zones.into_iter().find(|it| it.name == row.zone).unwrap().id
}

async fn zones_come_from_every_page(row: Row) {
    let subject = Subject::start(row).await;
    subject.api.add_zones((0..row.zones).map(|n| format!("z{n}.test")));
    let zones = subject.provider.zones().await.unwrap();
    let mut names: Vec<_> = zones.iter().map(|it| it.name.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), row.zones + 1);
    if row.zones > 0 {
        // A page that fails is no end: the whole listing fails.
        subject.api.inject([Fault::Nothing, Fault::Garbage]);
        assert!(subject.provider.zones().await.is_err());
        assert!(subject.api.take_fault().is_none());
    }
}

async fn two_values_stand_side_by_side(row: Row) {
    let subject = Subject::start(row).await;
    subject.append("value-of-x").await.unwrap();
    subject.append("value-of-wildcard").await.unwrap();
    let want: &[_] = if subject.one_value() {
        &["value-of-wildcard"]
    } else {
        &["value-of-x", "value-of-wildcard"]
    };
    assert_eq!(subject.values(), want);
}

async fn a_value_is_appended_once(row: Row) {
    let subject = Subject::start(row).await;
    subject.append("one").await.unwrap();
    subject.append("one").await.unwrap();
    assert_eq!(subject.values(), ["one"]);
    // By another process, too.
    let other = build(row, subject.api.settings());
    other.append_txt(&subject.zone, &subject.name, "one").await.unwrap();
    assert_eq!(subject.values(), ["one"]);
}

async fn only_our_value_is_removed(row: Row) {
    let subject = Subject::start(row).await;
    subject.append("ours").await.unwrap();
    if subject.one_value() {
        subject.append("newer").await.unwrap();
        subject.remove("ours").await.unwrap();
        assert_eq!(subject.values(), ["newer"]);
        return;
    }
    subject.api.plant(row.zone, &subject.name, "theirs");
    subject.api.plant(row.zone, &format!("www.{}", row.zone), "ours");
    subject.remove("ours").await.unwrap();
    assert_eq!(subject.values(), ["theirs"]);
    assert_eq!(subject.api.records().len(), 2);
    // By another process, which knows no ids.
    subject.append("left behind").await.unwrap();
    let other = build(row, subject.api.settings());
    other.remove_txt(&subject.zone, &subject.name, "left behind").await.unwrap();
    assert_eq!(subject.values(), ["theirs"]);
}

async fn removing_what_is_absent_is_fine(row: Row) {
    let subject = Subject::start(row).await;
    subject.remove("never there").await.unwrap();
    subject.append("once").await.unwrap();
    subject.remove("once").await.unwrap();
    subject.remove("once").await.unwrap();
    assert_eq!(subject.values(), [""; 0]);
}

async fn wrong_credentials_are_told_in_its_words(row: Row) {
    let wrong = |settings: &mut BTreeMap<String, String>| {
        settings
            .values_mut()
            .filter(|it| *it == CREDENTIAL)
            .for_each(|it| *it = "wrong-credential".into());
    };
    let subject = Subject::with(row, wrong).await;
    let mut errors = vec![subject.append("x").await.unwrap_err()];
    if row.zones > 0 {
        errors.push(subject.provider.zones().await.unwrap_err());
    }
    for error in errors {
        let Error::Credentials { provider, message } = error else { panic!("{error:?}") };
        assert_eq!((provider, message.as_str()), (row.kind, row.words[0]));
    }
}

async fn a_rate_limit_is_told_with_its_time(row: Row) {
    let subject = Subject::start(row).await;
    for seconds in [Some(120), None] {
        subject.api.inject([Fault::RateLimit(seconds)]);
        let error = subject.append("x").await.unwrap_err();
        let Error::RateLimited { message, retry_after, .. } = error else { panic!("{error:?}") };
        assert_eq!(message, row.words[1]);
        assert_eq!(retry_after, seconds.map(Duration::from_secs));
    }
}

async fn a_short_rate_limit_is_waited_for(row: Row) {
    let subject = Subject::start(row).await;
    subject.api.inject([Fault::RateLimit(Some(1))]);
    let start = Instant::now();
    subject.append("x").await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(subject.values(), ["x"]);
}

async fn a_server_error_is_tried_again(row: Row) {
    let subject = Subject::start(row).await;
    subject.api.inject([Fault::ServerError, Fault::ServerError, Fault::ServerError]);
    subject.append("x").await.unwrap();
    subject.api.inject([Fault::ServerError]);
    subject.remove("x").await.unwrap();
    assert_eq!(subject.values(), [""; 0]);
}

async fn a_server_error_that_stays_is_told(row: Row) {
    let subject = Subject::start(row).await;
    let before = subject.api.requests().len();
    subject.api.inject(vec![Fault::ServerError; 4]);
    let error = subject.append("x").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("500"), "{error}");
    assert_eq!(subject.api.requests().len() - before, 4, "tries are bounded");
}

async fn nonsense_is_not_understood(row: Row) {
    let subject = Subject::start(row).await;
    subject.api.inject([Fault::Garbage]);
    let error = subject.append("x").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

async fn a_record_that_is_not_listed_yet_is_removed(row: Row) {
    let subject = Subject::start(row).await;
    subject.api.lag(5);
    subject.append("fresh").await.unwrap();
    subject.remove("fresh").await.unwrap();
    assert_eq!(subject.values(), [""; 0]);
}

async fn a_slow_server_is_given_up(row: Row) {
    let subject = Subject::start(row).await;
    let settings =
        subject.api.settings().into_iter().map(|(name, value)| (name, Secret::new(value)));
    let options = Options {
        timeout: Duration::from_millis(100),
        attempts: 2,
        pause: Duration::from_millis(1),
        ..Options::default()
    };
    let hasty = dns::build(row.kind, &settings.collect(), options).unwrap();
    subject.api.inject(vec![Fault::Slow(Duration::from_secs(60)); 2]);
    let start = Instant::now();
    let error = hasty.append_txt(&subject.zone, &subject.name, "x").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(start.elapsed() < SOON);
}

async fn a_closed_connection_is_tried_again(row: Row) {
    let subject = Subject::start(row).await;
    subject.api.inject([Fault::Close]);
    subject.append("x").await.unwrap();
    assert_eq!(subject.values(), ["x"]);
}

async fn credentials_are_in_no_error(row: Row) {
    let subject = Subject::start(row).await;
    for fault in [Fault::Garbage, Fault::RateLimit(Some(60)), Fault::ServerError, Fault::Close] {
        subject.api.inject(vec![fault; 4]);
        let error = subject.append("x").await.unwrap_err();
        let mut told = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            told += &format!(" {cause} {cause:?}");
            source = cause.source();
        }
        assert!(!told.contains(CREDENTIAL), "{told}");
        // What was not used up by this call.
        while subject.api.take_fault().is_some() {}
    }
}

async fn credentials_are_in_no_log(row: Row) {
    // Of this thread, which the scripted server does not run on.
    let log = Log::start();
    let subject = Subject::start(row).await;
    subject.api.inject([Fault::ServerError]);
    subject.append("x").await.unwrap();
    subject.remove("x").await.unwrap();
    let log = log.text();
    assert!(log.contains(row.kind) && log.contains("asked"), "it is a log: {log}");
    assert!(!log.contains(CREDENTIAL), "{log}");
}

async fn nobody_there_is_told(row: Row) {
    let subject = Subject::start(row).await;
    let mut settings = subject.api.settings();
    settings.insert("endpoint".into(), format!("http://127.0.0.1:{}", testkit::free_port()));
    let error =
        build(row, settings).append_txt(&subject.zone, &subject.name, "x").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}
