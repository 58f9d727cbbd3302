use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::Error;

/// How fast tokens come back and how many there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds for one token, at least 1.
    interval: u64,
    /// Tokens of a full bucket, at least 1.
    burst: u32,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_BURST: u32 = 1_000_000;

impl Rate {
    /// `limit` requests per `window`, of which `burst` at once (as many as `limit` unless given).
    ///
    /// # Errors
    /// [`Error::Rate`] unless limit and burst are 1 to 1,000,000, the window is 1 ms to a day, and an empty bucket
    /// takes at most ten days to fill.
    pub fn new(limit: u32, window: Duration, burst: Option<u32>) -> Result<Self, Error> {
        let burst = burst.unwrap_or(limit);
        let wrong = |why| Err(Error::Rate { why });
        if !(1..=MAX_BURST).contains(&limit) || !(1..=MAX_BURST).contains(&burst) {
            return wrong("requests and burst must be 1 to 1,000,000");
        }
        if window < Duration::from_millis(1) || window > DAY {
            return wrong("the window must be 1 ms to a day");
        }
        let interval = (window.as_nanos() / u128::from(limit)).max(1);
        if interval * u128::from(burst) > (DAY * 10).as_nanos() {
            return wrong("the burst takes more than ten days to come back");
        }
        let interval = u64::try_from(interval).map_err(|_| Error::Rate { why: "too slow" })?;
        Ok(Self { interval, burst })
    }

    /// Nanoseconds in which an empty bucket fills.
    fn capacity(self) -> u64 {
        self.interval * u64::from(self.burst)
    }

    /// Takes a token from the bucket that will be full at `full_at`; both times in nanoseconds. The second value
    /// is when it will be full then.
    pub(super) fn take(self, full_at: u64, now: u64) -> (Standing, u64) {
        let full_at = full_at.max(now);
        let missing = full_at - now + self.interval;
        match self.capacity().checked_sub(missing) {
            Some(left) => {
                let standing = Standing {
                    admitted: true,
                    remaining: u32::try_from(left / self.interval).unwrap_or(u32::MAX),
                    wait: Duration::from_nanos(missing),
                };
                (standing, now + missing)
            }
            None => {
                let wait = Duration::from_nanos(missing - self.capacity());
                (Standing { admitted: false, remaining: 0, wait }, full_at)
            }
        }
    }
}

/// How a request stands with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it had a token.
    pub admitted: bool,
    /// Whole tokens left.
    pub remaining: u32,
    /// Until the bucket is full, or, for who wasn't admitted, until there is a token again.
    pub wait: Duration,
}

impl Standing {
    /// The value of `Retry-After`, and `t` of `RateLimit`: [`wait`](Self::wait) in whole seconds, rounded up.
    pub fn retry_after_seconds(&self) -> u64 {
        self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0)
    }
}

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The client's address; of IPv6 the network of 64 bits, which is one customer's.
    Client,
    /// The host: all clients together.
    Host,
    /// A field's value, such as an API key; a request without it by its client.
    Header(HeaderName),
}

/// Whom a request is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// A client.
    Client(IpAddr),
    /// All.
    Everybody,
    /// Who sent this value.
    Bearer(&'a [u8]),
}

/// One limit of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stands for host and name: buckets outlive an edit of the host that keeps the rule's name.
    pub(super) scope: u64,
    pub(super) rate: Rate,
    name: Box<str>,
    by: By,
    policy: HeaderValue,
}

/// What a client is told (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// `RateLimit`: what is left, and for how long that holds.
    pub remaining: HeaderValue,
    /// `RateLimit-Policy`: the rule.
    pub policy: HeaderValue,
}

impl Rule {
    /// A rule of `host` (its pattern), called `name`.
    ///
    /// # Errors
    /// [`Error::Rate`] when the name is not 1 to 40 of `a`–`z`, `0`–`9`, `-`, `_`.
    pub fn new(host: &str, name: &str, rate: Rate, by: By) -> Result<Self, Error> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !(1..=40).contains(&name.len()) || !name.bytes().all(is_plain) {
            return Err(Error::Rate { why: "the name must be 1 to 40 of a-z, 0-9, - and _" });
        }
        // The same bucket said by its size: so many at once come back in so many seconds.
        let window = rate.capacity().div_ceil(1_000_000_000);
        let policy = HeaderValue::try_from(format!("\"{name}\";q={};w={window}", rate.burst));
        let policy = policy.map_err(|_| Error::Rate { why: "the name is no field value" })?;
        let mut scope = DefaultHasher::new();
        (host, name).hash(&mut scope);
        Ok(Self { scope: scope.finish(), rate, name: name.into(), by, policy })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whom a request counts for.
    pub fn who<'a>(&self, client: IpAddr, headers: &'a http::HeaderMap) -> Who<'a> {
        match &self.by {
            By::Client => Who::Client(client),
            By::Host => Who::Everybody,
            By::Header(name) => match headers.get(name) {
                Some(value) => Who::Bearer(value.as_bytes()),
                None => Who::Client(client),
            },
        }
    }

    /// The fields of an answer to a request that stands so.
    pub fn fields(&self, standing: &Standing) -> Fields {
        let (r, t) = (standing.remaining, standing.retry_after_seconds());
        let (mut left, mut until) = (itoa::Buffer::new(), itoa::Buffer::new());
        let parts = ["\"", &self.name, "\";r=", left.format(r), ";t=", until.format(t)];
        let remaining = HeaderValue::try_from(parts.concat());
        Fields {
            // Visible ASCII: the fallback is never taken.
            remaining: remaining.unwrap_or_else(|_| HeaderValue::from_static("")),
            policy: self.policy.clone(),
        }
    }
}

/// The address that stands for a client's customer.
pub(super) fn customer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}
