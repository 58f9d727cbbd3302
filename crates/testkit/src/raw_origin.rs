use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::Server;

type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;

/// An origin that runs a script for each connection and keeps every byte it reads.
///
/// ```no_run
/// # async fn example() {
/// // Answers the first request of a connection, reads the second and hangs up.
/// let origin = testkit::RawOrigin::start(|mut conversation| async move {
///     conversation.read_head().await;
///     conversation.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
///     conversation.read_head().await;
/// });
/// # }
/// ```
pub struct RawOrigin {
    server: Server,
    recorded: Recorded,
}

impl RawOrigin {
    /// Starts one; `script` is called for each connection, which closes when the script ends.
    pub fn start<F>(script: impl Fn(Conversation) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let recorded = Recorded::default();
        let records = recorded.clone();
        let server = Server::start(move |number, stream| {
            records.lock().unwrap().push(Vec::new());
            let recorded = records.clone();
            script(Conversation { number, stream, recorded, buffer: Vec::new() })
        });
        Self { server, recorded }
    }

    /// One that answers each request of a connection with 200 and `ok`, keeping the connection open.
    ///
    /// It understands `Content-Length` and `chunked` bodies, strictly; on anything else it stops reading.
    pub fn recording() -> Self {
        Self::start(|mut conversation| async move {
            while let Some(head) = conversation.read_head().await {
                if conversation.read_body(&head).await.is_none() {
                    return;
                }
                conversation.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Every byte read so far, per connection in the order of accepting.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.recorded.lock().unwrap().clone()
    }

    /// Forgets what was read; connections that are open go on.
    pub fn clear(&self) {
        self.recorded.lock().unwrap().iter_mut().for_each(Vec::clear);
    }
}

/// One connection of a [`RawOrigin`], seen from its script.
pub struct Conversation {
    number: usize,
    stream: TcpStream,
    recorded: Recorded,
    buffer: Vec<u8>,
}

impl Conversation {
    /// Which connection this is, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Reads through the empty line that ends a head; `None` at the end of the stream.
    pub async fn read_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            self.fill().await?;
        }
    }

    /// Reads the body that `head` announces; `None` when it never comes whole or the framing is unclear.
    pub async fn read_body(&mut self, head: &str) -> Option<Vec<u8>> {
        let chunked = header(head, "transfer-encoding").is_some_and(|value| value == "chunked");
        match header(head, "content-length") {
            Some(_) if chunked => None,
            Some(length) => self.read_exact(length.parse().ok()?).await,
            None if chunked => self.read_chunks().await,
            None => Some(Vec::new()),
        }
    }

    /// Reads exactly `length` bytes.
    pub async fn read_exact(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Writes all of `bytes`; a client that is gone is no error.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The socket, for a script that wants more than this.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    async fn read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line().await?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                while !self.read_line().await?.is_empty() {}
                return Some(body);
            }
            body.extend(self.read_exact(size).await?);
            self.read_exact(2).await.filter(|end| end == b"\r\n")?;
        }
    }

    async fn read_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).ok();
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Option<()> {
        let start = self.buffer.len();
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap_or(0);
        self.recorded.lock().unwrap()[self.number].extend(&self.buffer[start..]);
        (read > 0).then_some(())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_recorder_keeps_what_it_read() {
        let origin = RawOrigin::recording();
        let mut client = TcpStream::connect(origin.addr()).await.unwrap();
        let request = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = [0; 40];
        client.read_exact(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert_eq!(origin.received(), [request.to_vec()]);
    }
}
