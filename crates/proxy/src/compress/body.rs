use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use upstream::Error;

use super::encoder::Encoder;
use crate::body::Source;

/// So many bytes are compressed at a time: a fraction of a millisecond.
const PIECE: usize = 16 * 1024;
/// With so much compressed it is handed on, whatever else is there.
const HAND_ON: usize = 8 * 1024;
/// After so many pieces of which nothing came, others on this thread have their turn.
const PIECES: usize = 4;

/// A body that is compressed as it passes through. When the app pauses, what came until then is put out, so that nobody
/// waits for what is there.
pub(crate) struct Compressed {
    plain: Source,
    /// `None` once it is at its end.
    encoder: Option<Encoder>,
    /// What is still to be compressed.
    left: Bytes,
    /// Whether the encoder may hold back something.
    holds: bool,
    trailers: Option<HeaderMap>,
}

impl Compressed {
    pub(super) fn new(plain: Source, encoder: Encoder) -> Self {
        let (left, holds, trailers) = (Bytes::new(), false, None);
        Self { plain, encoder: Some(encoder), left, holds, trailers }
    }

    /// Whether nothing follows.
    pub(crate) fn is_over(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        for _ in 0..PIECES {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(self.trailers.take().map(|it| Ok(Frame::trailers(it))));
            };
            if !self.left.is_empty() {
                let piece = self.left.split_to(self.left.len().min(PIECE));
                encoder.write(&piece).map_err(broken)?;
                self.holds = true;
                if encoder.ready() >= HAND_ON {
                    return data(encoder.take());
                }
                continue;
            }
            match self.plain.poll_source(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => self.left = bytes,
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        return self.end();
                    }
                },
                Poll::Ready(None) => return self.end(),
                // It must not pass for whole: nothing that would end it is sent.
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Pending if self.holds => {
                    self.holds = false;
                    encoder.flush().map_err(broken)?;
                    match encoder.take() {
                        nothing if nothing.is_empty() => return Poll::Pending,
                        bytes => return data(bytes),
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.encoder.take() {
            Some(encoder) => data(encoder.finish().map_err(broken)?),
            None => Poll::Ready(None),
        }
    }
}

fn data(bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
    Poll::Ready(Some(Ok(Frame::data(bytes))))
}

fn broken(error: std::io::Error) -> Error {
    Error::RequestBody { source: error.into() }
}
