//! Field lines: shared by heads and trailers (RFC 9110 §5, RFC 9112 §5).

use std::ops::Range;

use memchr::memchr;

use super::violation::Violation;

/// Fields in one section.
pub(crate) const MAX_FIELDS: usize = 128;

/// A line of a section that ends with an empty line.
pub(super) enum Line {
    /// The end of the line is not there yet.
    Incomplete,
    /// The line without its CRLF, as a range of the window.
    Whole(Range<usize>),
}

/// Walks the lines of a window that only ever grows at its end. Remembers what it has searched, so that a section
/// that comes byte by byte costs no more than one that comes whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// Where the current line starts.
    start: usize,
    /// Up to where no line end was found.
    searched: usize,
}

impl Lines {
    /// Where the next line starts: the bytes of the section so far.
    pub(super) fn position(&self) -> usize {
        self.start
    }

    /// The next line. Beyond `max` bytes from the start of the window, or `max_line` of the line, is `too_large`.
    pub(super) fn next(
        &mut self,
        window: &[u8],
        max: usize,
        too_large: Violation,
    ) -> Result<Line, Violation> {
        let Some(at) = memchr(b'\n', &window[self.searched..]) else {
            self.searched = window.len();
            return if window.len() < max { Ok(Line::Incomplete) } else { Err(too_large) };
        };
        let (start, lf) = (self.start, self.searched + at);
        if lf >= max {
            return Err(too_large);
        }
        if lf == start || window[lf - 1] != b'\r' {
            return Err(Violation::BareLf);
        }
        self.start = lf + 1;
        self.searched = lf + 1;
        Ok(Line::Whole(start..lf - 1))
    }
}

/// Splits `name: value`, checks both, and takes the whitespace off the value.
/// The range of the value is relative to `line`.
pub(super) fn split(line: &[u8]) -> Result<(&[u8], Range<usize>), Violation> {
    let colon = line.iter().position(|&b| !is_token(b)).unwrap_or(line.len());
    if colon == 0 || line.get(colon) != Some(&b':') {
        return Err(match line.first() {
            Some(b' ' | b'\t') => Violation::ObsoleteFolding,
            _ => Violation::FieldName,
        });
    }
    if has_control(&line[colon + 1..]) {
        return Err(Violation::ControlByte);
    }
    let blank = |&b: &u8| b == b' ' || b == b'\t';
    let mut value = colon + 1..line.len();
    while line.get(value.start).is_some_and(blank) {
        value.start += 1;
    }
    while value.end > value.start && blank(&line[value.end - 1]) {
        value.end -= 1;
    }
    Ok((&line[..colon], value))
}

/// Fields that decide where a message ends and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    ContentLength,
    Host,
    TransferEncoding,
    Upgrade,
    Other,
}

impl Name {
    /// Most names are told apart by their length alone.
    pub(super) fn of(name: &[u8]) -> Self {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => Self::Host,
            7 if name.eq_ignore_ascii_case(b"upgrade") => Self::Upgrade,
            14 if name.eq_ignore_ascii_case(b"content-length") => Self::ContentLength,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Self::TransferEncoding,
            _ => Self::Other,
        }
    }
}

/// `tchar` of RFC 9110 §5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether a value holds what RFC 9110 §5.5 forbids. No early exit: so the compiler makes vector code of it.
fn has_control(value: &[u8]) -> bool {
    value.iter().fold(false, |bad, &b| bad | ((b < 0x20) & (b != b'\t')) | (b == 0x7f))
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = true;
        i += 1;
    }
    table
};
