//! Connections that switched protocols: bytes both ways, to the end.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use upstream::UpgradedIo;

use crate::conn::Conn;
use crate::record::Record;

/// A switch of protocols that waits for its answer to be sent.
pub(crate) struct Tunnel {
    upstream: UpgradedIo,
    record: Record,
}

impl Tunnel {
    pub(crate) fn new(upstream: UpgradedIo, record: Record) -> Self {
        Self { upstream, record }
    }

    /// Copies both ways until both sides are done; each side's end is passed on to the other. No time limit: the end
    /// of the worker cuts it off. `early` came from the client behind its request.
    pub(crate) async fn run<S>(mut self, conn: &Conn, mut client: S, early: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let _open = Open::new(conn);
        let (read, written) = conn.pulse.bytes();
        let read = read.saturating_sub(early.len() as u64);
        // Told to the record as it goes, since the tunnel may be dropped at any point.
        let record = Counting { conn, read, written, record: &mut self.record };
        let copied: io::Result<()> = async {
            self.upstream.write_all(&early).await?;
            copy_bidirectional(&mut client, &mut self.upstream).await?;
            Ok(())
        }
        .await;
        if let Err(error) = copied {
            record.record.fails(format!("tunnel: {error}"));
        }
    }
}

/// Tells the record, at the end, what moved.
struct Counting<'a> {
    conn: &'a Conn,
    read: u64,
    written: u64,
    record: &'a mut Record,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let (read, written) = self.conn.pulse.bytes();
        self.record.tunnelled(read - self.read, written - self.written);
    }
}

/// Counts an open tunnel.
struct Open<'a>(&'a Conn);

impl<'a> Open<'a> {
    fn new(conn: &'a Conn) -> Self {
        conn.worker.meters.tunnels.add(1);
        Self(conn)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.worker.meters.tunnels.add(-1);
    }
}
