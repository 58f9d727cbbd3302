//! Request heads: the request line, and what its fields say about framing and host (RFC 9112 §3, §5, §6).

use std::ops::Range;

use super::fields::{self, Line, Lines, MAX_FIELDS, Name, is_token};
use super::violation::Violation;

/// Bytes of a head, from the first of the request line to the empty line.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Bytes of a request target.
pub(super) const MAX_TARGET: usize = 16 * 1024;
/// Bytes of a request line: a target, a version and a method of a sane length.
const MAX_REQUEST_LINE: usize = MAX_TARGET + 64;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body.
    None,
    /// As many bytes, at least one.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// What a complete and well-formed head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Bytes of the head, from the start of the window.
    pub(super) len: usize,
    /// What follows it.
    pub(super) framing: Framing,
    /// Another protocol was asked for: what follows the body may not be HTTP.
    pub(super) upgrade: bool,
}

/// Checks one head in a window that grows at its end until the head is complete.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    lines: Lines,
    stage: Stage,
    http_1_1: bool,
    count: usize,
    authority: Option<Range<usize>>,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// One empty line may come first (RFC 9112 §2.2): old clients send one after a body.
    #[default]
    Start,
    RequestLine,
    Fields,
}

impl Head {
    /// Goes on with what came since the last call; `None` while the head is incomplete.
    pub(super) fn check(&mut self, window: &[u8]) -> Result<Option<Verdict>, Violation> {
        loop {
            let (max, too_large) = match self.stage {
                Stage::Fields => (MAX_HEAD, Violation::HeadTooLarge),
                _ => (self.lines.position() + MAX_REQUEST_LINE, Violation::TargetTooLong),
            };
            let line = match self.lines.next(window, max, too_large)? {
                Line::Incomplete => return Ok(None),
                Line::Whole(range) => range,
            };
            match self.stage {
                Stage::Start if line.is_empty() => self.stage = Stage::RequestLine,
                Stage::Start | Stage::RequestLine => {
                    self.request_line(&window[line.clone()], line.start)?;
                    self.stage = Stage::Fields;
                }
                Stage::Fields if line.is_empty() => return self.verdict(window).map(Some),
                Stage::Fields => self.field(&window[line.clone()], line.start)?,
            }
        }
    }

    fn request_line(&mut self, line: &[u8], offset: usize) -> Result<(), Violation> {
        let space = line.iter().position(|&b| !is_token(b)).unwrap_or(line.len());
        if space == 0 || line.get(space) != Some(&b' ') {
            return Err(Violation::Method);
        }
        let (rest, version) = line.split_at(line.len().saturating_sub(VERSION.len()).max(space));
        match version {
            b" HTTP/1.1" => self.http_1_1 = true,
            b" HTTP/1.0" => {}
            [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Violation::Version);
            }
            _ => return Err(Violation::RequestLine),
        }
        let (method, target) = (&rest[..space], rest.get(space + 1..).unwrap_or_default());
        if target.len() > MAX_TARGET {
            return Err(Violation::TargetTooLong);
        }
        // A second space is no target byte either, so this also sees to single spaces.
        if !target.iter().all(|&b| is_target(b)) {
            return Err(Violation::Target);
        }
        self.target(method, target, offset + space + 1)
    }

    /// RFC 9112 §3.2: origin-form, absolute-form, or for OPTIONS the asterisk.
    fn target(&mut self, method: &[u8], target: &[u8], offset: usize) -> Result<(), Violation> {
        if method == b"CONNECT" {
            return Err(Violation::Connect);
        }
        match target.first() {
            Some(b'/') => return Ok(()),
            Some(b'*') if target.len() == 1 && method == b"OPTIONS" => return Ok(()),
            _ => {}
        }
        let scheme = [&b"http://"[..], b"https://"]
            .into_iter()
            .find(|scheme| {
                target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme))
            })
            .ok_or(Violation::Target)?;
        let after = &target[scheme.len()..];
        let len = after.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(after.len());
        if !is_host(&after[..len]) {
            return Err(Violation::Host);
        }
        let start = offset + scheme.len();
        self.authority = Some(start..start + len);
        Ok(())
    }

    fn field(&mut self, line: &[u8], offset: usize) -> Result<(), Violation> {
        let (name, range) = fields::split(line)?;
        self.count += 1;
        if self.count > MAX_FIELDS {
            return Err(Violation::TooManyFields);
        }
        let value = &line[range.clone()];
        match Name::of(name) {
            Name::Other => {}
            Name::Upgrade => self.upgrade = true,
            Name::Host if self.host.is_some() => return Err(Violation::DuplicateHost),
            Name::Host if !is_host(value) => return Err(Violation::Host),
            Name::Host => self.host = Some(offset + range.start..offset + range.end),
            Name::ContentLength if self.length.is_some() => {
                return Err(Violation::DuplicateContentLength);
            }
            Name::ContentLength => self.length = Some(number(value)?),
            Name::TransferEncoding if self.chunked || !self.http_1_1 => {
                return Err(Violation::TransferEncoding);
            }
            Name::TransferEncoding if !value.eq_ignore_ascii_case(b"chunked") => {
                return Err(Violation::UnknownEncoding);
            }
            Name::TransferEncoding => self.chunked = true,
        }
        Ok(())
    }

    fn verdict(&self, window: &[u8]) -> Result<Verdict, Violation> {
        match (&self.host, &self.authority) {
            (None, _) if self.http_1_1 => return Err(Violation::MissingHost),
            (Some(host), Some(authority))
                if !window[host.clone()].eq_ignore_ascii_case(&window[authority.clone()]) =>
            {
                return Err(Violation::HostMismatch);
            }
            _ => {}
        }
        let framing = match (self.chunked, self.length) {
            (true, Some(_)) => return Err(Violation::LengthAndEncoding),
            (true, None) => Framing::Chunked,
            (false, Some(length)) if length > 0 => Framing::Length(length),
            (false, _) => Framing::None,
        };
        Ok(Verdict { len: self.lines.position(), framing, upgrade: self.upgrade && self.http_1_1 })
    }
}

const VERSION: &[u8] = b" HTTP/1.1";

/// Visible ASCII without `#`: a fragment is never sent, and what reads it differently from us would route differently.
fn is_target(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f && byte != b'#'
}

/// Decimal digits that fit 64 bits, nothing else: no sign, no list, no inner space.
fn number(value: &[u8]) -> Result<u64, Violation> {
    if value.is_empty() {
        return Err(Violation::ContentLength);
    }
    value
        .iter()
        .try_fold(0u64, |sum, &b| {
            let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        })
        .ok_or(Violation::ContentLength)
}

/// A host and an optional port. Narrower than RFC 3986 (no percent-encoding, no sub-delimiters, no user):
/// nothing beyond this can be routed, and some readers of such a name take it for another one.
fn is_host(authority: &[u8]) -> bool {
    let (host, port) = match authority.first() {
        Some(b'[') => {
            let Some(end) = authority.iter().position(|&b| b == b']') else { return false };
            let inner = &authority[1..end];
            let literal = inner.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
            if !literal {
                return false;
            }
            (inner, &authority[end + 1..])
        }
        _ => {
            let end = authority.iter().position(|&b| b == b':').unwrap_or(authority.len());
            let (name, port) = authority.split_at(end);
            if !name
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
            {
                return false;
            }
            (name, port)
        }
    };
    let port_fits = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && port_fits
}
