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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    /// What a body comes to: data, trailers, and how many bytes were left over.
    #[derive(Debug, PartialEq, Eq)]
    enum Fate {
        Whole(Vec<u8>, Vec<(String, Vec<u8>)>, usize),
        Unfinished,
        Bad,
    }

    /// The grammar of RFC 9112 §7.1 read from the whole body at once.
    fn oracle(mut body: &[u8]) -> Fate {
        let mut data = Vec::new();
        loop {
            let Some(end) = body.windows(2).position(|pair| pair == b"\r\n") else {
                return Fate::Unfinished;
            };
            let line = &body[..end];
            body = &body[end + 2..];
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
            let padding = line[digits..].iter().take_while(blank).count();
            let rest = &line[digits + padding..];
            let control = rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
            if !(1..=16).contains(&digits) || !(rest.is_empty() || rest[0] == b';') || control {
                return Fate::Bad;
            }
            let digits = std::str::from_utf8(&line[..digits]).unwrap();
            let size = u64::from_str_radix(digits, 16).unwrap();
            if size == 0 {
                return trailers(data, body);
            }
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if body.len() < size {
                return Fate::Unfinished;
            }
            data.extend_from_slice(&body[..size]);
            body = &body[size..];
            if body.len() >= 2 && !body.starts_with(b"\r\n") {
                return Fate::Bad;
            }
            body = body.get(2..).unwrap_or_default();
        }
    }

    fn trailers(data: Vec<u8>, mut section: &[u8]) -> Fate {
        let mut fields = Vec::new();
        loop {
            let Some(end) = section.iter().position(|byte| *byte == b'\n') else {
                return Fate::Unfinished;
            };
            let Some(line) = section[..end].strip_suffix(b"\r") else { return Fate::Bad };
            section = &section[end + 1..];
            if line.is_empty() {
                fields.sort();
                return Fate::Whole(data, fields, section.len());
            }
            if line.contains(&b'\r') {
                return Fate::Bad;
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Fate::Bad };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            let (Ok(name), Ok(value)) = (name, value) else { return Fate::Bad };
            fields.push((name.to_string(), value.as_bytes().to_vec()));
        }
    }

    fn decode(pieces: &[&[u8]]) -> Fate {
        let mut chunked = Chunked::new(65536, 128);
        let (mut data, mut fields) = (Vec::new(), Vec::new());
        for (i, piece) in pieces.iter().enumerate() {
            let mut input = Bytes::copy_from_slice(piece);
            loop {
                match chunked.decode(&mut input) {
                    Ok(Piece::Data(piece)) => data.extend_from_slice(&piece),
                    Ok(Piece::Trailers(trailers)) => {
                        fields = trailers
                            .iter()
                            .map(|(n, v)| (n.to_string(), v.as_bytes().to_vec()))
                            .collect();
                        fields.sort();
                    }
                    Ok(Piece::More) => break,
                    Ok(Piece::End) => {
                        let later: usize = pieces[i + 1..].iter().map(|piece| piece.len()).sum();
                        return Fate::Whole(data, fields, input.len() + later);
                    }
                    Err(_) => return Fate::Bad,
                }
                if chunked.skip_framing(&mut input).is_err() {
                    return Fate::Bad;
                }
            }
        }
        Fate::Unfinished
    }

    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        let extension = select(vec!["", "", "", ";a=b", " ", ";"]);
        let chunk = (vec(any::<u8>(), 1..20), extension, any::<bool>());
        let trailer = select(vec!["x-a: b\r\n", "x-c:d\r\n", "x-e: \r\n"]);
        (vec(chunk, 0..5), vec(trailer, 0..3)).prop_map(|(chunks, trailers)| {
            let mut body = Vec::new();
            for (data, extension, upper) in chunks {
                let size =
                    if upper { format!("{:X}", data.len()) } else { format!("{:x}", data.len()) };
                body.extend(format!("{size}{extension}\r\n").bytes());
                body.extend(data);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n");
            body.extend(trailers.concat().bytes());
            body.extend(b"\r\n");
            body
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bodies_read_alike_however_they_are_split_or_damaged(
            body in bodies(),
            damage in vec((any::<Index>(), select(&b"\r\n\0 ;0fg:\xff"[..]), 0..3u8), 0..3),
            cuts in vec(any::<Index>(), 0..6),
        ) {
            let mut body = body;
            for (at, byte, how) in damage {
                let at = at.index(body.len());
                match how {
                    0 => body[at] = byte,
                    1 => body.insert(at, byte),
                    _ => { body.remove(at); }
                }
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for to in cuts.into_iter().chain([body.len()]) {
                pieces.push(&body[from..to]);
                from = to;
            }
            let (got, want) = (decode(&pieces), oracle(&body));
            // Of two reasons to refuse a body, which is seen first depends on how it comes.
            let refused = |fate: &Fate| !matches!(fate, Fate::Whole(..));
            prop_assert!(
                got == want || refused(&got) && refused(&want),
                "{:?}: {:?} wanted, {:?} got", String::from_utf8_lossy(&body), want, got
            );
        }
    }

    #[test]
    fn limits_hold() {
        let decode = |body: &str, bytes, fields| {
            let mut input = Bytes::copy_from_slice(body.as_bytes());
            Chunked::new(bytes, fields).decode(&mut input)
        };
        let long = format!("0\r\nx: {}\r\n\r\n", "x".repeat(100));
        assert_eq!(decode(&long, 50, 10), Err(Problem::HeadTooLarge));
        assert!(matches!(decode(&long, 200, 10), Ok(Piece::Trailers(_))));
        assert_eq!(decode("0\r\na: b\r\nc: d\r\n\r\n", 200, 1), Err(Problem::HeadTooLarge));
        let extension = format!("1;{}\r\nx\r\n", "x".repeat(MAX_EXTENSIONS + 1));
        assert_eq!(decode(&extension, 200, 1), Err(Problem::Chunk));
    }
}
