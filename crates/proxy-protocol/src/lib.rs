//! The PROXY protocol, versions 1 and 2: a proxy that passes on a connection says at its beginning whose it is.
//!
//! Bytes in, addresses out, and back: no sockets. What is done to the letter of the specification (HAProxy's
//! `proxy-protocol.txt`, revision of 2020/03/05) is at each rule. [`parse`] takes any bytes and never panics.
//!
//! ```
//! use proxy_protocol::{Addresses, Header, Parsed, Version, parse, write};
//!
//! let told = Addresses { source: "203.0.113.9:4711".parse()?, destination: "192.0.2.1:443".parse()? };
//! let wire = write(Version::V1, &told);
//! assert_eq!(wire, b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n");
//! let header = Header::Proxied(told);
//! assert_eq!(parse(&wire), Parsed::Whole { header, length: wire.len() });
//! assert_eq!(parse(b"PROXY TCP4 2"), Parsed::Partial { needed: proxy_protocol::SHORTEST });
//! assert!(matches!(parse(b"GET / HTTP/1.1\r\n"), Parsed::Wrong(_)));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
#![forbid(unsafe_code)]

mod crc32c;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

/// The fewest bytes that either version's header has: so many may be read before it is known which it is.
pub const SHORTEST: usize = 15;

/// What the beginning of a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A header, and of how many bytes; what follows is the connection's own.
    Whole {
        /// What it says.
        header: Header,
        /// Its length in bytes.
        length: usize,
    },
    /// The beginning of a header, which has at least `needed` bytes.
    Partial {
        /// How many there must be before it is worth looking again.
        needed: usize,
    },
    /// No header, or a wrong one.
    Wrong(Fault),
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The proxy's own (a health check), or of somebody whose address can't be told: the addresses of the connection count.
    Local,
    /// Somebody's behind the proxy.
    Proxied(Addresses),
}

/// Both ends of the connection that the proxy accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Something else begins here.
    #[error("no PROXY protocol header")]
    Missing,
    /// It does not end where it must.
    #[error("a PROXY protocol header that is too long")]
    TooLong,
    /// It is none of the forms of its version.
    #[error("a malformed PROXY protocol header")]
    Malformed,
    /// Its bytes are not those that were sent.
    #[error("a PROXY protocol header whose checksum is wrong")]
    Checksum,
}

/// Reads a header from the first bytes of a connection.
pub fn parse(bytes: &[u8]) -> Parsed {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, own)| byte == own);
    let parsed = if begins(v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins(v1::SIGNATURE) {
        v1::parse(bytes)
    } else {
        Err(Fault::Missing)
    };
    parsed.unwrap_or_else(Parsed::Wrong)
}

/// A header that says whose a connection is. Addresses of two families are both written as IPv6.
pub fn write(version: Version, addresses: &Addresses) -> Vec<u8> {
    let Addresses { source, destination } = addresses;
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let (from, to) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (from.into(), to.into()),
        (from, to) => (wide(from), wide(to)),
    };
    let ends = [SocketAddr::new(from, source.port()), SocketAddr::new(to, destination.port())];
    match version {
        Version::V1 => v1::write(ends),
        Version::V2 => v2::write(ends),
    }
}

fn wide(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Header {
        match parse(bytes) {
            Parsed::Whole { header, length } if length == bytes.len() => header,
            other => panic!("{other:?}"),
        }
    }

    fn canonical(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(source: SocketAddr, destination: SocketAddr, more: Vec<u8>, v2: bool) {
            let version = if v2 { Version::V2 } else { Version::V1 };
            let wire = write(version, &Addresses { source, destination });
            let Header::Proxied(read) = whole(&wire) else { panic!("not proxied") };
            prop_assert_eq!(canonical(read.source), canonical(source));
            prop_assert_eq!(canonical(read.destination), canonical(destination));
            // What follows is not looked at.
            let followed = [&wire[..], &more].concat();
            let whole = matches!(parse(&followed), Parsed::Whole { length, .. } if length == wire.len());
            prop_assert!(whole);
            // A part is known for one, and never asks for more than there is.
            for end in 0..wire.len() {
                let Parsed::Partial { needed } = parse(&wire[..end]) else { panic!("{end}") };
                prop_assert!(needed > end && needed <= wire.len());
            }
        }

        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>, which in 0..3u8) {
            let begin: &[u8] = match which { 0 => b"", 1 => v1::SIGNATURE, _ => v2::SIGNATURE };
            let bytes = [begin, &bytes].concat();
            match parse(&bytes) {
                Parsed::Whole { length, .. } => prop_assert!(length <= bytes.len()),
                Parsed::Partial { needed } => prop_assert!(needed > bytes.len()),
                Parsed::Wrong(_) => {}
            }
        }

        #[test]
        fn a_flipped_bit_is_seen_where_there_is_a_checksum(source: SocketAddr, destination: SocketAddr, bit in 0usize..4096) {
            let plain = write(Version::V2, &Addresses { source, destination });
            let mut wire = v2::with_checksum(&plain);
            prop_assert!(matches!(whole(&wire), Header::Proxied(_)));
            let bit = 12 * 8 + bit % ((wire.len() - 12) * 8);
            // Without its kind it is no checksum any more.
            prop_assume!(bit / 8 != plain.len());
            wire[bit / 8] ^= 1 << (bit % 8);
            // A flip in the command or the family may turn it into one that says nothing.
            let told = matches!(parse(&wire), Parsed::Whole { header: Header::Proxied(_), .. });
            prop_assert!(!told, "bit {}", bit);
        }
    }
}
