//! How the requests of a host are shared out among its upstreams, and what is done about those that fail.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Upstream;
use crate::rules::is_default;

/// How requests are shared out; the same for the host's own upstreams and for those of each of its routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BalanceRules {
    /// Who is next.
    #[serde(skip_serializing_if = "is_default")]
    pub policy: BalancePolicy,
    /// Shares by upstream, 1 to 256; 1 for one that is not named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u16>,
    /// Upstreams that get requests only when none of the others is usable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backup: Vec<Upstream>,
    /// The name of the cookie for [`BalancePolicy::Cookie`]; [`BalanceRules::COOKIE`] if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
}

impl BalanceRules {
    /// What the cookie is called.
    pub const COOKIE: &str = "gw_upstream";
    /// The largest weight.
    pub const MAX_WEIGHT: u16 = 256;

    /// The weight of an upstream.
    pub fn weight(&self, upstream: &Upstream) -> u16 {
        let named =
            |(name, _): &(&String, &u16)| name.parse().is_ok_and(|it: Upstream| it == *upstream);
        self.weights.iter().find(named).map_or(1, |(_, weight)| *weight)
    }
}

/// Which upstream is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BalancePolicy {
    /// One after the other, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastRequests,
    /// Of two at random, the one with fewer requests in flight.
    RandomTwo,
    /// Always the same for a client's address; an upstream that is lost moves only its own clients.
    ClientHash,
    /// Always the same for a browser, which is told by a cookie.
    Cookie,
}

impl BalancePolicy {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastRequests => "least_requests",
            Self::RandomTwo => "random_two",
            Self::ClientHash => "client_hash",
            Self::Cookie => "cookie",
        }
    }
}

/// How the health of upstreams is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthRules {
    /// What each upstream is asked for regularly; without it, it is judged by what becomes of requests alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How often it is asked.
    pub interval: Span,
    /// How long it may take to answer that.
    pub timeout: Span,
    /// The statuses that are good.
    pub expect: Vec<StatusRange>,
    /// After how many good answers in a row it is used again.
    pub healthy_after: u32,
    /// After how many bad ones in a row it is not.
    pub unhealthy_after: u32,
    /// After how many failed requests in a row it is left out for a while. One that can't be connected to is left out
    /// at once.
    pub failures: u32,
    /// For how long, the first time; twice as long each further time.
    pub eject_for: Span,
    /// For how long at most.
    pub eject_at_most: Span,
    /// Whether its answers 502, 503 and 504 count as failures.
    pub gateway_errors: bool,
}

impl Default for HealthRules {
    fn default() -> Self {
        Self {
            path: None,
            interval: Span::seconds(15),
            timeout: Span::seconds(2),
            expect: vec![StatusRange { low: 200, high: 499 }],
            healthy_after: 2,
            unhealthy_after: 3,
            failures: 3,
            eject_for: Span::seconds(1),
            eject_at_most: Span::seconds(60),
            gateway_errors: false,
        }
    }
}

/// When an upstream that keeps failing is not asked any more, but for a probe now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerRules {
    /// After how many failed requests in a row it opens.
    pub failures: u32,
    /// How long it stays open before one request probes.
    pub open_for: Span,
    /// After how many good probes in a row it closes.
    pub successes: u32,
    /// Whether answers 502, 503 and 504 count as failures.
    pub gateway_errors: bool,
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self { failures: 5, open_for: Span::seconds(10), successes: 2, gateway_errors: false }
    }
}

/// A length of time of at most a day, written as `500ms`, `15s`, `2m` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u32);

impl Span {
    const UNITS: [(&str, u32); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    const LONGEST: u32 = 24 * 3_600_000;

    /// So many seconds, a day at most.
    pub const fn seconds(seconds: u32) -> Self {
        let millis = seconds.saturating_mul(1_000);
        Self(if millis > Self::LONGEST { Self::LONGEST } else { millis })
    }

    /// Its length.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0.into())
    }

    /// Its length in milliseconds.
    pub fn millis(self) -> u64 {
        self.0.into()
    }
}

/// A text that is no [`Span`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no length of time of a day at most, like 500ms, 15s, 2m or 1h")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let parsed = || {
            let at = text.find(|c: char| !c.is_ascii_digit())?;
            let (number, unit) = (text[..at].parse::<u32>().ok()?, &text[at..]);
            let (_, millis) = Self::UNITS.iter().find(|(name, _)| *name == unit)?;
            number.checked_mul(*millis).filter(|total| *total <= Self::LONGEST).map(Self)
        };
        parsed().ok_or_else(|| SpanError(text.chars().take(40).collect()))
    }
}

/// In the largest unit that it is whole in.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Self::UNITS.iter().rfind(|(_, millis)| self.0.is_multiple_of(*millis));
        match whole {
            Some((unit, millis)) if self.0 > 0 => write!(f, "{}{unit}", self.0 / millis),
            _ => write!(f, "{}ms", self.0),
        }
    }
}

/// Statuses from one to another, both included: `200-399`, or `204` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    low: u16,
    high: u16,
}

impl StatusRange {
    /// Whether a status is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

/// A text that is no [`StatusRange`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no range of statuses like 200-399, and no status like 204")]
pub struct StatusRangeError(String);

impl FromStr for StatusRange {
    type Err = StatusRangeError;

    fn from_str(text: &str) -> Result<Self, StatusRangeError> {
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|it| digits && (200..=599).contains(it))
        };
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        match (status(low), status(high)) {
            (Some(low), Some(high)) if low <= high => Ok(Self { low, high }),
            _ => Err(StatusRangeError(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.low == self.high {
            true => write!(f, "{}", self.low),
            false => write!(f, "{}-{}", self.low, self.high),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, millis, shown) in [
            ("500ms", 500, "500ms"),
            ("15s", 15_000, "15s"),
            ("60s", 60_000, "1m"),
            ("1500ms", 1_500, "1500ms"),
            ("24h", 86_400_000, "24h"),
            ("0s", 0, "0ms"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.millis(), span.to_string().as_str()), (millis, shown));
        }
        for bad in ["", "10", "s", "-1s", "1.5s", "1 s", "1d", "25h", "99999999999s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_of_statuses() {
        let range: StatusRange = "200-399".parse().unwrap();
        assert!(range.contains(200) && range.contains(399) && !range.contains(400));
        assert_eq!(range.to_string(), "200-399");
        assert_eq!("204".parse::<StatusRange>().unwrap().to_string(), "204");
        for bad in ["", "-", "200-", "199", "600", "300-200", "2xx", "+20", "200-300-400"] {
            assert!(bad.parse::<StatusRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let rules: BalanceRules =
            serde_json::from_str(r#"{"weights":{"a:80":3},"backup":["b:80"]}"#).unwrap();
        assert_eq!(
            (rules.policy, rules.weight(&"A:80".parse().unwrap())),
            (BalancePolicy::RoundRobin, 3)
        );
        assert_eq!(rules.weight(&"b:80".parse().unwrap()), 1);
        let health: HealthRules =
            serde_json::from_str(r#"{"path":"/up","interval":"1s"}"#).unwrap();
        assert_eq!(health.interval, Span::seconds(1));
        assert_eq!(health.expect, HealthRules::default().expect);
        assert!(serde_json::from_str::<HealthRules>(r#"{"interval":15}"#).is_err());
    }
}
