//! Version 2: binary (§2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::crc32c::crc32c;
use crate::{Addresses, Fault, Header, Parsed};

pub(crate) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, length.
const FIXED: usize = 16;
/// The longest rest that is waited for. Senders add a few hundred bytes at most, or a client's certificate.
const LONGEST: usize = 16 * 1024;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// The type of the additional value that has a checksum.
const CHECKSUM: u8 = 0x03;

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Parsed::Partial { needed: crate::SHORTEST.max(bytes.len() + 1) });
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | PROXY) {
        return Err(Fault::Malformed);
    }
    if length > LONGEST {
        return Err(Fault::TooLong);
    }
    let whole = FIXED + length;
    let Some(rest) = rest.get(..length) else { return Ok(Parsed::Partial { needed: whole }) };
    let header = match command {
        PROXY => told(&bytes[..whole], family, rest)?,
        // LOCAL: the family and all that follows are to be ignored.
        _ => Header::Local,
    };
    Ok(Parsed::Whole { header, length: whole })
}

/// What PROXY says. Families that are not known are to be refused; of those known, what isn't TCP counts as unspecified.
fn told(whole: &[u8], family: u8, rest: &[u8]) -> Result<Header, Fault> {
    let size = match family >> 4 {
        0 => return valid(family, Header::Local),
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(Fault::Malformed),
    };
    let (addresses, more) = rest.split_at_checked(size).ok_or(Fault::Malformed)?;
    check(whole, more)?;
    let header = match family {
        TCP4 => ends(addresses, |ip: [u8; 4]| Ipv4Addr::from(ip).into()),
        TCP6 => ends(addresses, |ip: [u8; 16]| Ipv6Addr::from(ip).into()),
        _ => Some(Header::Local),
    };
    valid(family, header.ok_or(Fault::Malformed)?)
}

fn valid(family: u8, header: Header) -> Result<Header, Fault> {
    if family & 15 > 2 { Err(Fault::Malformed) } else { Ok(header) }
}

/// Both addresses, then both ports.
fn ends<const N: usize>(block: &[u8], ip: impl Fn([u8; N]) -> IpAddr) -> Option<Header> {
    let (from, block) = block.split_first_chunk::<N>()?;
    let (to, block) = block.split_first_chunk::<N>()?;
    let (source, block) = block.split_first_chunk()?;
    let destination = block.first_chunk()?;
    let end = |ip, port: &[u8; 2]| SocketAddr::new(ip, u16::from_be_bytes(*port));
    let (source, destination) = (end(ip(*from), source), end(ip(*to), destination));
    Some(Header::Proxied(Addresses { source, destination }))
}

/// Walks over the additional values, which nobody here asks for but the checksum (§2.2.3).
fn check(whole: &[u8], mut more: &[u8]) -> Result<(), Fault> {
    while let Some(([kind, high, low], rest)) = more.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let at = whole.len() - rest.len();
        let (value, rest) = rest.split_at_checked(length).ok_or(Fault::Malformed)?;
        if *kind == CHECKSUM {
            let told = value.first_chunk::<4>().filter(|_| length == 4).ok_or(Fault::Malformed)?;
            let sum = crc32c([&whole[..at], &[0; 4], &whole[at + 4..]]);
            if sum != u32::from_be_bytes(*told) {
                return Err(Fault::Checksum);
            }
        }
        more = rest;
    }
    if more.is_empty() { Ok(()) } else { Err(Fault::Malformed) }
}

pub(crate) fn write([source, destination]: [SocketAddr; 2]) -> Vec<u8> {
    let (family, length, addresses) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (TCP4, 12u8, [from.octets(), to.octets()].concat()),
        (from, to) => (TCP6, 36, [wide(from).octets(), wide(to).octets()].concat()),
    };
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    [SIGNATURE, &[PROXY, family, 0, length], &addresses, &ports].concat()
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// A header without additional values, with its checksum.
#[cfg(test)]
pub(crate) fn with_checksum(plain: &[u8]) -> Vec<u8> {
    let mut wire = [plain, &[CHECKSUM, 0, 4, 0, 0, 0, 0]].concat();
    wire[15] += 7;
    let sum = crc32c([&wire, &[], &[]]);
    let at = wire.len() - 4;
    wire[at..].copy_from_slice(&sum.to_be_bytes());
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn read(command: u8, family: u8, rest: &[u8]) -> Result<Header, Fault> {
        match crate::parse(&header(command, family, rest)) {
            Parsed::Whole { header, .. } => Ok(header),
            Parsed::Wrong(fault) => Err(fault),
            Parsed::Partial { .. } => panic!("it is whole"),
        }
    }

    #[test]
    fn forms_are_told_apart() {
        let four = [192, 0, 2, 1, 198, 51, 100, 2, 0, 80, 1, 187];
        let proxied = Header::Proxied(Addresses {
            source: "192.0.2.1:80".parse().unwrap(),
            destination: "198.51.100.2:443".parse().unwrap(),
        });
        let with = |more: &[u8]| [&four[..], more].concat();
        for (command, family, rest, want) in [
            (PROXY, TCP4, four.to_vec(), Ok(proxied)),
            // Additional values are walked over.
            (PROXY, TCP4, with(&[0x01, 0, 2, b'h', b'2', 0xee, 0, 0]), Ok(proxied)),
            (PROXY, TCP4, with(&[0x01, 0, 3, b'h', b'2']), Err(Fault::Malformed)),
            (PROXY, TCP4, with(&[0x01, 0]), Err(Fault::Malformed)),
            (PROXY, TCP4, with(&[CHECKSUM, 0, 4, 1, 2, 3, 4]), Err(Fault::Checksum)),
            (PROXY, TCP4, with(&[CHECKSUM, 0, 3, 1, 2, 3]), Err(Fault::Malformed)),
            (PROXY, TCP4, four[..11].to_vec(), Err(Fault::Malformed)),
            (PROXY, TCP6, four.to_vec(), Err(Fault::Malformed)),
            // Datagrams, Unix sockets, unspecified.
            (PROXY, 0x12, four.to_vec(), Ok(Header::Local)),
            (PROXY, 0x31, vec![0; 216], Ok(Header::Local)),
            (PROXY, 0x31, vec![0; 215], Err(Fault::Malformed)),
            (PROXY, 0x00, vec![1; 3], Ok(Header::Local)),
            (PROXY, 0x03, vec![], Err(Fault::Malformed)),
            (PROXY, 0x13, four.to_vec(), Err(Fault::Malformed)),
            (PROXY, 0x41, four.to_vec(), Err(Fault::Malformed)),
            // LOCAL says nothing, whatever follows.
            (0x20, 0xff, vec![1; 9], Ok(Header::Local)),
            (0x22, TCP4, four.to_vec(), Err(Fault::Malformed)),
            (0x11, TCP4, four.to_vec(), Err(Fault::Malformed)),
        ] {
            assert_eq!(read(command, family, &rest), want, "{command:x} {family:x} {rest:?}");
        }
    }

    #[test]
    fn a_header_has_a_largest_size() {
        let mut wire = header(PROXY, 0, &[0; 100]);
        wire[14..16].copy_from_slice(&0x4001u16.to_be_bytes());
        assert_eq!(crate::parse(&wire), Parsed::Wrong(Fault::TooLong));
        wire[14..16].copy_from_slice(&0x4000u16.to_be_bytes());
        assert_eq!(crate::parse(&wire), Parsed::Partial { needed: 0x4010 });
    }
}
