use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Problem, framing};

/// Bytes of chunk extensions borne in one body.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// Reads a chunked body (RFC 9112 §7.1), however it is split into pieces.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    extensions: usize,
    section: Vec<u8>,
    max_trailers: usize,
    max_fields: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a size; `digits` of it read.
    Size {
        size: u64,
        digits: u8,
    },
    /// Blank space after a size, as some servers pad it.
    Padding {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    Trailers,
    Done,
}

const NEW_CHUNK: State = State::Size { size: 0, digits: 0 };

/// What came out of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The input is used up.
    More,
    End,
}

impl Chunked {
    /// `max_trailers` in bytes, `max_fields` of them.
    pub(crate) fn new(max_trailers: usize, max_fields: usize) -> Self {
        Self { state: NEW_CHUNK, extensions: 0, section: Vec::new(), max_trailers, max_fields }
    }

    /// Whether the end was read, so that what follows is no more of this body.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece off `input`.
    pub(crate) fn decode(&mut self, input: &mut Bytes) -> Result<Piece, Problem> {
        loop {
            match self.state {
                State::Done => return Ok(Piece::End),
                _ if input.is_empty() => return Ok(Piece::More),
                State::Data { left } => return Ok(Piece::Data(self.take_data(left, input))),
                State::Trailers => {
                    if let Some(trailers) = self.take_trailers(input)? {
                        self.state = State::Done;
                        let none = trailers.is_empty();
                        return Ok(if none { Piece::End } else { Piece::Trailers(trailers) });
                    }
                }
                _ => self.step(input.get_u8())?,
            }
        }
    }

    /// Reads on as far as the next data, trailers or end: so the end is known with the last data, if it is there.
    pub(crate) fn skip_framing(&mut self, input: &mut Bytes) -> Result<(), Problem> {
        while !input.is_empty() {
            match self.state {
                State::Done | State::Data { .. } => break,
                State::Trailers if self.section.is_empty() && input.starts_with(b"\r\n") => {
                    input.advance(2);
                    self.state = State::Done;
                }
                State::Trailers => break,
                _ => self.step(input.get_u8())?,
            }
        }
        Ok(())
    }

    fn take_data(&mut self, left: u64, input: &mut Bytes) -> Bytes {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let left = left - take as u64;
        self.state = if left == 0 { State::DataCr } else { State::Data { left } };
        input.split_to(take)
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), Problem> {
        self.state = match (self.state, byte) {
            (State::Size { digits: 1.., size }, b'\r') => State::SizeLf { size },
            (State::Size { digits: 1.., size } | State::Padding { size }, b';') => {
                State::Extension { size }
            }
            (State::Size { digits: 1.., size } | State::Padding { size }, b' ' | b'\t') => {
                self.count_extension()?;
                State::Padding { size }
            }
            (State::Size { digits: digits @ 0..16, size }, byte) => {
                let digit = char::from(byte).to_digit(16).ok_or(Problem::Chunk)?;
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Padding { size } | State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Extension { size }, byte) if byte == b'\t' || !byte.is_ascii_control() => {
                self.count_extension()?;
                State::Extension { size }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::Trailers,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => NEW_CHUNK,
            _ => return Err(Problem::Chunk),
        };
        Ok(())
    }

    fn count_extension(&mut self) -> Result<(), Problem> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(Problem::Chunk) } else { Ok(()) }
    }

    /// The trailer section, once its empty line is there.
    fn take_trailers(&mut self, input: &mut Bytes) -> Result<Option<HeaderMap>, Problem> {
        while !input.is_empty() {
            let line =
                input.iter().position(|byte| *byte == b'\n').map_or(input.len(), |at| at + 1);
            self.section.extend_from_slice(&input.split_to(line));
            if self.section.len() > self.max_trailers {
                return Err(Problem::HeadTooLarge);
            }
            if self.section.ends_with(b"\n") && !self.section.ends_with(b"\r\n") {
                return Err(Problem::Chunk);
            }
            if self.section == b"\r\n" || self.section.ends_with(b"\r\n\r\n") {
                return parse_trailers(&self.section, self.max_fields).map(Some);
            }
        }
        Ok(None)
    }
}

fn parse_trailers(section: &[u8], max_fields: usize) -> Result<HeaderMap, Problem> {
    let mut fields = vec![httparse::EMPTY_HEADER; max_fields];
    let fields = match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((used, fields))) if used == section.len() => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(Problem::HeadTooLarge),
        _ => return Err(Problem::Chunk),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Problem::Chunk)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Problem::Chunk)?;
        if framing::is_trailer(&name) {
            trailers.append(name, value);
        }
    }
    Ok(trailers)
}
