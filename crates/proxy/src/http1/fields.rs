//! Field lines: shared by heads and trailers (RFC 9110 §5, RFC 9112 §5).

use std::ops::Range;

use super::violation::Violation;

/// Fields in one section.
pub(super) const MAX_FIELDS: usize = 100;

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

    /// The next line, free of control bytes but for tabs.
    /// Where it would reach `max` bytes from the start of the window it is `too_large`.
    pub(super) fn next(
        &mut self,
        window: &[u8],
        max: usize,
        too_large: Violation,
    ) -> Result<Line, Violation> {
        let end = find_control(window, self.searched);
        self.searched = end;
        match &window[end..] {
            _ if end >= max => Err(too_large),
            [] => Ok(Line::Incomplete),
            [b'\r', ..] if end + 1 >= max => Err(too_large),
            [b'\r'] => Ok(Line::Incomplete),
            [b'\r', b'\n', ..] => {
                let start = std::mem::replace(&mut self.start, end + 2);
                self.searched = end + 2;
                Ok(Line::Whole(start..end))
            }
            [b'\n', ..] => Err(Violation::BareLf),
            _ => Err(Violation::ControlByte),
        }
    }
}

/// Splits the `name: value` of a line, and takes the whitespace off the value, which is a range of the line.
/// A line holds no control bytes, so any value it has is well-formed.
pub(super) fn split(line: &[u8]) -> Result<(&[u8], Range<usize>), Violation> {
    let colon = line.iter().position(|&b| !is_token(b)).unwrap_or(line.len());
    if colon == 0 || line.get(colon) != Some(&b':') {
        return Err(match line.first() {
            Some(b' ' | b'\t') => Violation::ObsoleteFolding,
            _ => Violation::FieldName,
        });
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

/// Fields that decide where a message ends, where it goes, and what becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Connection,
    ContentLength,
    Expect,
    Host,
    Te,
    TransferEncoding,
    Other,
}

impl Name {
    /// Most names are told apart by their length alone.
    pub(super) fn of(name: &[u8]) -> Self {
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => Self::Te,
            4 if name.eq_ignore_ascii_case(b"host") => Self::Host,
            6 if name.eq_ignore_ascii_case(b"expect") => Self::Expect,
            10 if name.eq_ignore_ascii_case(b"connection") => Self::Connection,
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

/// Where the first byte from `from` on is that no line may hold (RFC 9110 §5.5: controls except tab), or the end.
/// Every byte of every head comes by here, so eight are looked at together.
fn find_control(window: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = window[at..].first_chunk() {
        match first_control(u64::from_le_bytes(*word)) {
            8 => at += 8,
            offset if window[at + offset] == b'\t' => at += offset + 1,
            offset => return at + offset,
        }
    }
    let is_control = |&b: &u8| b.is_ascii_control() && b != b'\t';
    window[at..].iter().position(is_control).map_or(window.len(), |offset| at + offset)
}

/// The index of the first byte of a little-endian word that is below 0x20 or is 0x7f; 8 without one.
fn first_control(word: u64) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let del = word ^ (ONES * 0x7f);
    // A borrow can only mark bytes behind one that is rightly marked, and the first is what counts.
    let below = word.wrapping_sub(ONES * 0x20) & !word;
    let equal = del.wrapping_sub(ONES) & !del;
    ((below | equal) & HIGH).trailing_zeros() as usize / 8
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
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
