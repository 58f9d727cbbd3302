use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use aws_lc_rs::digest::{Context as Hasher, SHA256};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// Bytes per frame.
const STEP: usize = 64 * 1024;

/// Twice a block without repetition, so that a frame can start anywhere in the first half.
static BLOCK: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut half = Vec::with_capacity(STEP);
    while half.len() < STEP {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        half.extend(state.to_le_bytes());
    }
    let whole = [half.as_slice(), half.as_slice()].concat();
    Bytes::from(whole)
});

/// A body of any length that costs no memory and whose every part differs from its neighbours.
pub struct Pattern {
    length: u64,
    sent: u64,
    announce: bool,
}

impl Pattern {
    /// `length` bytes with a `Content-Length`.
    pub fn sized(length: u64) -> Self {
        Self { length, sent: 0, announce: true }
    }

    /// `length` bytes of which the length is not told.
    pub fn chunked(length: u64) -> Self {
        Self { announce: false, ..Self::sized(length) }
    }

    /// What a receiver of `length` bytes has to find.
    pub fn digest(length: u64) -> Digest {
        let mut pattern = Self::sized(length);
        let mut hasher = Hasher::new(&SHA256);
        while let Some(bytes) = pattern.next() {
            hasher.update(&bytes);
        }
        Digest { length, sha256: hex(hasher) }
    }

    fn next(&mut self) -> Option<Bytes> {
        let left = usize::try_from(self.length - self.sent).unwrap_or(STEP).min(STEP);
        if left == 0 {
            return None;
        }
        let frame = usize::try_from(self.sent / STEP as u64).unwrap_or(0);
        let start = frame.wrapping_mul(7919) % STEP;
        self.sent += left as u64;
        Some(BLOCK.slice(start..start + left))
    }
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.announce && self.sent == self.length
    }

    fn size_hint(&self) -> SizeHint {
        if self.announce {
            SizeHint::with_exact(self.length - self.sent)
        } else {
            SizeHint::default()
        }
    }
}

/// Length and SHA-256 (hex) of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Bytes.
    pub length: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// Reads a body to its end without keeping it.
pub async fn drain<B: Body + Unpin>(mut body: B) -> Result<Digest, B::Error> {
    let mut hasher = Hasher::new(&SHA256);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame?.into_data() else { continue };
        while data.has_remaining() {
            let chunk = data.chunk();
            let read = chunk.len();
            hasher.update(chunk);
            length += read as u64;
            data.advance(read);
        }
    }
    Ok(Digest { length, sha256: hex(hasher) })
}

/// The SHA-256 of `bytes` in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(&SHA256);
    hasher.update(bytes);
    hex(hasher)
}

fn hex(hasher: Hasher) -> String {
    hasher.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drained_pattern_has_its_digest() {
        for length in [0, 1, 65_535, 65_536, 65_537, 1_000_000] {
            assert_eq!(drain(Pattern::chunked(length)).await.unwrap(), Pattern::digest(length));
        }
        assert_eq!(Pattern::digest(0).sha256, sha256(b""));
    }
}
