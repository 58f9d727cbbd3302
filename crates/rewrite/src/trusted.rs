use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// The networks whose forwarding headers are believed. Empty by default: nobody.
///
/// Reads a comma-separated list of CIDR blocks, single addresses and the shorthand `private_ranges`
/// (RFC 1918, RFC 4193, loopback, link-local). IPv4-mapped IPv6 addresses count as their IPv4 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

const PRIVATE_RANGES: [&str; 8] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

impl TrustedProxies {
    /// Whether `ip` lies in one of the networks.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }
}

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self { networks: networks.into_iter().collect() }
    }
}

impl FromStr for TrustedProxies {
    type Err = TrustedProxiesError;

    fn from_str(list: &str) -> Result<Self, TrustedProxiesError> {
        let mut networks = Vec::new();
        for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if entry == "private_ranges" {
                networks.extend(PRIVATE_RANGES.iter().filter_map(|range| network(range)));
            } else {
                let wrong = || TrustedProxiesError { entry: entry.chars().take(120).collect() };
                networks.push(network(entry).ok_or_else(wrong)?);
            }
        }
        Ok(Self { networks })
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.networks.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

/// An entry that is no address, no CIDR block and no shorthand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxiesError {
    entry: String,
}

impl fmt::Display for TrustedProxiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is no address, no CIDR block such as 10.0.0.0/8 and not private_ranges",
            self.entry
        )
    }
}

impl std::error::Error for TrustedProxiesError {}

fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Some(IpNet::from(ip.to_canonical())),
        Err(_) => text.parse::<IpNet>().ok().map(|network| network.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, ip: &str) -> bool {
        list.parse::<TrustedProxies>().unwrap().contains(ip.parse().unwrap())
    }

    #[test]
    fn lists_hold_blocks_addresses_and_the_shorthand() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.1.2.3/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("192.0.2.7", "192.0.2.7"));
        assert!(!contains("192.0.2.7", "192.0.2.8"));
        assert!(contains(" , 2001:db8::/32 ,", "2001:db8::1"));
        for private in ["127.0.0.1", "::1", "172.31.0.1", "192.168.9.9", "fd00::1", "fe80::1"] {
            assert!(contains("private_ranges", private), "{private}");
        }
        assert!(!contains("private_ranges", "172.32.0.1"));
        assert!(!contains("", "127.0.0.1"));
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(contains("::ffff:10.0.0.1", "10.0.0.1"));
    }

    #[test]
    fn a_wrong_entry_is_named() {
        for wrong in ["10.0.0.0/33", "private", "example.com", "1.2.3"] {
            let list = format!("10.0.0.0/8, {wrong}");
            let error = list.parse::<TrustedProxies>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
