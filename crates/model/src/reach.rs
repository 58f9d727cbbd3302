//! Where no upstream may lead: whoever may edit hosts must not come by what only this machine was meant to reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Where clouds tell a machine its own secrets, beside the link-local addresses.
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// What is refused to upstreams: link-local addresses, those of metadata services, and listeners of our own, but for what the
/// operator of the machine allows.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    own: Vec<SocketAddr>,
    allowed: Vec<Allowed>,
}

/// An entry of `ALLOW_UPSTREAMS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Every port of these addresses.
    Network(IpNet),
    /// This one.
    Address(SocketAddr),
}

/// Why nothing is sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutOfReach {
    /// Only the machine itself speaks on such an address, often with the one that hosts it.
    #[error("is link-local; ALLOW_UPSTREAMS can allow it")]
    LinkLocal,
    /// A cloud tells secrets there.
    #[error("is a metadata service; ALLOW_UPSTREAMS can allow it")]
    Metadata,
    /// The gateway's own administration.
    #[error("is a listener of the gateway's own administration; ALLOW_UPSTREAMS can allow it")]
    Own,
}

impl Reach {
    /// Refuses these listeners of our own too, and allows what is listed.
    pub fn new(own: Vec<SocketAddr>, allowed: Vec<Allowed>) -> Self {
        Self { own, allowed }
    }

    /// Why nothing may be sent to an address; `None`: it may. `is_ours` tells whether this machine has an address, and is asked
    /// at most once.
    pub fn refuses(
        &self,
        address: SocketAddr,
        is_ours: impl FnOnce(IpAddr) -> bool,
    ) -> Option<OutOfReach> {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let why = if is_link_local(ip) {
            OutOfReach::LinkLocal
        } else if METADATA.contains(&ip) {
            OutOfReach::Metadata
        } else if self.is_own(ip, port, is_ours) {
            OutOfReach::Own
        } else {
            return None;
        };
        let allows = |allowed: &Allowed| match allowed {
            Allowed::Network(network) => network.contains(&ip),
            Allowed::Address(allowed) => {
                (allowed.ip().to_canonical(), allowed.port()) == (ip, port)
            }
        };
        (!self.allowed.iter().any(allows)).then_some(why)
    }

    fn is_own(&self, ip: IpAddr, port: u16, is_ours: impl FnOnce(IpAddr) -> bool) -> bool {
        let mut listening = self.own.iter().filter(|own| own.port() == port);
        let mut everywhere = false;
        let hit = listening.any(|own| {
            let own = own.ip().to_canonical();
            everywhere |= own.is_unspecified();
            // The unspecified address leads to this machine's loopback.
            own == ip || (ip.is_unspecified() && (own.is_loopback() || own.is_unspecified()))
        });
        hit || (everywhere && (ip.is_loopback() || is_ours(ip)))
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(own: &[&str], allowed: &[Allowed]) -> Reach {
        Reach::new(own.iter().map(|it| it.parse().unwrap()).collect(), allowed.to_vec())
    }

    fn refused(reach: &Reach, address: &str) -> Option<OutOfReach> {
        reach.refuses(address.parse().unwrap(), |ip| ip == IpAddr::from([192, 0, 2, 5]))
    }

    #[test]
    fn what_only_the_machine_may_reach_is_out_of_reach() {
        let plain = reach(&[], &[]);
        for address in
            ["169.254.169.254:80", "[fe80::1]:80", "[febf::1]:80", "[::ffff:169.254.0.1]:1"]
        {
            assert_eq!(refused(&plain, address), Some(OutOfReach::LinkLocal), "{address}");
        }
        for address in ["100.100.100.200:80", "[fd00:ec2::254]:80", "[::ffff:100.100.100.200]:80"] {
            assert_eq!(refused(&plain, address), Some(OutOfReach::Metadata), "{address}");
        }
        for address in ["127.0.0.1:3000", "10.0.0.1:80", "[::1]:80", "[fd00::1]:80", "[fec0::1]:80"]
        {
            assert_eq!(refused(&plain, address), None, "{address}");
        }
    }

    #[test]
    fn own_listeners_are_known_by_every_address_that_leads_there() {
        let one = reach(&["127.0.0.1:9180", "192.0.2.5:3000"], &[]);
        for (address, own) in [
            ("127.0.0.1:9180", true),
            ("[::ffff:127.0.0.1]:9180", true),
            ("0.0.0.0:9180", true),
            ("[::]:9180", true),
            ("127.0.0.1:9181", false),
            ("127.0.0.1:3000", false),
            ("192.0.2.5:3000", true),
            ("0.0.0.0:3000", false),
        ] {
            assert_eq!(refused(&one, address), own.then_some(OutOfReach::Own), "{address}");
        }
        let all = reach(&["[::]:3000"], &[]);
        for (address, own) in [
            ("127.0.0.1:3000", true),
            ("127.9.9.9:3000", true),
            ("[::1]:3000", true),
            ("0.0.0.0:3000", true),
            ("192.0.2.5:3000", true),
            ("192.0.2.6:3000", false),
            ("192.0.2.5:3001", false),
        ] {
            assert_eq!(refused(&all, address), own.then_some(OutOfReach::Own), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_in_reach() {
        let allowed = [
            Allowed::Network("169.254.0.0/24".parse().unwrap()),
            Allowed::Address("127.0.0.1:9180".parse().unwrap()),
        ];
        let reach = reach(&["127.0.0.1:9180", "127.0.0.1:3000"], &allowed);
        for (address, own) in [
            ("169.254.0.9:80", false),
            ("[::ffff:169.254.0.9]:80", false),
            ("169.254.1.9:80", true),
            ("127.0.0.1:9180", false),
            ("127.0.0.1:3000", true),
        ] {
            assert_eq!(refused(&reach, address).is_some(), own, "{address}");
        }
    }
}
