use std::fmt;

use model::{CertRecord, Host};

/// A fingerprint of a table's content: the sum of one hash per record, so that a change costs no pass over the rest
/// and order does not matter.
///
/// Two tables with the same content have the same digest, in whatever order and by whatever route they came to it. It
/// finds mistakes, not forgeries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Adds a host. Only what routing depends on counts; a host that is not enabled is none.
    pub fn add_host(&mut self, host: &Host) {
        self.0 = self.0.wrapping_add(of_host(host));
    }

    /// Adds a certificate.
    pub fn add_cert(&mut self, cert: &CertRecord) {
        self.0 = self.0.wrapping_add(of_cert(cert));
    }

    /// Replaces one record's hash by another's; 0 stands for none.
    pub(crate) fn replace(&mut self, old: u64, new: u64) {
        self.0 = self.0.wrapping_sub(old).wrapping_add(new);
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

pub(crate) fn of_host(host: &Host) -> u64 {
    if !host.enabled {
        return 0;
    }
    let mut hash = Fnv::new(b'h').text(host.pattern.as_str());
    for upstream in &host.upstreams {
        hash = hash.shown(format_args!("{upstream}"));
    }
    let (tls, certificate) = (host.upstream_tls, host.certificate);
    let rest = format_args!("{tls:?} {} {} {certificate:?}", host.preserve_host, host.force_https);
    let hash = hash.shown(rest);
    // What most hosts don't have leaves the fingerprint as it was.
    match (&host.rules, host.foreign_gate) {
        (None, None) => hash.end(),
        (rules, gate) => hash.shown(format_args!("{rules:?} {gate:?}")).end(),
    }
}

pub(crate) fn of_cert(cert: &CertRecord) -> u64 {
    Fnv::new(b'c').text(cert.name.as_str()).text(&cert.chain_pem).end()
}

/// FNV-1a, 64 bits, with a last round of mixing so that sums of hashes spread.
struct Fnv(u64);

impl Fnv {
    fn new(kind: u8) -> Self {
        Self(0xcbf2_9ce4_8422_2325).byte(kind)
    }

    fn text(self, text: &str) -> Self {
        text.bytes().fold(self, Self::byte).byte(0)
    }

    /// As [`Fnv::text`], without making the text.
    fn shown(mut self, text: fmt::Arguments<'_>) -> Self {
        // It takes any text.
        let _ = fmt::Write::write_fmt(&mut self, text);
        self.byte(0)
    }

    fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    fn end(self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        *self = text.bytes().fold(Self(self.0), Self::byte);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(pattern: &str, upstream: &str) -> Host {
        let mut host = Host::new(pattern.parse().unwrap());
        host.upstreams.push(upstream.parse().unwrap());
        host
    }

    #[test]
    fn order_does_not_matter_and_content_does() {
        let (a, b) = (host("a.test", "127.0.0.1:1"), host("b.test", "127.0.0.1:2"));
        let (mut ab, mut ba, mut other) = (Digest::default(), Digest::default(), Digest::default());
        ab.add_host(&a);
        ab.add_host(&b);
        ba.add_host(&b);
        ba.add_host(&a);
        assert_eq!(ab, ba);
        other.add_host(&a);
        other.add_host(&host("b.test", "127.0.0.1:3"));
        assert_ne!(ab, other);
    }

    #[test]
    fn a_record_taken_out_leaves_no_trace() {
        let a = host("a.test", "127.0.0.1:1");
        let mut digest = Digest::default();
        digest.add_host(&a);
        digest.replace(of_host(&a), 0);
        assert_eq!(digest, Digest::default());
    }
}
