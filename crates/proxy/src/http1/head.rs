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

/// A part of a head, by the indices of its first byte and of the one behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// Where a field's name and value are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
}

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
}

/// Checks one head in a window that grows at its end until the head is complete.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    /// Where what is told apart stands.
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) fields: Vec<Field>,
    /// Whether it is HTTP/1.1, else 1.0.
    pub(super) http_1_1: bool,
    /// What `Connection`, `Expect` and `TE` ask for.
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) takes_trailers: bool,
    lines: Lines,
    stage: Stage,
    authority: Option<Range<usize>>,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// One empty line may come first (RFC 9112 §2.2): old clients send one after a body.
    #[default]
    Start,
    RequestLine,
    Fields,
}

impl Span {
    /// Heads are far shorter than what 32 bits count.
    fn of(range: &Range<usize>) -> Self {
        let cut = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: cut(range.start), end: cut(range.end) }
    }

    /// The same as a range of the head.
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Head {
    /// Forgets everything but its memory: the next head begins.
    pub(super) fn begin(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

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
        self.method = Span::of(&(offset..offset + space));
        self.target = Span::of(&(offset + space + 1..offset + space + 1 + target.len()));
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
        if self.fields.len() == MAX_FIELDS {
            return Err(Violation::TooManyFields);
        }
        let value = &line[range.clone()];
        self.fields.push(Field {
            name: Span::of(&(offset..offset + name.len())),
            value: Span::of(&(offset + range.start..offset + range.end)),
        });
        match Name::of(name) {
            Name::Other => {}
            Name::Connection => {
                self.close |= lists(value, b"close");
                self.keep_alive |= lists(value, b"keep-alive");
            }
            Name::Expect => self.expects_continue = value.eq_ignore_ascii_case(b"100-continue"),
            Name::Te => self.takes_trailers |= lists(value, b"trailers"),
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
        Ok(Verdict { len: self.lines.position(), framing })
    }
}

const VERSION: &[u8] = b" HTTP/1.1";

/// Visible ASCII without `#`: a fragment is never sent, and what reads it differently from us would route differently.
fn is_target(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f && byte != b'#'
}

/// Whether a list (RFC 9110 §5.6.1) has this word, whatever its case.
fn lists(list: &[u8], word: &[u8]) -> bool {
    list.split(|&b| b == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
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
