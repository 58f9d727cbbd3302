use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::chunked::{Chunked, Piece};
use super::intake::BulkIntake;
use super::upload::UploadError;
use super::{Codec, Connection};
use crate::framing::Framing;
use crate::pool::Pool;
use crate::stream::Stream;
use crate::{Error, Problem};

/// What is left to send when the answer has already begun.
pub(crate) type RestOfUpload =
    Box<dyn FnMut(&mut Stream, &mut Context<'_>) -> Poll<Result<(), UploadError>>>;

/// A body that is read from its connection piece by piece, and gives the connection back at its end.
pub(crate) struct AnswerBody {
    codec: Rc<Codec>,
    pool: Rc<Pool<Connection>>,
    /// None after the end or an error.
    connection: Option<Connection>,
    decoder: Decoder,
    /// Read, not yet decoded.
    input: Bytes,
    intake: BulkIntake,
    upload: Option<RestOfUpload>,
    reusable: bool,
}

#[derive(Debug)]
enum Decoder {
    Length(u64),
    Chunked(Box<Chunked>),
    Close,
    Done,
    /// Found while looking beyond data that was handed over first.
    Failed(Problem),
}

impl AnswerBody {
    pub(crate) fn new(
        codec: Rc<Codec>,
        pool: Rc<Pool<Connection>>,
        connection: Connection,
        framing: Framing,
        input: Bytes,
        upload: Option<RestOfUpload>,
        reusable: bool,
    ) -> Self {
        let decoder = match framing {
            Framing::None => Decoder::Done,
            Framing::Length(length) => Decoder::Length(length),
            Framing::Chunked => {
                Decoder::Chunked(Box::new(Chunked::new(codec.max_head, codec.max_fields)))
            }
            Framing::Close => Decoder::Close,
        };
        let mut intake = BulkIntake::new();
        intake.grow_after(input.len());
        let connection = Some(connection);
        Self { codec, pool, connection, decoder, input, intake, upload, reusable }
    }

    /// Data out of what was read; none: more must be read. When the body is over, `decoder` says so.
    fn decode(&mut self) -> Result<Option<Frame<Bytes>>, Problem> {
        let frame = match &mut self.decoder {
            Decoder::Done => None,
            Decoder::Failed(problem) => return Err(*problem),
            Decoder::Close => {
                let data = std::mem::take(&mut self.input);
                (!data.is_empty()).then(|| Frame::data(data))
            }
            Decoder::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                *left -= take as u64;
                let data = self.input.split_to(take);
                if *left == 0 {
                    self.decoder = Decoder::Done;
                }
                (!data.is_empty()).then(|| Frame::data(data))
            }
            Decoder::Chunked(chunked) => match chunked.decode(&mut self.input)? {
                Piece::More => None,
                Piece::End => {
                    self.decoder = Decoder::Done;
                    None
                }
                Piece::Trailers(trailers) => {
                    self.decoder = Decoder::Done;
                    Some(Frame::trailers(trailers))
                }
                Piece::Data(data) => {
                    match chunked.skip_framing(&mut self.input) {
                        Err(problem) => self.decoder = Decoder::Failed(problem),
                        Ok(()) if chunked.is_done() => self.decoder = Decoder::Done,
                        Ok(()) => {}
                    }
                    Some(Frame::data(data))
                }
            },
        };
        Ok(frame)
    }

    /// The body is over: the connection goes back, unless something is left on it.
    fn finish(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.reusable && self.input.is_empty() && self.upload.is_none() {
            self.pool.put(connection);
        }
        self.upload = None;
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.decoder = Decoder::Done;
        self.connection = None;
        self.upload = None;
        Poll::Ready(Some(Err(error)))
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let (Some(upload), Some(connection)) = (&mut self.upload, &mut self.connection) else {
            return Ok(());
        };
        match upload(&mut connection.stream, cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.upload = None;
                Ok(())
            }
            Poll::Ready(Err(UploadError::Write(_))) => {
                self.upload = None;
                self.reusable = false;
                Ok(())
            }
            Poll::Ready(Err(UploadError::Body(source))) => Err(Error::RequestBody { source }),
        }
    }

    fn left(&self) -> Option<u64> {
        match self.decoder {
            Decoder::Length(left) => Some(left),
            _ => None,
        }
    }

    /// The connection ended.
    fn ended(&mut self, error: Option<io::Error>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if matches!(self.decoder, Decoder::Close) && error.is_none() {
            self.decoder = Decoder::Done;
            self.finish();
            return Poll::Ready(None);
        }
        let endpoint = self.pool.endpoint().clone();
        self.fail(Error::Truncated { endpoint, source: error })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if let Err(error) = this.poll_upload(cx) {
            return this.fail(error);
        }
        loop {
            let frame = match this.decode() {
                Ok(frame) => frame,
                Err(problem) => {
                    let endpoint = this.pool.endpoint().clone();
                    return this.fail(Error::BadResponse { endpoint, problem });
                }
            };
            if matches!(this.decoder, Decoder::Done) {
                this.finish();
                return Poll::Ready(frame.map(Ok));
            }
            if let Some(frame) = frame {
                return Poll::Ready(Some(Ok(frame)));
            }
            let left = this.left();
            let Some(connection) = &mut this.connection else { return Poll::Ready(None) };
            let stream = &mut connection.stream;
            match this.intake.poll_read(&this.codec.intake, left, stream, cx) {
                Poll::Ready(Ok(read)) if !read.is_empty() => {
                    connection.alarm.rest();
                    this.input = read;
                }
                Poll::Ready(Ok(_)) => return this.ended(None),
                Poll::Ready(Err(error)) => return this.ended(Some(error)),
                Poll::Pending => {
                    ready!(connection.alarm.poll(cx));
                    let endpoint = this.pool.endpoint().clone();
                    return this.fail(Error::ResponseTimeout { endpoint });
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.decoder, Decoder::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Length(left) => SizeHint::with_exact(left),
            Decoder::Done => SizeHint::with_exact(0),
            _ => SizeHint::new(),
        }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody")
            .field("endpoint", self.pool.endpoint())
            .field("decoder", &self.decoder)
            .finish_non_exhaustive()
    }
}
