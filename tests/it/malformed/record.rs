//! Reads what an origin recorded back into requests, strictly: what is not a request is an error.

/// One request as the origin saw it.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Its target.
    pub(super) path: String,
    /// Whether all of it came.
    pub(super) complete: bool,
}

/// The requests of one connection, of which the last may be incomplete.
pub(super) fn requests(mut bytes: &[u8]) -> Result<Vec<Recorded>, String> {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return Err(format!("half a head: {:?}", text(bytes)));
        };
        let (path, framing) = head(&bytes[..end])?;
        let rest = &bytes[end + 4..];
        let len = match framing {
            Framing::Length(len) => (len <= rest.len()).then_some(len),
            Framing::Chunked => chunks(rest)?,
        };
        requests.push(Recorded { path, complete: len.is_some() });
        bytes = &rest[len.unwrap_or(rest.len())..];
    }
    Ok(requests)
}

enum Framing {
    Length(usize),
    Chunked,
}

fn head(bytes: &[u8]) -> Result<(String, Framing), String> {
    let bad = |why: &str| Err(format!("{why}: {:?}", text(bytes)));
    if bytes.iter().any(|b| b.is_ascii_control() && !b"\r\n\t".contains(b)) {
        return bad("a control byte");
    }
    let head = text(bytes);
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let [method, path, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return bad("a request line");
    };
    if method.is_empty() || !path.starts_with('/') {
        return bad("a request line");
    }
    let (mut hosts, mut lengths, mut encodings) = (0, Vec::new(), Vec::new());
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return bad("a field without a colon");
        };
        if name.is_empty() || name.contains([' ', '\t', '\r', '\n']) || value.contains(['\r', '\n'])
        {
            return bad("a field");
        }
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => lengths.push(value.trim().to_owned()),
            "transfer-encoding" => encodings.push(value.trim().to_owned()),
            _ => {}
        }
    }
    if hosts != 1 {
        return bad("not one Host");
    }
    let framing = match (&lengths[..], &encodings[..]) {
        ([], []) => Framing::Length(0),
        ([length], []) => {
            Framing::Length(length.parse().map_err(|_| format!("a length: {length:?}"))?)
        }
        ([], [encoding]) if encoding == "chunked" => Framing::Chunked,
        _ => return bad("unclear framing"),
    };
    Ok((path.to_owned(), framing))
}

/// The length of a chunked body with its trailers; `None` while incomplete.
fn chunks(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = text(&bytes[at..at + end]);
        let size =
            usize::from_str_radix(&line, 16).map_err(|_| format!("a chunk size: {line:?}"))?;
        at += end + 2;
        if size == 0 {
            let trailers = &bytes[at..];
            if trailers.starts_with(b"\r\n") {
                return Ok(Some(at + 2));
            }
            return Ok(find(trailers, b"\r\n\r\n").map(|len| at + len + 4));
        }
        let Some(after) = bytes.get(at + size..) else { return Ok(None) };
        match after {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => at += size + 2,
            _ => return Err(format!("a chunk that goes on: {:?}", text(&bytes[at..]))),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
