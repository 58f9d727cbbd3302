//! A client that sends what it is told to, byte for byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub(crate) struct Client {
    pub(crate) io: Box<dyn Io>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// What stands behind the last chunk.
    pub(crate) trailers: String,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn over(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.io.write_all(text.as_ref()).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// Sends what is still taken; whether it was.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.io.write_all(bytes).await.is_ok()
    }

    /// Sends a GET and reads the answer.
    pub(crate) async fn get(&mut self, host: &str, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        self.answer().await
    }

    /// Reads a whole answer; its body by length, chunks, or the end of the connection.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map(|length| length.parse().unwrap());
        if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer).await;
        } else if let Some(length) = length {
            answer.body = self.take(length).await;
        } else if !matches!(answer.status, 100..=199 | 204 | 304) {
            answer.body = self.rest().await;
        }
        answer
    }

    /// Reads an answer's head.
    pub(crate) async fn head(&mut self) -> Answer {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await).unwrap();
        let status = head[9..12].parse().unwrap();
        Answer { status, head, body: Vec::new(), trailers: String::new() }
    }

    async fn chunks(&mut self, answer: &mut Answer) {
        loop {
            let line = String::from_utf8(self.until(b"\r\n").await).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            if size == 0 {
                break;
            }
            answer.body.extend(self.take(size).await);
            assert_eq!(self.take(2).await, b"\r\n");
        }
        loop {
            let line = String::from_utf8(self.until(b"\r\n").await).unwrap();
            if line == "\r\n" {
                return;
            }
            answer.trailers.push_str(&line);
        }
    }

    /// Reads up to and including an end.
    pub(crate) async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|part| part == end) {
                return self.buffer.drain(..at + end.len()).collect();
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.fill().await > 0, "closed after {so_far:?}");
        }
    }

    /// Reads so many bytes.
    pub(crate) async fn take(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            assert!(self.fill().await > 0, "closed early");
        }
        self.buffer.drain(..n).collect()
    }

    /// Reads so many bytes, if they come; waits as long as it takes.
    pub(crate) async fn try_take(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < n {
            let mut chunk = vec![0; 64 * 1024];
            match self.io.read(&mut chunk).await {
                Ok(read) if read > 0 => self.buffer.extend_from_slice(&chunk[..read]),
                _ => return None,
            }
        }
        Some(self.buffer.drain(..n).collect())
    }

    /// Reads to the end of the connection, be it in order or not.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the connection is closed by the other side, without a further byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.fill().await == 0
    }

    /// Whether nothing comes for a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        timeout(Duration::from_millis(100), self.io.read(&mut byte)).await.is_err()
    }

    /// Closes the sending half.
    pub(crate) async fn finish(&mut self) {
        self.io.shutdown().await.unwrap();
    }

    async fn fill(&mut self) -> usize {
        let mut chunk = vec![0; 64 * 1024];
        let read = timeout(PATIENCE, self.io.read(&mut chunk)).await.expect("an answer in time");
        let n = read.unwrap_or(0);
        self.buffer.extend_from_slice(&chunk[..n]);
        n
    }
}
