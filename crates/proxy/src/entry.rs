//! The first moment of a connection: whose it is, and whether there is a place for it.

use std::net::SocketAddr;

use proxy_protocol::{Addresses, Header, Parsed, SHORTEST, parse};
use telemetry::Counter;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clients::Place;
use crate::conn::Ends;
use crate::worker::Worker;

/// So much is looked at together where a header's length shows only at its end.
const GLANCE: usize = 256;

/// Whether a peer is one that says at the beginning whose a connection is.
pub(crate) fn is_told(worker: &Worker, peer: SocketAddr) -> bool {
    worker.settings.proxy_protocol_from.contains(peer.ip())
}

/// Reads whose a connection is. Without its header in time it is nobody's: whoever has reached the port past the proxy
/// must not pass for the proxy.
pub(crate) async fn told(
    worker: &Worker,
    stream: &mut TcpStream,
    ends: Ends,
) -> Option<(Ends, Option<Place>)> {
    let header = timeout(worker.settings.timeouts.header, header(stream)).await;
    let why = match header {
        Ok(Ok(Header::Local)) => return Some((ends, enter(worker, ends.remote)?)),
        Ok(Ok(Header::Proxied(Addresses { source, destination }))) => {
            let remote = SocketAddr::new(source.ip().to_canonical(), source.port());
            let ends = Ends { remote, local: Some(destination) };
            return Some((ends, enter(worker, remote)?));
        }
        Ok(Err(why)) => why,
        Err(_) => "the PROXY protocol header does not come".to_owned(),
    };
    worker.meters.refused.with(["proxy_protocol"], Counter::inc);
    tracing::debug!(peer = %ends.remote, why, "a connection was closed");
    None
}

/// Finds a place for a connection; `None` when its client has too many. Where they are not limited, and for trusted proxies,
/// there is no place to find.
pub(crate) fn enter(worker: &Worker, remote: SocketAddr) -> Option<Option<Place>> {
    let Some(clients) = &worker.clients else { return Some(None) };
    if worker.settings.trusted_proxies.contains(remote.ip()) {
        return Some(None);
    }
    let place = clients.enter(remote.ip());
    if place.is_none() {
        worker.meters.refused.with(["client_limit"], Counter::inc);
        if clients.is_to_be_told(worker.time.now()) {
            let most = worker.settings.limits.connections_per_client;
            tracing::warn!(client = %remote.ip(), most, "a client has too many connections");
        }
    }
    place.map(Some)
}

/// Reads a header and not a byte beyond: what follows may be a TLS handshake, which another reads.
async fn header(stream: &mut TcpStream) -> Result<Header, String> {
    let mut bytes = vec![0; SHORTEST];
    read(stream, &mut bytes, 0).await?;
    loop {
        let (had, needed) = match parse(&bytes) {
            Parsed::Whole { header, .. } => return Ok(header),
            Parsed::Wrong(fault) => return Err(fault.to_string()),
            Parsed::Partial { needed } => (bytes.len(), needed),
        };
        // A line says not how long it is. What was looked at and has no end belongs to it.
        let line = needed == had + 1;
        let more = if line { glance(stream, &bytes).await? } else { needed - had };
        bytes.resize(had + more, 0);
        read(stream, &mut bytes, had).await?;
    }
}

/// How many of the bytes that have come, and were not read yet, belong to the header.
async fn glance(stream: &TcpStream, before: &[u8]) -> Result<usize, String> {
    let mut waiting = [0; GLANCE];
    let count = stream.peek(&mut waiting).await.map_err(|error| error.to_string())?;
    if count == 0 {
        return Err("the connection ended within the PROXY protocol header".to_owned());
    }
    let all = [before, &waiting[..count]].concat();
    match parse(&all) {
        Parsed::Whole { length, .. } => Ok(length.saturating_sub(before.len()).max(1)),
        Parsed::Partial { .. } => Ok(count),
        Parsed::Wrong(fault) => Err(fault.to_string()),
    }
}

async fn read(stream: &mut TcpStream, bytes: &mut [u8], from: usize) -> Result<(), String> {
    let read = stream.read_exact(&mut bytes[from..]).await;
    read.map(|_| ()).map_err(|error| format!("the PROXY protocol header can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use proxy_protocol::{Version, write};
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// In pieces of any size, with the client's own bytes behind.
    #[tokio::test]
    async fn not_a_byte_beyond_is_read() {
        let told = Addresses {
            source: "203.0.113.9:4711".parse().unwrap(),
            destination: "[2001:db8::1]:443".parse().unwrap(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        for wire in [
            write(Version::V1, &told),
            write(Version::V2, &told),
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN x\r\n".to_vec(),
        ] {
            for size in [1, 2, 7, 16, 200] {
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                client.set_nodelay(true).unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                let all = [&wire[..], b"\x16\x03\x01 and more\r\n"].concat();
                let send = async {
                    for piece in all.chunks(size) {
                        client.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                };
                let (header, ()) = tokio::join!(header(&mut stream), send);
                header.unwrap();
                drop(client);
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, b"\x16\x03\x01 and more\r\n", "{size}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        for wire in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 1", b"PROXY TCP9 x y z 1 2\r\n", b""]
        {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            client.write_all(wire).await.unwrap();
            drop(client);
            assert!(header(&mut stream).await.is_err());
        }
    }
}
