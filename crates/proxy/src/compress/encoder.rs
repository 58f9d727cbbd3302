//! The three codings behind one face.

use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::write::GzEncoder;
use static_files::Coding;
use zstd::zstd_safe::CParameter;

/// Between small and fast: beyond these levels a page takes several times as long and gets a few percent smaller.
const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// How far back is looked for what repeats, as a power of two: 256 KiB, and half of it for Brotli, which takes twenty times that in
/// memory for each transfer.
const WINDOW: u32 = 18;
const BROTLI_WINDOW: u32 = 17;
/// The size of the table by which it is looked for, as a power of two.
const TABLE: u32 = 16;
/// What Brotli hands on at a time.
const BROTLI_BUFFER: usize = 4096;

/// Compresses bytes as they come.
pub(super) struct Encoder(Kind);

enum Kind {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// One for a coding; `None` for the one that changes nothing, and when there is no memory.
    pub(super) fn new(coding: Coding) -> Option<Self> {
        let out = Vec::new();
        Some(Self(match coding {
            Coding::Identity => return None,
            Coding::Gzip => Kind::Gzip(GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL))),
            Coding::Brotli => {
                let encoder =
                    CompressorWriter::new(out, BROTLI_BUFFER, BROTLI_LEVEL, BROTLI_WINDOW);
                Kind::Brotli(Box::new(encoder))
            }
            Coding::Zstd => {
                let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL).ok()?;
                encoder.window_log(WINDOW).ok()?;
                encoder.set_parameter(CParameter::HashLog(TABLE)).ok()?;
                encoder.set_parameter(CParameter::ChainLog(TABLE)).ok()?;
                Kind::Zstd(encoder)
            }
        }))
    }

    /// Takes bytes in. What comes of them may come later.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer().write_all(bytes)
    }

    /// Puts out all that was taken in.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }

    /// What came out and was not taken yet.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(self.out()).into()
    }

    /// How much came out and was not taken yet.
    pub(super) fn ready(&mut self) -> usize {
        self.out().len()
    }

    /// What is left to put out at the end.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        Ok(match self.0 {
            Kind::Gzip(encoder) => encoder.finish()?,
            Kind::Brotli(encoder) => encoder.into_inner(),
            Kind::Zstd(encoder) => encoder.finish()?,
        }
        .into())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.0 {
            Kind::Gzip(encoder) => encoder,
            Kind::Brotli(encoder) => encoder,
            Kind::Zstd(encoder) => encoder,
        }
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match &mut self.0 {
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
        }
    }
}
