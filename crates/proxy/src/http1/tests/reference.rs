//! A slow parser of request streams, written from RFC 9112 and not from ours: whole input, text functions, no
//! state carried over. It says what should pass and whether the rest is bad. Limits are left to the table.

/// What a stream amounts to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything is fine so far; so many bytes may pass.
    Good(usize),
    /// The head that starts here is bad.
    BadHead(usize),
    /// A chunked body is bad.
    BadBody,
}

pub(super) fn judge(stream: &[u8]) -> Outcome {
    let mut at = 0;
    loop {
        let lines = Text(&stream[at..]).lines();
        let head = match head(&lines) {
            Ok(Some(head)) => head,
            Ok(None) => return Outcome::Good(at),
            Err(Bad) => return Outcome::BadHead(at),
        };
        at += head.len;
        match head.body {
            BodyKind::Sized(len) => {
                if (stream.len() - at) as u64 <= len {
                    // The last byte of a body may be the last of the stream.
                    return Outcome::Good(stream.len());
                }
                at += usize::try_from(len).unwrap();
            }
            BodyKind::Chunks => match chunks(&stream[at..]) {
                Ok(Chunks::Whole(len)) => at += len,
                Ok(Chunks::Part(len)) => return Outcome::Good(at + len),
                Err(Bad) => return Outcome::BadBody,
            },
        }
        if head.upgrade {
            return Outcome::Good(at);
        }
    }
}

struct Bad;

struct HeadInfo {
    len: usize,
    body: BodyKind,
    upgrade: bool,
}

enum BodyKind {
    Sized(u64),
    Chunks,
}

enum Chunks {
    Whole(usize),
    Part(usize),
}

/// Bytes read as Latin-1, so that every byte is one character.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    /// The lines, line ends included; the last may be incomplete.
    fn lines(&self) -> Vec<String> {
        self.0
            .split_inclusive(|&b| b == b'\n')
            .map(|line| line.iter().map(|&b| char::from(b)).collect())
            .collect()
    }
}

fn head(lines: &[String]) -> Result<Option<HeadInfo>, Bad> {
    let mut lines = lines.iter();
    let mut len = 0;
    let mut next = || -> Result<Option<&str>, Bad> {
        let Some(line) = lines.next() else { return Ok(None) };
        len += line.chars().count();
        whole(line)
    };
    let Some(mut first) = next()? else { return Ok(None) };
    if first.is_empty() {
        match next()? {
            Some(line) => first = line,
            None => return Ok(None),
        }
    }
    let (authority, modern) = request_line(first)?;
    let mut fields: Vec<(String, String)> = Vec::new();
    loop {
        match next()? {
            None => return Ok(None),
            Some("") => break,
            Some(line) => {
                let (name, value) = field(line)?;
                let seen = |wanted: &str| fields.iter().any(|(name, _)| name == wanted);
                match name.as_str() {
                    "host" if seen("host") || !host(&value) => return Err(Bad),
                    "content-length" if seen("content-length") || !length(&value) => {
                        return Err(Bad);
                    }
                    "transfer-encoding"
                        if seen("transfer-encoding")
                            || !modern
                            || !value.eq_ignore_ascii_case("chunked") =>
                    {
                        return Err(Bad);
                    }
                    _ => fields.push((name, value)),
                }
            }
        }
    }
    let get = |wanted: &str| {
        fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    };
    match (get("host"), authority) {
        (None, _) if modern => return Err(Bad),
        (Some(host), Some(authority)) if host.to_lowercase() != authority.to_lowercase() => {
            return Err(Bad);
        }
        _ => {}
    }
    let body = match (get("transfer-encoding"), get("content-length")) {
        (Some(_), Some(_)) => return Err(Bad),
        (Some(_), None) => BodyKind::Chunks,
        (None, length) => BodyKind::Sized(length.map_or(0, |text| text.parse().unwrap())),
    };
    Ok(Some(HeadInfo { len, body, upgrade: modern && get("upgrade").is_some() }))
}

/// A line without its end, if it is complete.
fn whole(line: &str) -> Result<Option<&str>, Bad> {
    let text = |c: char| c == '\t' || (c >= ' ' && c != '\x7f');
    let content = line.strip_suffix("\r\n").or(line.strip_suffix('\r')).unwrap_or(line);
    if !content.chars().all(text) {
        return Err(Bad);
    }
    Ok(line.ends_with('\n').then_some(content))
}

/// The authority of an absolute target, and whether this is HTTP/1.1.
fn request_line(line: &str) -> Result<(Option<String>, bool), Bad> {
    let [method, target, version] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(Bad);
    };
    if !token(method) || method == "CONNECT" || !["HTTP/1.0", "HTTP/1.1"].contains(&version) {
        return Err(Bad);
    }
    if target.is_empty() || !target.chars().all(|c| ('!'..='~').contains(&c) && c != '#') {
        return Err(Bad);
    }
    let modern = version == "HTTP/1.1";
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((None, modern));
    }
    let (scheme, rest) = target.split_once("://").ok_or(Bad)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) || !host(authority) {
        return Err(Bad);
    }
    Ok((Some(authority.to_owned()), modern))
}

fn field(line: &str) -> Result<(String, String), Bad> {
    let (name, value) = line.split_once(':').ok_or(Bad)?;
    if !token(name) {
        return Err(Bad);
    }
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

fn token(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

fn length(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

fn host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inner, port))
                if inner.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c)) =>
            {
                (inner, port)
            }
            _ => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let port_fits = match port.strip_prefix(':') {
        Some(digits) => digits.len() <= 5 && digits.chars().all(|c| c.is_ascii_digit()),
        None => port.is_empty(),
    };
    !name.is_empty() && port_fits && (text.starts_with('[') || name.chars().all(plain))
}

fn chunks(body: &[u8]) -> Result<Chunks, Bad> {
    let mut at = 0;
    loop {
        let rest = &body[at..];
        let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else {
            return if size_prefix(rest) { Ok(Chunks::Part(body.len())) } else { Err(Bad) };
        };
        let size = size(&rest[..end]).ok_or(Bad)?;
        at += end + 2;
        if size == 0 {
            return trailers(&body[at..]).map(|len| match len {
                Some(len) => Chunks::Whole(at + len),
                None => Chunks::Part(at),
            });
        }
        let left = body.len() - at;
        if (left as u64) <= size {
            return Ok(Chunks::Part(body.len()));
        }
        at += usize::try_from(size).unwrap();
        match &body[at..] {
            [b'\r'] => return Ok(Chunks::Part(body.len())),
            [b'\r', b'\n', ..] => at += 2,
            _ => return Err(Bad),
        }
    }
}

fn size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let (digits, extension) = text.split_once(';').unwrap_or((text, ""));
    let visible = extension.chars().all(|c| c == '\t' || (' '..='~').contains(&c));
    let hex =
        !digits.is_empty() && digits.len() <= 16 && digits.chars().all(|c| c.is_ascii_hexdigit());
    (visible && hex).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Whether something can follow that makes this a size line.
fn size_prefix(part: &[u8]) -> bool {
    let line = part.strip_suffix(b"\r").unwrap_or(part);
    part.is_empty() || size(line).is_some()
}

fn trailers(section: &[u8]) -> Result<Option<usize>, Bad> {
    let mut len = 0;
    for line in Text(section).lines() {
        len += line.chars().count();
        match whole(&line)? {
            None => return Ok(None),
            Some("") => return Ok(Some(len)),
            Some(line) => {
                let (name, _) = field(line)?;
                if ["content-length", "transfer-encoding", "host"].contains(&name.as_str()) {
                    return Err(Bad);
                }
            }
        }
    }
    Ok(None)
}
