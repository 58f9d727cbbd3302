//! The chunked coding: sizes, extensions, trailers (RFC 9112 §7.1).

use super::fields::{self, Line, Lines, MAX_FIELDS, Name};
use super::requests::Stretch;
use super::violation::Violation;

/// Bytes of the extension of one chunk.
pub(super) const MAX_EXTENSION: usize = 256;
/// Bytes of the trailer section.
pub(super) const MAX_TRAILERS: usize = 16 * 1024;
/// Digits of a chunk size: what fits 64 bits.
const MAX_DIGITS: u8 = 16;

/// How far a chunked body was followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunked {
    stage: Stage,
    size: u64,
}

#[derive(Clone, Debug)]
enum Stage {
    /// So many digits of the size were seen.
    Size(u8),
    /// So many bytes of the extension were seen.
    Extension(usize),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers {
        lines: Lines,
        count: usize,
    },
}

impl Default for Stage {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl Chunked {
    /// The next stretch in a window that starts with the first byte that was not used yet, and whether the body ends
    /// with it. It reaches to the end of some data, of the trailers, which come whole, or of the window.
    pub(super) fn next(&mut self, window: &[u8]) -> Result<(Stretch, bool), Violation> {
        let mut at = 0;
        loop {
            if let Stage::Trailers { lines, count } = &mut self.stage {
                let end = trailers(lines, count, &window[at..])?;
                let used = at + end.unwrap_or(0);
                return Ok((Stretch { used, data: 0..0, trailers: at..used }, end.is_some()));
            }
            let Some(&byte) = window.get(at) else {
                return Ok((Stretch { used: at, ..Stretch::default() }, false));
            };
            if let Stage::Data = self.stage {
                let left = usize::try_from(self.size).unwrap_or(usize::MAX);
                let used = at + left.min(window.len() - at);
                self.size -= (used - at) as u64;
                if self.size == 0 {
                    self.stage = Stage::DataCr;
                }
                return Ok((Stretch { used, data: at..used, trailers: used..used }, false));
            }
            self.framing_byte(byte)?;
            at += 1;
        }
    }

    /// One byte that is neither data nor trailer.
    fn framing_byte(&mut self, byte: u8) -> Result<(), Violation> {
        self.stage = match (&self.stage, byte) {
            (Stage::Size(digits), _) if byte.is_ascii_hexdigit() => {
                if *digits == MAX_DIGITS {
                    return Err(Violation::ChunkSize);
                }
                self.size = self.size << 4 | u64::from(hex(byte));
                Stage::Size(digits + 1)
            }
            (Stage::Size(1..), b';') => Stage::Extension(0),
            (Stage::Size(1..) | Stage::Extension(_), b'\r') => Stage::SizeLf,
            (Stage::Size(_), _) => return Err(Violation::ChunkSize),
            (Stage::Extension(seen), b'\t' | b' '..=b'~') if *seen < MAX_EXTENSION => {
                Stage::Extension(seen + 1)
            }
            (Stage::Extension(_), b'\t' | b' '..=b'~') => return Err(Violation::ChunkExtension),
            (Stage::Extension(_), _) => return Err(Violation::ControlByte),
            (Stage::SizeLf, b'\n') if self.size > 0 => Stage::Data,
            (Stage::SizeLf, b'\n') => Stage::Trailers { lines: Lines::default(), count: 0 },
            (Stage::SizeLf, _) => return Err(Violation::ControlByte),
            (Stage::DataCr, b'\r') => Stage::DataLf,
            (Stage::DataLf, b'\n') => Stage::Size(0),
            (Stage::DataCr | Stage::DataLf | Stage::Data | Stage::Trailers { .. }, _) => {
                return Err(Violation::ChunkEnd);
            }
        };
        Ok(())
    }
}

/// The length of the trailer section, once it is complete.
fn trailers(
    lines: &mut Lines,
    count: &mut usize,
    window: &[u8],
) -> Result<Option<usize>, Violation> {
    loop {
        match lines.next(window, MAX_TRAILERS, Violation::TrailersTooLarge)? {
            Line::Incomplete => return Ok(None),
            Line::Whole(range) if range.is_empty() => return Ok(Some(lines.position())),
            Line::Whole(range) => {
                let (name, _) = fields::split(&window[range])?;
                *count += 1;
                if *count > MAX_FIELDS {
                    return Err(Violation::TooManyFields);
                }
                if matches!(
                    Name::of(name),
                    Name::ContentLength | Name::TransferEncoding | Name::Host
                ) {
                    return Err(Violation::ForbiddenTrailer);
                }
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
