//! How files are compressed, and what of that a client takes (RFC 9110 §12.5.3).

use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, HeaderMap};

/// How bytes are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coding {
    /// As they are.
    Identity,
    /// gzip (RFC 1952), in files `.gz`.
    Gzip,
    /// Brotli (RFC 7932), in files `.br`.
    Brotli,
    /// Zstandard (RFC 8878), in files `.zst`.
    Zstd,
}

impl Coding {
    /// What a compressed file's name has behind the plain one's.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => ".gz",
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
        }
    }

    /// Its name in `Content-Encoding`.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        })
    }

    fn parse(name: &str) -> Option<Self> {
        let known = [
            ("identity", Self::Identity),
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("br", Self::Brotli),
            ("zstd", Self::Zstd),
        ];
        known.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, coding)| *coding)
    }
}

/// The compressed codings that a client would rather have than the plain bytes, best first: by weight, at the same
/// weight zstd before brotli before gzip. What is named twice counts by the better weight. `*` speaks for gzip alone:
/// whoever names nothing else may not know the younger ones.
pub fn preferred(headers: &HeaderMap) -> impl Iterator<Item = Coding> + use<> {
    let (mut weights, mut other) = ([None::<u16>; 4], None);
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    for (name, weight) in lines.flat_map(|line| line.split(',')).filter_map(weighted) {
        let slot = match Coding::parse(name) {
            Some(coding) => &mut weights[coding as usize],
            None if name == "*" => &mut other,
            None => continue,
        };
        *slot = (*slot).max(Some(weight));
    }
    let gzip = &mut weights[Coding::Gzip as usize];
    *gzip = gzip.or(other);
    let plain = weights[0].unwrap_or(0);
    let mut wanted = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
    // Stable: the order above decides among equals.
    wanted.sort_by_key(|coding| std::cmp::Reverse(weights[*coding as usize]));
    wanted.into_iter().filter(move |coding| {
        let weight = weights[*coding as usize].unwrap_or(0);
        weight > 0 && weight >= plain
    })
}

/// `br;q=0.8` as a name and thousandths; `None` when it is malformed.
fn weighted(element: &str) -> Option<(&str, u16)> {
    let (name, weight) = match element.split_once(';') {
        Some((name, weight)) => (name, thousandths(weight.trim())?),
        None => (element, 1000),
    };
    Some((name.trim(), weight))
}

/// A weight: `q=`, 0 to 1 with at most three decimals (RFC 9110 §12.4.2).
pub(crate) fn thousandths(weight: &str) -> Option<u16> {
    let value = weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q="))?;
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parts = format!("{decimals:0<3}").parse::<u16>().ok()?;
    match (whole, parts) {
        ("0", parts) => Some(parts),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_likes_best() {
        use Coding::{Brotli, Gzip, Zstd};
        for (field, want) in [
            ("", &[][..]),
            ("gzip, deflate, br, zstd", &[Zstd, Brotli, Gzip]),
            ("gzip;q=1.0, br;q=0.5", &[Gzip, Brotli]),
            ("GZIP ; Q=0.001,br;q=0", &[Gzip]),
            ("br;q=0.5, identity", &[]),
            ("br;q=0.5, identity;q=0.5", &[Brotli]),
            ("br;q=0.5, gzip;q=0.9, identity;q=0.7", &[Gzip]),
            ("identity;q=0", &[]),
            ("br;q=1.001, gzip;q=0.1234, zstd;q=2", &[]),
            ("br;x=1", &[]),
            ("*", &[Gzip]),
            ("*;q=0", &[]),
            ("gzip;q=0, *", &[]),
            ("br;q=0.5, *;q=0.8", &[Gzip, Brotli]),
            ("identity, *;q=0.5", &[]),
            ("deflate, compress", &[]),
            ("br;q=0, br", &[Brotli]),
            ("x-gzip", &[Gzip]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(field));
            assert_eq!(preferred(&headers).collect::<Vec<_>>(), want, "{field}");
        }
    }
}
