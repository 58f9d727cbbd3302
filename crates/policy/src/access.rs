use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::Error;

/// A set of networks, asked per request: two sorted lists of ranges, so that a list of a hundred thousand costs a
/// few steps more than one of ten.
///
/// An IPv4-mapped IPv6 address or network counts as its IPv4 one; `::/0` is all of IPv6 and nothing of IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
    /// As written, to tell which one it was.
    entries: Box<[IpNet]>,
}

/// Loopback, link-local, RFC 1918 and RFC 4193.
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

impl Networks {
    /// Reads CIDR blocks, single addresses and the shorthand `private_ranges`.
    ///
    /// # Errors
    /// [`Error::Network`] with the first entry that is none of these. There is no set then: a list that can't be read
    /// must not count as an empty one.
    pub fn parse<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut entries = Vec::new();
        for text in list {
            if text.trim() == "private_ranges" {
                entries.extend(PRIVATE_RANGES.iter().filter_map(|range| network(range)));
            } else {
                let wrong = || Error::Network { entry: text.chars().take(120).collect() };
                entries.push(network(text).ok_or_else(wrong)?);
            }
        }
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for entry in &entries {
            match entry {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Ok(Self { v4: merged(v4), v6: merged(v6), entries: entries.into() })
    }

    /// Whether an address lies in one of the networks.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => lies_in(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => lies_in(&self.v6, ip.to_bits()),
        }
    }

    /// The first entry that an address lies in; walks the whole list, so not for the request path.
    pub fn entry_of(&self, ip: IpAddr) -> Option<&IpNet> {
        let ip = ip.to_canonical();
        self.entries.iter().find(|entry| entry.contains(&ip))
    }

    /// Whether there is no network.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Which clients are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// When there are any: nobody else.
    pub allow: Networks,
    /// Not these, even if allowed.
    pub deny: Networks,
}

impl Access {
    /// Whether a client is let in.
    pub fn admits(&self, client: IpAddr) -> bool {
        !self.deny.contains(client) && (self.allow.is_empty() || self.allow.contains(client))
    }

    /// Why, in words.
    pub(crate) fn why(&self, client: IpAddr) -> String {
        match (self.deny.entry_of(client), self.allow.entry_of(client)) {
            (Some(entry), _) => format!("{client} lies in {entry}, which is denied"),
            (None, Some(entry)) => format!("{client} lies in {entry}, which is allowed"),
            (None, None) if self.allow.is_empty() => format!("{client} is not denied"),
            (None, None) => format!("{client} lies in no network that is allowed"),
        }
    }
}

fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let network = match text.parse::<IpAddr>() {
        Ok(ip) => IpNet::from(ip),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    let mapped = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);
    match network.trunc() {
        IpNet::V6(net) if net.prefix_len() >= 96 && net.network().to_ipv4_mapped().is_some() => {
            let v4 = net.network().to_ipv4_mapped()?;
            IpNet::new(v4.into(), net.prefix_len() - 96).ok()
        }
        // A wider one around all mapped addresses says nothing that can be kept in either list alone.
        IpNet::V6(net) if (81..96).contains(&net.prefix_len()) && net.contains(&mapped) => None,
        network => Some(network),
    }
}

/// Sorted, and what touches or overlaps made one.
fn merged<N: Copy + Ord + Next>(mut ranges: Vec<(N, N)>) -> Box<[(N, N)]> {
    ranges.sort_unstable();
    let mut out: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some((_, end)) if end.next().is_none_or(|next| first <= next) => *end = last.max(*end),
            _ => out.push((first, last)),
        }
    }
    out.into()
}

fn lies_in<N: Copy + Ord>(ranges: &[(N, N)], ip: N) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= ip);
    after > 0 && ip <= ranges[after - 1].1
}

trait Next: Sized {
    fn next(self) -> Option<Self>;
}

impl Next for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Next for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(list: &[&str]) -> Networks {
        Networks::parse(list.iter().copied()).unwrap()
    }

    #[test]
    fn deny_beats_allow_and_an_empty_list_allows_all() {
        let admits = |allow: &[&str], deny: &[&str], ip: &str| {
            let access = Access { allow: networks(allow), deny: networks(deny) };
            access.admits(ip.parse().unwrap())
        };
        for (allow, deny, ip, want) in [
            (&[][..], &[][..], "1.2.3.4", true),
            (&["10.0.0.0/8"], &[], "10.1.1.1", true),
            (&["10.0.0.0/8"], &[], "::ffff:10.1.1.1", true),
            (&["10.0.0.0/8"], &[], "11.1.1.1", false),
            (&["10.0.0.0/8"], &[], "2001:db8::1", false),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.1.1", false),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "10.2.1.1", true),
            (&[], &["::ffff:10.0.0.0/104"], "10.2.1.1", false),
            (&[], &["::ffff:10.0.0.1"], "10.0.0.1", false),
            (&[], &["0.0.0.0/0"], "1.1.1.1", false),
            (&[], &["0.0.0.0/0"], "2001:db8::1", true),
            (&[], &["::/0"], "2001:db8::1", false),
            (&[], &["::/0"], "1.1.1.1", true),
            (&[], &["::/0"], "::ffff:1.1.1.1", true),
            (&["private_ranges"], &[], "192.168.1.1", true),
            (&["private_ranges"], &[], "fe80::1", true),
            (&["private_ranges"], &[], "8.8.8.8", false),
            (&["10.9.9.9/8"], &[], "10.1.1.1", true),
        ] {
            assert_eq!(admits(allow, deny, ip), want, "{ip} with {allow:?} but not {deny:?}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_list() {
        for wrong in [
            "",
            " ",
            "10.0.0.0/33",
            "10.0.0",
            "example.com",
            "10.0.0.1-10.0.0.9",
            "::/129",
            "fe80::1%eth0",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/8 ,",
            "all",
            "::ffff:0:0/90",
        ] {
            let error = Networks::parse(["10.0.0.0/8", wrong]).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }

    #[test]
    fn the_reason_names_the_entry() {
        let access = Access {
            allow: networks(&["10.0.0.0/8"]),
            deny: networks(&["10.1.0.0/16", "10.1.1.0/24"]),
        };
        let why = |ip: &str| access.why(ip.parse().unwrap());
        assert_eq!(why("10.1.1.1"), "10.1.1.1 lies in 10.1.0.0/16, which is denied");
        assert_eq!(why("10.2.1.1"), "10.2.1.1 lies in 10.0.0.0/8, which is allowed");
        assert_eq!(why("1.1.1.1"), "1.1.1.1 lies in no network that is allowed");
    }

    /// Few bits, so that networks overlap, touch and hold each other.
    fn small_network() -> impl Strategy<Value = IpNet> {
        (any::<bool>(), 0u8..16, 0u8..=4).prop_map(|(v6, bits, length)| {
            let ip = match v6 {
                false => IpAddr::from([bits << 4, 0, 0, 0]),
                true => IpAddr::from([u16::from(bits) << 12, 0, 0, 0, 0, 0, 0, 1]),
            };
            IpNet::new(ip, length).unwrap()
        })
    }

    proptest! {
        #[test]
        fn sorted_ranges_know_what_a_walk_knows(
            list in proptest::collection::vec(small_network(), 0..12),
        ) {
            let texts: Vec<_> = list.iter().map(IpNet::to_string).collect();
            let networks = Networks::parse(texts.iter().map(|it| &**it)).unwrap();
            for high in 0..=255u8 {
                for low in [0, 1, 255] {
                    let v4 = IpAddr::from([high, low, low, low]);
                    let v6 = IpAddr::from([u16::from(high) << 8, 0, 0, 0, 0, 0, 0, u16::from(low)]);
                    for ip in [v4, v6] {
                        let walked = list.iter().any(|net| net.trunc().contains(&ip));
                        prop_assert_eq!(networks.contains(ip), walked);
                        prop_assert_eq!(networks.entry_of(ip).is_some(), walked);
                    }
                }
            }
        }
    }
}
