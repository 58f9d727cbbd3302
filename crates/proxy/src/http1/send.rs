//! An answer on its way to the client.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;
use upstream::BoxError;

use super::answer::{self, Framing, Ours};
use super::link::Link;
use super::request::Wants;
use crate::body::Reply;
use crate::conn::Conn;

/// Sends an answer whole and gives its memory back. `last`: the connection ends with it.
///
/// Says whether it does: not only if `last`, but also where only the end can tell how long the answer is.
///
/// # Errors
/// The client is gone, or the body broke off: the answer is incomplete, which only the end of the connection can tell.
pub(super) async fn send(
    conn: &Conn,
    link: &RefCell<Link>,
    response: Response<Reply>,
    wants: Wants,
    last: bool,
) -> io::Result<bool> {
    let (head, body) = response.into_parts();
    let told = answer::told(&head.headers);
    let framing = answer::framing(head.status, told, &body.size_hint(), wants);
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let last = !switches && (last || told.close || framing == Framing::Close);
    let mut batch = Batch { own: conn.worker.spare.bytes(), ..Batch::default() };
    let date = conn.worker.time.http_date();
    let ours = Ours { date: &date, id: body.unnamed() };
    answer::write(&mut batch.own, &head, (told, framing), wants, last, ours);
    conn.worker.spare.keep_fields(head.headers);
    link.borrow_mut().is_answered();
    let mut sending = Sending {
        body: (framing != Framing::None).then_some(body),
        framing,
        trailers: wants.trailers,
        batch,
    };
    let sent = poll_fn(|cx| sending.poll(cx, link)).await;
    conn.worker.spare.keep_bytes(sending.batch.own);
    sent.map(|()| last)
}

/// Sends a whole answer as it is.
pub(super) async fn send_bytes(link: &RefCell<Link>, bytes: Vec<u8>) -> io::Result<()> {
    let mut batch = Batch { own: bytes, ..Batch::default() };
    poll_fn(|cx| {
        let io = &mut link.borrow_mut().io;
        ready!(batch.poll_write(cx, io))?;
        Pin::new(io).poll_flush(cx)
    })
    .await
}

/// What is left of an answer.
struct Sending<B> {
    /// None once it has ended, so that its end is told of then.
    body: Option<B>,
    framing: Framing,
    trailers: bool,
    batch: Batch,
}

/// What is to be written before the body is asked for more: our own bytes, a part of the body, and what ends that.
#[derive(Default)]
struct Batch {
    own: Vec<u8>,
    data: Bytes,
    tail: &'static [u8],
    written: usize,
    /// Whether a part of the body is in it.
    full: bool,
}

/// A part of a body up to this size is copied behind the head: the kernel takes one buffer for a twentieth less than two.
const COPIED: usize = 4 << 10;

const END_OF_CHUNK: &[u8] = b"\r\n";
const END_OF_CHUNKS: &[u8] = b"\r\n0\r\n\r\n";
const NO_MORE_CHUNKS: &[u8] = b"0\r\n\r\n";

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, cx: &mut Context<'_>, link: &RefCell<Link>) -> Poll<io::Result<()>> {
        loop {
            // The head goes out with the first part of the body, if that is there.
            let waits = !self.batch.full && self.poll_part(cx)?.is_pending();
            let io = &mut link.borrow_mut().io;
            ready!(self.batch.poll_write(cx, io))?;
            if waits || self.body.is_none() {
                ready!(Pin::new(io).poll_flush(cx))?;
                return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }

    /// Takes the next part of the body into the batch, or its end.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) else {
            self.end();
            return Poll::Ready(self.whole());
        };
        // The record has its reason.
        let frame = frame.map_err(io::Error::other)?;
        match frame.into_data() {
            Ok(data) => self.data(data),
            Err(frame) => self.trail(frame),
        }
        let over = self.framing == Framing::Length(0);
        if over || self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.end();
            return Poll::Ready(self.whole());
        }
        Poll::Ready(Ok(()))
    }

    fn data(&mut self, mut data: Bytes) {
        match &mut self.framing {
            Framing::Length(left) => {
                // More than was announced would be taken for the next answer.
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
            }
            // A chunk of no bytes would be the last.
            Framing::Chunked if !data.is_empty() => {
                // Writing to memory does not fail.
                let _ = write!(self.batch.own, "{:x}\r\n", data.len());
                self.batch.tail = END_OF_CHUNK;
            }
            Framing::Chunked | Framing::Close | Framing::None => {}
        }
        self.batch.data = data;
        self.batch.full = true;
    }

    /// Trailers, for who understands them and where the coding has a place for them.
    fn trail(&mut self, frame: Frame<Bytes>) {
        let wanted = self.framing == Framing::Chunked && self.trailers;
        let Some(fields) = frame.into_trailers().ok().filter(|_| wanted) else { return };
        self.batch.own.extend_from_slice(b"0\r\n");
        write_fields(&mut self.batch.own, &fields);
        self.batch.own.extend_from_slice(b"\r\n");
        self.framing = Framing::Close;
    }

    /// The body is over: the record is written, and the connection to the upstream is free for others.
    fn end(&mut self) {
        self.body = None;
        if self.framing == Framing::Chunked {
            self.batch.tail = match self.batch.data.is_empty() {
                true => NO_MORE_CHUNKS,
                false => END_OF_CHUNKS,
            };
        }
    }

    fn whole(&self) -> io::Result<()> {
        match self.framing {
            Framing::Length(left) if left > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn write_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        answer::field(out, name.as_str(), value.as_bytes());
    }
}

impl Batch {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        self.join();
        let parts: [&[u8]; 3] = [&self.own, &self.data, self.tail];
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        while self.written < whole {
            let mut slices = [IoSlice::new(&[]); 3];
            let (mut skip, mut count) = (self.written, 0);
            for part in parts {
                let left = part.get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(part.len());
                if !left.is_empty() {
                    slices[count] = IoSlice::new(left);
                    count += 1;
                }
            }
            let n = match &slices[..count] {
                [one] => ready!(Pin::new(&mut *io).poll_write(cx, one))?,
                several => ready!(Pin::new(&mut *io).poll_write_vectored(cx, several))?,
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        self.own.clear();
        self.data = Bytes::new();
        self.tail = &[];
        self.written = 0;
        self.full = false;
        Poll::Ready(Ok(()))
    }

    /// Makes one buffer of a head and a short body, unless a part of them is out.
    fn join(&mut self) {
        if self.written == 0 && !self.own.is_empty() && self.data.len() <= COPIED {
            self.own.extend_from_slice(&self.data);
            self.own.extend_from_slice(self.tail);
            self.data = Bytes::new();
            self.tail = &[];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::rc::Rc;
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::pulse::Pulse;
    use crate::stream::Stream;
    use crate::time::Time;
    use crate::transport::Metered;

    /// A body that is not always there at once.
    struct Parts(VecDeque<Option<Result<Frame<Bytes>, &'static str>>>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Some(frame)) => Poll::Ready(Some(frame.map_err(BoxError::from))),
            }
        }
    }

    fn data(text: &'static str) -> Option<Result<Frame<Bytes>, &'static str>> {
        Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
    }

    fn trailers() -> Option<Result<Frame<Bytes>, &'static str>> {
        let mut fields = HeaderMap::new();
        fields.insert("x-sum", http::HeaderValue::from_static("7"));
        Some(Ok(Frame::trailers(fields)))
    }

    /// What a client reads of a body through a pipe of so many bytes, behind the head `H:`.
    async fn sent(
        parts: Vec<Option<Result<Frame<Bytes>, &'static str>>>,
        framing: Framing,
        trailers: bool,
        pipe: usize,
    ) -> (String, bool) {
        let (mut client, server) = duplex(pipe);
        let time = Rc::new(Time::new(runtime::Clock::system()));
        let pulse = Pulse::new(Default::default(), Default::default(), true, Instant::now());
        let pulse = Rc::new(pulse);
        let io = Metered::new(Stream::Pipe(server), pulse.clone(), time);
        let link = RefCell::new(Link::new(io, pulse));
        let mut sending = Sending {
            body: Some(Parts(parts.into())),
            framing,
            trailers,
            batch: Batch { own: b"H:".to_vec(), ..Batch::default() },
        };
        let mut read = String::new();
        let send = async {
            let whole = poll_fn(|cx| sending.poll(cx, &link)).await.is_ok();
            drop(link);
            whole
        };
        let (whole, result) = tokio::join!(send, client.read_to_string(&mut read));
        result.unwrap();
        (read.replace("\r\n", "|"), whole)
    }

    #[tokio::test]
    async fn a_body_arrives_as_its_framing_says() {
        use Framing::{Chunked, Close, Length};
        for pipe in [1, 3, 7, 1 << 16] {
            for (parts, framing, wanted, expected, whole) in [
                (vec![data("abc"), None, data("de")], Length(5), false, "H:abcde", true),
                (vec![None, data("abc")], Length(3), false, "H:abc", true),
                (vec![data("abc"), data("def")], Length(4), false, "H:abcd", true),
                (vec![data("abc")], Length(4), false, "H:abc", false),
                (vec![], Length(0), false, "H:", true),
                (vec![data("abc"), None, data("de")], Chunked, false, "H:3|abc|2|de|0||", true),
                (vec![data(""), data("a"), data("")], Chunked, false, "H:1|a|0||", true),
                (vec![], Chunked, false, "H:0||", true),
                (vec![data("abc"), trailers()], Chunked, true, "H:3|abc|0|x-sum: 7||", true),
                (vec![data("abc"), trailers()], Chunked, false, "H:3|abc|0||", true),
                (vec![data("abc"), trailers()], Length(3), true, "H:abc", true),
                (vec![data("abc"), None, Some(Err("broken"))], Chunked, false, "H:3|abc|", false),
                (vec![data("abc"), None, data("de")], Close, false, "H:abcde", true),
            ] {
                let seen = sent(parts, framing, wanted, pipe).await;
                assert_eq!(seen, (expected.to_owned(), whole), "{framing:?}, pipe {pipe}");
            }
        }
    }

    /// Short parts are copied behind what goes before them, longer ones are not, and no client can tell.
    #[tokio::test]
    async fn parts_of_every_size_arrive() {
        for length in [COPIED - 1, COPIED, COPIED + 1, 3 * COPIED] {
            let part = || Some(Ok(Frame::data(Bytes::from("x".repeat(length)))));
            let (text, size) = ("x".repeat(length), format!("{length:x}"));
            for pipe in [5, COPIED, 1 << 16] {
                let plain = Framing::Length(2 * length as u64 + 2);
                let parts = vec![part(), None, data("de"), part()];
                let seen = sent(parts, plain, false, pipe).await;
                assert!(seen == (format!("H:{text}de{text}"), true), "{length}, pipe {pipe}");
                let seen = sent(vec![part(), part()], Framing::Chunked, false, pipe).await;
                let expected = format!("H:{size}|{text}|{size}|{text}|0||");
                assert!(seen == (expected, true), "{length} in chunks, pipe {pipe}");
            }
        }
    }
}
