use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name that DNS can carry, in bytes of text without the trailing dot (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
/// The longest label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A host name as it is compared: lower case, A-labels, no port, no trailing dot.
///
/// Also an IPv4 address, which reads as four labels, or an IPv6 address in brackets, which reads as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Hostname(String);

impl Hostname {
    /// The name in a `Host` header or `:authority`: as [`FromStr`], with an optional port that is dropped.
    ///
    /// # Errors
    /// When what stands before the port is not a name, or the port is not a number.
    pub fn from_authority(authority: &str) -> Result<Self, NameError> {
        split_port(authority).ok_or_else(|| NameError::new(authority, Why::Port))?.parse()
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = parse(text)?;
        if name.contains('*') { Err(NameError::new(text, Why::Wildcard)) } else { Ok(Self(name)) }
    }
}

/// A pattern of host names: labels, each exact, `*` (one whole label) or `**` (one or more whole labels).
///
/// Wildcards may stand anywhere and several times. Normalised as [`Hostname`] is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HostPattern(String);

/// One label of a [`HostPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// This label and no other.
    Exact(&'a str),
    /// `*`: any one label.
    One,
    /// `**`: one or more labels.
    Many,
}

impl HostPattern {
    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has a wildcard label.
    pub fn is_wildcard(&self) -> bool {
        self.0.contains('*')
    }

    /// The name itself when the pattern has no wildcard.
    pub fn to_hostname(&self) -> Option<Hostname> {
        (!self.is_wildcard()).then(|| Hostname(self.0.clone()))
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = Label<'_>> {
        let whole = self.0.starts_with('[');
        self.0.split(move |c| c == '.' && !whole).map(|label| match label {
            "*" => Label::One,
            "**" => Label::Many,
            exact => Label::Exact(exact),
        })
    }
}

impl FromStr for HostPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse(text).map(Self)
    }
}

impl From<Hostname> for HostPattern {
    fn from(name: Hostname) -> Self {
        Self(name.0)
    }
}

/// Whether a name or pattern is local, so that no public authority can vouch for it: `localhost`, a single label, an
/// IP address, or any depth under `.localhost`, `.test`, `.local`, `.internal` (RFC 6761, RFC 6762, ICANN 2024) and
/// `.home.arpa` (RFC 8375). Takes normalised text; a lone wildcard is not local.
pub fn is_local_name(name: &str) -> bool {
    if name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    match name.rsplit_once('.') {
        None => !name.starts_with('*'),
        Some((_, "localhost" | "test" | "local" | "internal")) => true,
        Some(_) => name.ends_with(".home.arpa"),
    }
}

/// Normalises the name of a request without allocating: lower case, port and one trailing dot dropped.
///
/// For the request path, where names arrive as A-labels: `None` for anything that is not a plausible host, Unicode
/// included. `buffer` takes the result.
pub fn normalise_host<'b>(authority: &[u8], buffer: &'b mut [u8; 256]) -> Option<&'b str> {
    if authority.first() == Some(&b'[') {
        // Addresses have many spellings: take the slow way, they are rare.
        let name = Hostname::from_authority(std::str::from_utf8(authority).ok()?).ok()?;
        let out = buffer.get_mut(..name.0.len())?;
        out.copy_from_slice(name.0.as_bytes());
        return std::str::from_utf8(out).ok();
    }
    let mut host = authority;
    if let Some(colon) = host.iter().position(|b| *b == b':') {
        let (name, port) = host.split_at(colon);
        if !is_port(&port[1..]) {
            return None;
        }
        host = name;
    }
    host = host.strip_suffix(b".").unwrap_or(host);
    if host.is_empty() || host.len() > MAX_NAME {
        return None;
    }
    let out = buffer.get_mut(..host.len())?;
    let mut label = 0usize;
    for (to, from) in out.iter_mut().zip(host) {
        match *from {
            b'.' if label == 0 => return None,
            b'.' => label = 0,
            b if b.is_ascii_alphanumeric() || b == b'-' || b == b'_' => label += 1,
            _ => return None,
        }
        if label > MAX_LABEL {
            return None;
        }
        *to = from.to_ascii_lowercase();
    }
    if label == 0 {
        return None;
    }
    std::str::from_utf8(out).ok()
}

/// Splits off `:port`; `None` when the port is not one.
fn split_port(authority: &str) -> Option<&str> {
    let tail = match authority.rfind(']') {
        Some(end) => &authority[end + 1..],
        None => authority.find(':').map_or("", |colon| &authority[colon..]),
    };
    match tail.strip_prefix(':') {
        None => tail.is_empty().then_some(authority),
        Some(port) => is_port(port.as_bytes()).then(|| &authority[..authority.len() - tail.len()]),
    }
}

/// An empty port is allowed by RFC 3986 §3.2.3.
fn is_port(port: &[u8]) -> bool {
    port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

/// A text that is not a host name or pattern.
#[derive(Debug, thiserror::Error)]
#[error("\"{text}\" is not a host name or pattern: {why}")]
pub struct NameError {
    text: String,
    why: Why,
}

impl NameError {
    fn new(text: &str, why: Why) -> Self {
        Self { text: text.chars().take(120).collect(), why }
    }
}

#[derive(Debug)]
enum Why {
    Empty,
    TooLong,
    EmptyLabel,
    LongLabel,
    Hyphen,
    Character,
    PartialWildcard,
    Idn,
    Address,
    Port,
    Wildcard,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than 253 characters",
            Self::EmptyLabel => "it has an empty label",
            Self::LongLabel => "a label is longer than 63 characters",
            Self::Hyphen => "a label starts or ends with a hyphen",
            Self::Character => "a label has letters, digits, hyphens and underscores only",
            Self::PartialWildcard => "a wildcard is a whole label, * or **",
            Self::Idn => "its Unicode has no ASCII form",
            Self::Address => "between [ and ] stands an IPv6 address",
            Self::Port => "what follows the colon is not a port",
            Self::Wildcard => "a wildcard can't stand here",
        })
    }
}

fn parse(text: &str) -> Result<String, NameError> {
    let wrong = |why| NameError::new(text, why);
    if let Some(inner) = text.strip_prefix('[') {
        let address: Option<Ipv6Addr> = inner.strip_suffix(']').and_then(|a| a.parse().ok());
        return address.map(|a| format!("[{a}]")).ok_or_else(|| wrong(Why::Address));
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() {
        return Err(wrong(Why::Empty));
    }
    if bare.len() > 4 * MAX_NAME {
        return Err(wrong(Why::TooLong));
    }
    let mut name = String::with_capacity(bare.len());
    for label in bare.split('.') {
        if !name.is_empty() {
            name.push('.');
        }
        parse_label(label, &mut name).map_err(wrong)?;
    }
    if name.len() > MAX_NAME { Err(wrong(Why::TooLong)) } else { Ok(name) }
}

/// Appends the label as it is compared.
fn parse_label(label: &str, name: &mut String) -> Result<(), Why> {
    if label.is_empty() {
        return Err(Why::EmptyLabel);
    }
    if matches!(label, "*" | "**") {
        name.push_str(label);
        return Ok(());
    }
    if label.contains('*') {
        return Err(Why::PartialWildcard);
    }
    let start = name.len();
    if label.is_ascii() {
        name.push_str(label);
    } else {
        name.push_str(&idna::domain_to_ascii(label).map_err(|_| Why::Idn)?);
    }
    let Some(ascii) = name.get_mut(start..).filter(|ascii| !ascii.is_empty()) else {
        return Err(Why::Idn);
    };
    ascii.make_ascii_lowercase();
    if ascii.len() > MAX_LABEL {
        return Err(Why::LongLabel);
    }
    if !ascii.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(Why::Character);
    }
    if ascii.starts_with('-') || ascii.ends_with('-') {
        return Err(Why::Hyphen);
    }
    Ok(())
}

macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_type!(Hostname, HostPattern);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_normalised() {
        for (text, name) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ] {
            assert_eq!(text.parse::<Hostname>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn authorities_lose_their_port() {
        for (text, name) in
            [("a.b:80", "a.b"), ("a.b:", "a.b"), ("a.b.:443", "a.b"), ("[::1]:443", "[::1]")]
        {
            assert_eq!(Hostname::from_authority(text).unwrap().as_str(), name);
        }
        for wrong in ["a:b", "a:1:2", "[::1]x", "a:123456", ":80", "[::1", "a b"] {
            assert!(Hostname::from_authority(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_name_says_why() {
        let long = format!("{}.com", "a".repeat(64));
        for (text, why) in [
            ("", "empty"),
            (".", "empty"),
            ("a..b", "empty label"),
            (".a", "empty label"),
            (long.as_str(), "63"),
            (&"a.".repeat(200), "253"),
            ("-a.b", "hyphen"),
            ("a-.b", "hyphen"),
            ("a b", "letters"),
            ("a/b", "letters"),
            ("a:80", "letters"),
            ("*a.b", "whole label"),
            ("***.b", "whole label"),
        ] {
            let error = text.parse::<HostPattern>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!("*.b".parse::<Hostname>().is_err());
    }

    #[test]
    fn pattern_labels_are_typed() {
        let pattern: HostPattern = "API.*.x.**".parse().unwrap();
        let labels: Vec<_> = pattern.labels().collect();
        assert_eq!(labels, [Label::Exact("api"), Label::One, Label::Exact("x"), Label::Many]);
    }

    proptest! {
        /// The allocation-free reader agrees with the parser wherever both say yes, and refuses what it refuses
        /// (hyphens at a label's edge excepted: no stored name has them, so they just match nothing).
        #[test]
        fn the_fast_reader_agrees_with_the_parser(text in "[a-zA-Z0-9._:\\[\\]-]{0,30}") {
            let mut buffer = [0; 256];
            let fast = normalise_host(text.as_bytes(), &mut buffer);
            match Hostname::from_authority(&text) {
                Ok(name) => prop_assert_eq!(fast, Some(name.as_str())),
                Err(_) => if let Some(fast) = fast {
                    prop_assert!(fast.split('.').any(|l| l.starts_with('-') || l.ends_with('-')));
                }
            }
        }

        #[test]
        fn no_input_panics(text in ".{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = text.parse::<HostPattern>();
            let _ = Hostname::from_authority(&text);
            let _ = normalise_host(&bytes, &mut [0; 256]);
        }

        #[test]
        fn parsing_is_idempotent(text in "[a-zA-Z0-9._*ü-]{1,40}") {
            if let Ok(pattern) = text.parse::<HostPattern>() {
                prop_assert_eq!(pattern.as_str().parse::<HostPattern>().unwrap(), pattern);
            }
        }
    }
}
