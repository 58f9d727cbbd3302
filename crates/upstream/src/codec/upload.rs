use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::error::BoxError;
use crate::framing;
use crate::request_head::{BodyFraming, RequestHead};

/// The sending side of one exchange: the head, then the body as it comes.
#[derive(Debug)]
pub(crate) struct Upload<B> {
    body: B,
    framing: BodyFraming,
    piece: Piece,
    /// Whether `piece` is still the first, with the head: then all can be sent again.
    first: bool,
    /// Whether the body's end is in `piece` or before.
    over: bool,
    flushed: bool,
    held: bool,
    waiting_for_body: bool,
    written: u64,
}

/// What is being written: up to four parts at once.
#[derive(Debug, Default)]
struct Piece {
    head: Vec<u8>,
    line: Vec<u8>,
    data: Bytes,
    tail: &'static [u8],
    written: usize,
}

/// Why an upload ended early.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The upstream takes no more.
    Write(io::Error),
    /// The body gives no more.
    Body(BoxError),
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(body: B) -> Self {
        let framing = match (body.is_end_stream(), body.size_hint().exact()) {
            (true, _) | (_, Some(0)) => BodyFraming::None,
            (false, Some(length)) => BodyFraming::Length(length),
            (false, None) => BodyFraming::Chunked,
        };
        Self {
            body,
            framing,
            piece: Piece::default(),
            first: true,
            over: framing == BodyFraming::None,
            flushed: false,
            held: false,
            waiting_for_body: false,
            written: 0,
        }
    }

    /// The buffer given to [`begin`](Self::begin), if the head is still in it. It is of no more use once all is sent.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        mem::take(&mut self.piece.head)
    }

    /// The body itself, for another hand to send.
    pub(crate) fn into_body(self) -> B {
        self.body
    }

    /// For another hand to send and to give back: the body, how the whole of it is framed, and its first piece if that
    /// was read.
    pub(crate) fn into_parts(self) -> (B, BodyFraming, Bytes) {
        let framing = self.framing();
        (self.body, framing, self.piece.data)
    }

    /// The reverse of [`into_parts`](Self::into_parts): as if nothing had been sent.
    pub(crate) fn from_parts(
        body: B,
        framing: BodyFraming,
        first: Bytes,
    ) -> Result<Self, BoxError> {
        let mut upload = Self { framing, over: framing == BodyFraming::None, ..Self::new(body) };
        if !first.is_empty() {
            upload.data(first)?;
        }
        Ok(upload)
    }

    /// How the whole body is framed.
    pub(crate) fn framing(&self) -> BodyFraming {
        match (self.framing, self.first) {
            // What is left to send of a length counts down; before the first byte it is all.
            (BodyFraming::Length(left), true) => {
                BodyFraming::Length(left + self.piece.data.len() as u64)
            }
            (framing, _) => framing,
        }
    }

    /// Starts with this head, from the beginning. It is written to `buffer`, which is empty.
    pub(crate) fn begin(&mut self, head: &RequestHead<'_>, mut buffer: Vec<u8>) {
        debug_assert!(self.first, "only what is still all there can begin");
        encode(head, &mut buffer);
        self.piece.head = buffer;
        self.piece.written = 0;
        self.flushed = false;
        self.held =
            head.expects_continue() && self.piece.line.is_empty() && self.piece.data.is_empty();
        self.written = 0;
    }

    /// Whether all is still there to be sent once more.
    pub(crate) fn can_begin_again(&self) -> bool {
        self.first
    }

    /// Counts as written what may have been: TLS can send some of what it then fails to send.
    pub(crate) fn doubt(&mut self) {
        self.written = self.written.max(1);
    }

    /// Bytes the connection took.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether the body is held back until [`release`](Self::release).
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    pub(crate) fn release(&mut self) {
        self.held = false;
    }

    /// Whether everything was sent.
    pub(crate) fn is_done(&self) -> bool {
        self.over && self.flushed
    }

    /// Whether the last poll found the body with nothing to send, rather than the connection full.
    pub(crate) fn waits_for_body(&self) -> bool {
        self.waiting_for_body
    }

    /// Sends until all is sent, the connection is full, or the body has nothing yet.
    pub(crate) fn poll(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError>> {
        self.waiting_for_body = false;
        if self.first && self.written == 0 && self.may_pull() && self.piece.has_no_body() {
            // A body that is there already goes out with the head, in one write.
            if let Poll::Ready(pulled) = self.poll_pull(cx) {
                pulled.map_err(UploadError::Body)?;
            }
        }
        loop {
            while !self.piece.is_written() {
                let written = ready!(self.piece.poll_write(io, cx)).map_err(UploadError::Write)?;
                self.written += written as u64;
            }
            if self.over {
                ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(UploadError::Write)?;
                self.flushed = true;
                return Poll::Ready(Ok(()));
            }
            if !self.may_pull() || self.poll_pull(cx).map_err(UploadError::Body)?.is_pending() {
                self.waiting_for_body = true;
                // What was written shall not lie in TLS's buffer meanwhile.
                let _ = Pin::new(&mut *io).poll_flush(cx).map_err(UploadError::Write)?;
                return Poll::Pending;
            }
        }
    }

    fn may_pull(&self) -> bool {
        !self.over && !self.held
    }

    /// Takes the next frame of the body into the piece.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.piece.written > 0 {
            self.piece = Piece::default();
            self.first = false;
        }
        let Some(frame) = frame else { return Poll::Ready(self.end(&HeaderMap::new())) };
        let frame = frame.map_err(Into::into)?;
        Poll::Ready(match frame.into_data() {
            Ok(data) => self.data(data),
            Err(frame) => self.end(&frame.into_trailers().unwrap_or_default()),
        })
    }

    fn data(&mut self, data: Bytes) -> Result<(), BoxError> {
        let last = self.body.is_end_stream();
        match &mut self.framing {
            BodyFraming::Length(left) => {
                *left = left
                    .checked_sub(data.len() as u64)
                    .ok_or("the body is longer than announced")?;
                self.over = *left == 0;
                if last && !self.over {
                    return Err("the body is shorter than announced".into());
                }
            }
            // An empty chunk would be the last one.
            BodyFraming::Chunked if data.is_empty() => {}
            _ => {
                self.piece.line = format!("{:x}\r\n", data.len()).into_bytes();
                self.piece.tail = if last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
                self.over = last;
            }
        }
        self.piece.data = data;
        Ok(())
    }

    fn end(&mut self, trailers: &HeaderMap) -> Result<(), BoxError> {
        match self.framing {
            BodyFraming::Length(1..) => return Err("the body is shorter than announced".into()),
            BodyFraming::Chunked => {
                self.piece.line = b"0\r\n".to_vec();
                for (name, value) in trailers {
                    if framing::is_trailer(name) {
                        put_field(&mut self.piece.line, name.as_str(), value.as_bytes());
                    }
                }
                self.piece.tail = b"\r\n";
            }
            BodyFraming::Length(0) | BodyFraming::None => {}
        }
        self.over = true;
        Ok(())
    }
}

impl Piece {
    fn len(&self) -> usize {
        self.head.len() + self.line.len() + self.data.len() + self.tail.len()
    }

    fn is_written(&self) -> bool {
        self.written == self.len()
    }

    fn has_no_body(&self) -> bool {
        self.line.is_empty() && self.data.is_empty()
    }

    fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); 4];
        let (mut count, mut skip) = (0, self.written);
        for part in [&self.head[..], &self.line, &self.data, self.tail] {
            let left = &part[skip.min(part.len())..];
            skip = skip.saturating_sub(part.len());
            if !left.is_empty() {
                slices[count] = IoSlice::new(left);
                count += 1;
            }
        }
        let io = Pin::new(io);
        let written = ready!(match count {
            1 => io.poll_write(cx, &slices[0]),
            _ => io.poll_write_vectored(cx, &slices[..count]),
        })?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += written;
        Poll::Ready(Ok(written))
    }
}

fn encode(head: &RequestHead<'_>, out: &mut Vec<u8>) {
    out.reserve(1024);
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    let target = head.target.as_str();
    if !target.starts_with(['/', '*']) {
        // `http://name?query` has no path; origin form needs one.
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    head.for_each_field(|name, value| put_field(out, name.as_str(), value.as_bytes()));
    if let Some((name, value)) = head.id {
        put_field(out, name.as_str(), value);
    }
    if let Some(shared) = head.shared {
        out.extend_from_slice(shared.wire());
    }
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn put_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
