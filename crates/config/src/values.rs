//! What single values mean. Every parser says only what is wrong: where it stands and what it is, the reader adds.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use model::{Allowed, Secret};

use crate::AcmeChallenge;

/// A place to listen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listen {
    /// An address; port 0 takes a free one.
    Address(SocketAddr),
    /// A socket handed over by the service manager under this name.
    Inherited(String),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Inherited(name) => write!(f, "fd:{name}"),
        }
    }
}

pub(crate) fn listen(text: &str) -> Result<Listen, String> {
    if let Some(name) = text.strip_prefix("fd:") {
        // What systemd allows in FileDescriptorName=.
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        return match name {
            "" => Err("names no socket after fd:".to_owned()),
            name if !name.bytes().all(fits) => Err("is no name of a socket".to_owned()),
            name => Ok(Listen::Inherited(name.to_owned())),
        };
    }
    text.parse().map(Listen::Address).map_err(|_| {
        "is no ADDRESS:PORT; say 127.0.0.1:80, or [::]:80 for every address".to_owned()
    })
}

/// Where shared state is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// In this directory, for this process alone.
    Embedded(PathBuf),
    /// On Redis, by this URL, whose scheme is one of those allowed. It may hold a password: `Debug` and `Display` leave
    /// that out.
    Redis(Secret<String>),
}

const REDIS_SCHEMES: [&str; 7] = [
    "redis",
    "rediss",
    "redis-sentinel",
    "rediss-sentinel",
    "redis-cluster",
    "rediss-cluster",
    "redis+unix",
];

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(directory) => write!(f, "embedded:{}", directory.display()),
            Self::Redis(url) => f.write_str(&without_password(url.expose())),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

pub(crate) fn store_url(text: &str) -> Result<StoreUrl, String> {
    if let Some(directory) = text.strip_prefix("embedded:") {
        return match directory {
            "" => Err("names no directory after embedded:".to_owned()),
            directory => Ok(StoreUrl::Embedded(directory.into())),
        };
    }
    match text.split_once("://") {
        Some((scheme, "")) if REDIS_SCHEMES.contains(&scheme) => Err("names no server".to_owned()),
        Some((scheme, _)) if REDIS_SCHEMES.contains(&scheme) => {
            Ok(StoreUrl::Redis(Secret::new(text.to_owned())))
        }
        _ => Err(format!("has none of the schemes {}://, embedded:", REDIS_SCHEMES.join("://, "))),
    }
}

/// Whether a Redis URL names a cluster.
pub(crate) fn is_cluster(url: &str) -> bool {
    url.split(':').next().is_some_and(|scheme| scheme.ends_with("-cluster"))
}

/// The file that names this machine's groups.
const GROUPS: &str = "/etc/group";

/// A group by its number, or by its name in [`GROUPS`].
pub(crate) fn group(text: &str) -> Result<u32, String> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let groups = std::fs::read_to_string(GROUPS);
    let groups = groups.map_err(|error| format!("can't be looked up in {GROUPS}: {error}"))?;
    group_id(&groups, text).ok_or_else(|| format!("is no group of {GROUPS} and no number"))
}

/// The number of a group in the text of [`GROUPS`].
fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// As [`without_password`], for a text that may be no URL at all.
pub(crate) fn without_password_if_url(text: &str) -> String {
    if text.contains("://") { without_password(text) } else { text.to_owned() }
}

/// The URL with its password, and passwords among its parameters, replaced by `***`.
pub(crate) fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (address, query) = match rest.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (rest, None),
    };
    let address = match address.rsplit_once('@') {
        Some((account, host)) => {
            let user = account.split_once(':').map_or("", |(user, _)| user);
            format!("{user}:***@{host}")
        }
        None => address.to_owned(),
    };
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(hide).collect::<Vec<_>>().join("&"));
    match query {
        Some(query) => format!("{scheme}://{address}?{query}"),
        None => format!("{scheme}://{address}"),
    }
}

/// `10s`, `1500ms`, `2m`, `1h`.
/// An absolute path without `..`.
pub(crate) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
    if path.is_absolute() && !climbs {
        Ok(path)
    } else {
        Err("is no absolute path without ..".to_owned())
    }
}

/// A way to prove a name.
pub(crate) fn challenge(text: &str) -> Result<AcmeChallenge, String> {
    match text {
        "http-01" => Ok(AcmeChallenge::Http01),
        "tls-alpn-01" => Ok(AcmeChallenge::TlsAlpn01),
        "dns-01" => Ok(AcmeChallenge::Dns01),
        _ => Err("is none of http-01, tls-alpn-01, dns-01".to_owned()),
    }
}

/// A name server: an address, with a port unless that is 53.
pub(crate) fn resolver(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let wrong = || "is no address of a name server: 192.0.2.1, [2001:db8::1]:5353".to_owned();
    match bare.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, 53)),
        Err(_) => text.parse().map_err(|_| wrong()),
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "is no duration like 500ms, 10s, 2m or 1h".to_owned();
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..unit].parse().map_err(|_| wrong())?;
    let millis: u64 = match &text[unit..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    // A year is beyond any use and far from where adding to a time overflows.
    let total = number.checked_mul(millis).filter(|total| *total <= 366 * 24 * 3_600_000);
    total.map(Duration::from_millis).ok_or_else(|| "is longer than a year".to_owned())
}

pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// A network, a single address, or the name of several.
pub(crate) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    const PRIVATE: [&str; 6] =
        ["10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fd00::/8"];
    if text == "private_ranges" {
        return Ok(PRIVATE.iter().filter_map(|network| network.parse().ok()).collect());
    }
    let network =
        text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()));
    network
        .map(|network: IpNet| vec![network.trunc()])
        .map_err(|_| "is no address, network (10.0.0.0/8) or private_ranges".to_owned())
}

/// Where upstreams may be although they are out of reach: what [`networks`] takes, or an address with its port.
pub(crate) fn allowed(text: &str) -> Result<Vec<Allowed>, String> {
    if let Ok(address) = text.parse() {
        return Ok(vec![Allowed::Address(address)]);
    }
    let all = networks(text).map_err(|_| {
        "is no network (169.254.0.0/16), address, private_ranges, or address with its port (127.0.0.1:3000)"
    })?;
    Ok(all.into_iter().map(Allowed::Network).collect())
}

/// A level, or levels by part: `info,proxy=debug`.
pub(crate) fn log(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let good = |item: &str| {
        let (part, level) = item.split_once('=').unwrap_or(("all", item));
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
        LEVELS.contains(&level) && !part.is_empty() && part.bytes().all(named)
    };
    match text.split(',').all(good) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "is no level ({}) nor levels by part (info,proxy=debug)",
            LEVELS.join(", ")
        )),
    }
}

pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

pub(crate) fn port(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| "is no port, 1 to 65535".to_owned())
}

pub(crate) fn workers(text: &str) -> Result<usize, String> {
    if text == "cores" {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from));
    }
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("is neither cores nor a number from 1 to 1024".to_owned()),
    }
}

pub(crate) fn entries(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 0..=1_000_000) => Ok(count),
        _ => Err("is no number from 0 to 1000000".to_owned()),
    }
}

/// How many connections a client may have; 0: any number.
pub(crate) fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        _ if text == "off" => Ok(0),
        Ok(count @ 0..=1_000_000) => Ok(count),
        _ => Err("is neither off nor a number from 0 to 1000000".to_owned()),
    }
}

pub(crate) fn graphs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 0..=10_000) => Ok(count),
        _ => Err("is no number from 0 to 10000".to_owned()),
    }
}

pub(crate) fn error_status(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(status @ 400..=599) => Ok(status),
        _ => Err("is no status from 400 to 599".to_owned()),
    }
}

pub(crate) fn instance(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if text.len() <= 64 && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("is no name of at most 64 letters, digits, dots, dashes and underscores".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn store_schemes() {
        for good in ["redis://h", "rediss://u:p@h:1/2", "redis+unix:///run/r", "embedded:x"] {
            assert!(store_url(good).is_ok(), "{good}");
        }
        for bad in ["", "h:6379", "http://h", "redis:h", "redis://", "embedded:", "REDIS://h"] {
            assert!(store_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (url, shown) in [
            ("redis://h:1/0", "redis://h:1/0"),
            ("redis://:pw@h", "redis://:***@h"),
            ("redis://pw@h", "redis://:***@h"),
            ("redis://u:p@w@h", "redis://u:***@h"),
            (
                "redis-sentinel://h?a=b&sentinelPassword=x",
                "redis-sentinel://h?a=b&sentinelPassword=***",
            ),
        ] {
            assert_eq!(store_url(url).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "9999999h"]
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn log_levels() {
        for good in ["info", "off", "info,proxy=debug", "warn,store::embedded=trace"] {
            assert_eq!(log(good), Ok(good.to_owned()));
        }
        for bad in ["", "loud", "info,", "proxy", "=info", "info,proxy=loud", "a b=info"] {
            assert!(log(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_are_whole() {
        assert_eq!(networks("10.1.2.3/8").unwrap()[0].to_string(), "10.0.0.0/8");
        assert_eq!(networks("::1").unwrap()[0].to_string(), "::1/128");
        assert_eq!(networks("private_ranges").unwrap().len(), 6);
        assert!(networks("10.0.0.0/33").is_err());
    }

    #[test]
    fn groups_by_name_and_number() {
        assert_eq!(group_id("root:x:0:\nwww-data:x:33:a,b\n", "www-data"), Some(33));
        assert_eq!(group_id("root:x:0:\nodd\n", "odd"), None);
        assert_eq!((group("1234"), group("root")), (Ok(1234), Ok(0)));
        assert!(group("no such group").is_err());
    }

    #[test]
    fn what_is_allowed_is_a_network_or_a_port() {
        assert_eq!(allowed("[::1]:80"), Ok(vec![Allowed::Address("[::1]:80".parse().unwrap())]));
        assert_eq!(allowed("::1"), Ok(vec![Allowed::Network("::1/128".parse().unwrap())]));
        assert_eq!(allowed("private_ranges").unwrap().len(), 6);
        assert!(allowed("app:80").unwrap_err().contains("127.0.0.1:3000"));
        assert_eq!((connections("off"), connections("7")), (Ok(0), Ok(7)));
        assert!(connections("-1").is_err() && graphs("10001").is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,24}|[0-9a-z:/@?&=.\\[\\]]{0,24}") {
            let _ = (listen(&text), store_url(&text), duration(&text), networks(&text));
            let _ = (workers(&text), error_status(&text), instance(&text), without_password(&text));
        }
    }
}
