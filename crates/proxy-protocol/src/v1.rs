//! Version 1: a line of text (§2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{Addresses, Fault, Header, Parsed, SHORTEST};

pub(crate) const SIGNATURE: &[u8] = b"PROXY ";
/// The longest line, its end included.
const LONGEST: usize = 107;

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
    let window = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = window.windows(2).position(|two| two == b"\r\n") else {
        return match bytes.len() {
            LONGEST.. => Err(Fault::TooLong),
            so_far => Ok(Parsed::Partial { needed: SHORTEST.max(so_far + 1) }),
        };
    };
    let line = std::str::from_utf8(&window[SIGNATURE.len().min(end)..end]);
    let header = header(line.map_err(|_| Fault::Malformed)?).ok_or(Fault::Malformed)?;
    Ok(Parsed::Whole { header, length: end + 2 })
}

fn header(line: &str) -> Option<Header> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(Header::Local);
    }
    let mut ip = || address(family, words.next()?);
    let (from, to) = (ip()?, ip()?);
    let (source, destination) = (port(words.next()?)?, port(words.next()?)?);
    let told = Addresses {
        source: SocketAddr::new(from, source),
        destination: SocketAddr::new(to, destination),
    };
    words.next().is_none().then_some(Header::Proxied(told))
}

fn address(family: &str, text: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    }
}

/// A port in decimal, without a sign and without leading zeros.
fn port(text: &str) -> Option<u16> {
    let port = text.parse::<u16>().ok()?;
    (port.to_string() == text).then_some(port)
}

pub(crate) fn write([source, destination]: [SocketAddr; 2]) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_to_the_letter() {
        let proxied = |source: &str, destination: &str| {
            let [source, destination] = [source, destination].map(|it| it.parse().unwrap());
            Some(Header::Proxied(Addresses { source, destination }))
        };
        for (line, want) in [
            ("TCP4 192.0.2.1 198.51.100.2 1 65535", proxied("192.0.2.1:1", "198.51.100.2:65535")),
            ("TCP6 2001:db8::1 ::1 443 0", proxied("[2001:db8::1]:443", "[::1]:0")),
            ("UNKNOWN", Some(Header::Local)),
            ("UNKNOWN ffff::1 whatever", Some(Header::Local)),
            ("TCP4 192.0.2.1 198.51.100.2 1", None),
            ("TCP4 192.0.2.1 198.51.100.2 1 2 3", None),
            ("TCP4 192.0.2.1 198.51.100.2 1 65536", None),
            ("TCP4 192.0.2.1 198.51.100.2 01 2", None),
            ("TCP4 192.0.2.1 198.51.100.2 +1 2", None),
            ("TCP4 192.0.2.01 198.51.100.2 1 2", None),
            ("TCP4  192.0.2.1 198.51.100.2 1 2", None),
            ("TCP4 ::1 ::1 1 2", None),
            ("TCP6 192.0.2.1 198.51.100.2 1 2", None),
            ("tcp4 192.0.2.1 198.51.100.2 1 2", None),
            ("UDP4 192.0.2.1 198.51.100.2 1 2", None),
            ("", None),
        ] {
            let wire = format!("PROXY {line}\r\n");
            let parsed = match crate::parse(wire.as_bytes()) {
                Parsed::Whole { header, length } => {
                    assert_eq!(length, wire.len());
                    Some(header)
                }
                Parsed::Wrong(Fault::Malformed) => None,
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(parsed, want, "{line}");
        }
    }

    #[test]
    fn a_line_ends_in_time_and_in_both_characters() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107));
        assert_eq!(crate::parse(long.as_bytes()), Parsed::Wrong(Fault::TooLong));
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
        assert!(matches!(crate::parse(longest.as_bytes()), Parsed::Whole { length: 107, .. }));
        assert!(matches!(crate::parse(b"PROXY UNKNOWN\n"), Parsed::Partial { .. }));
    }
}
