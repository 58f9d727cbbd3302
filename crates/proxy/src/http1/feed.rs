//! Streams of requests as a connection takes them in, for tests.

use super::requests::Requests;
use super::violation::Violation;

/// Where the stream went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a head: the service never hears of that request.
    Head,
    /// In a body whose head has passed.
    Body,
}

/// What is made of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Bytes that were used.
    pub(crate) passed: Vec<u8>,
    /// How the stream was refused, if it was.
    pub(crate) refused: Option<(Violation, Place)>,
}

/// Feeds a stream in the given pieces, as a connection does: what was not used is offered again. Behind a request for another
/// protocol nothing is.
pub(crate) fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut requests = Requests::default();
    let mut window = Vec::new();
    let mut seen = Seen::default();
    let (mut in_body, mut upgrade) = (false, false);
    for piece in pieces {
        window.extend_from_slice(piece);
        while seen.refused.is_none() {
            let used = match (in_body, requests.is_read_out()) {
                (true, true) if upgrade => break,
                (true, true) => {
                    requests.next();
                    in_body = false;
                    continue;
                }
                (true, false) => requests.body(&window).map(|stretch| stretch.used),
                (false, _) => requests.head(&window).map(|len| {
                    in_body = len.is_some();
                    len.unwrap_or(0)
                }),
            };
            match used {
                Ok(0) => break,
                Ok(used) => {
                    if in_body && !upgrade {
                        upgrade = asks_to_upgrade(&requests, &window[..used]);
                    }
                    seen.passed.extend(window.drain(..used));
                }
                Err(violation) => {
                    let place = if in_body { Place::Body } else { Place::Head };
                    seen.refused = Some((violation, place));
                }
            }
        }
    }
    seen
}

/// Whether these bytes are a head that does.
fn asks_to_upgrade(requests: &Requests, used: &[u8]) -> bool {
    let head = requests.current();
    let is_upgrade =
        |name: Option<&[u8]>| name.is_some_and(|it| it.eq_ignore_ascii_case(b"upgrade"));
    head.http_1_1 && head.fields.iter().any(|field| is_upgrade(used.get(field.name.range())))
}
