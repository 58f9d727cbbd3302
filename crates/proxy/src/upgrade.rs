//! Connections that switched protocols: bytes both ways, to the end.

use std::cell::RefCell;
use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::InspectWriter;
use upstream::UpgradedIo;

use crate::conn::Conn;
use crate::copy;
use crate::record::Record;

/// A switch of protocols that waits for its answer to be sent.
pub(crate) struct Tunnel {
    upstream: UpgradedIo,
    record: Box<Record>,
}

impl Tunnel {
    pub(crate) fn new(upstream: UpgradedIo, record: Box<Record>) -> Self {
        Self { upstream, record }
    }

    /// Copies both ways until both sides are done; each side's end is passed on to the other. No time limit: the end
    /// of the worker cuts it off. `early` came from the client behind its request.
    pub(crate) async fn run<S>(self, conn: &Conn, client: S, early: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { upstream, record } = self;
        let _open = Open::new(conn);
        let record = RefCell::new(record);
        let read = |bytes: &[u8]| record.borrow_mut().reads(bytes.len());
        let mut upstream = InspectWriter::new(upstream, read);
        let mut client = InspectWriter::new(client, |bytes| record.borrow_mut().sends(bytes.len()));
        let copied: io::Result<()> = async {
            upstream.write_all(&early).await?;
            upstream.flush().await?;
            // It may be a small part of the buffer that it came in.
            drop(early);
            copy::both_ways(&mut client, &mut upstream, &conn.worker.scratch).await
        }
        .await;
        if let Err(error) = copied {
            record.borrow_mut().fails(format!("tunnel: {error}"));
        }
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
