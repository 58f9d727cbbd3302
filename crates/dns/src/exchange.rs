//! One message to one name server and its answer, with hickory's wire format over our own sockets: nothing cached, nothing
//! spawned, and the bytes at hand that a TSIG covers.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

/// What is offered to servers as the largest datagram (DNS Flag Day 2020).
pub(crate) const MAX_DATAGRAM: u16 = 1232;
/// Datagrams get lost: how often one is sent within the time of a try.
const SENDS: u32 = 2;

/// An answer as it came and as it reads.
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) message: Message,
}

/// Which transports are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// UDP, then TCP when the answer was cut short or none came (RFC 7766 §5).
    UdpThenTcp,
    /// TCP alone.
    Tcp,
}

/// Sends `bytes`, which are `request` on the wire, and waits for the answer to it, at most `patience` on each transport.
///
/// # Errors
/// Those of the sockets; `TimedOut` when no answer came, `InvalidData` when what came over TCP is not the answer.
pub(crate) async fn exchange(
    server: SocketAddr,
    transport: Transport,
    request: &Message,
    bytes: &[u8],
    patience: Duration,
) -> Result<Reply> {
    if transport == Transport::UdpThenTcp
        && let Ok(reply) = over_udp(server, request, bytes, patience).await
        && !reply.message.metadata.truncation
    {
        return Ok(reply);
    }
    match timeout(patience, over_tcp(server, request, bytes)).await {
        Ok(reply) => reply,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

async fn over_udp(
    server: SocketAddr,
    request: &Message,
    bytes: &[u8],
    patience: Duration,
) -> Result<Reply> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // Connected, so that the kernel drops what others send; the port is the kernel's random choice.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let start = Instant::now();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for send in 1..=SENDS {
        socket.send(bytes).await?;
        let until = start + patience * send / SENDS;
        while let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await {
            // What is no answer to this question may be forged or late: the true one may still come.
            if let Some(reply) = answer_to(request, &buffer[..received?]) {
                return Ok(reply);
            }
        }
    }
    Err(ErrorKind::TimedOut.into())
}

async fn over_tcp(server: SocketAddr, request: &Message, bytes: &[u8]) -> Result<Reply> {
    let length = u16::try_from(bytes.len()).map_err(Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    // One write, as RFC 7766 §8 asks.
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    answer_to(request, &reply).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// The message in `bytes` when it answers `request`. An error may come without the question (RFC 8945 §5.2, RFC 2136 §3.8).
fn answer_to(request: &Message, bytes: &[u8]) -> Option<Reply> {
    let message = Message::from_vec(bytes).ok()?;
    let same_question = message.queries == request.queries || message.queries.is_empty();
    let answers = message.metadata.id == request.metadata.id
        && message.metadata.message_type == MessageType::Response
        && same_question;
    answers.then(|| Reply { bytes: bytes.to_vec(), message })
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::{Name, RecordType};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn question() -> (Message, Vec<u8>) {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii("x.test.").unwrap(), RecordType::TXT));
        let bytes = message.to_vec().unwrap();
        (message, bytes)
    }

    fn answer(message: &Message) -> Vec<u8> {
        message.clone().into_response().to_vec().unwrap()
    }

    #[tokio::test]
    async fn without_udp_it_goes_by_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (message, bytes) = question();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            stream.read_exact(&mut vec![0; length.into()]).await.unwrap();
            let answer = answer(&message);
            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        };
        let addr = listener.local_addr().unwrap();
        let asked = exchange(addr, Transport::UdpThenTcp, &message, &bytes, PATIENCE);
        let (reply, ()) = tokio::join!(asked, server);
        assert_eq!(reply.unwrap().bytes, answer(&message));
    }

    #[tokio::test]
    async fn what_is_no_answer_to_the_question_is_not_taken() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (message, bytes) = question();
        let server = async {
            let mut buffer = [0; 512];
            let (_, from) = socket.recv_from(&mut buffer).await.unwrap();
            let mut forged = message.clone();
            forged.metadata.id = forged.metadata.id.wrapping_add(1);
            let mut other = message.clone();
            other.queries[0].set_name(Name::from_ascii("y.test.").unwrap());
            for bytes in [
                b"nonsense".to_vec(),
                bytes.clone(),
                answer(&forged),
                answer(&other),
                answer(&message),
            ] {
                socket.send_to(&bytes, from).await.unwrap();
            }
        };
        let addr = socket.local_addr().unwrap();
        let asked = exchange(addr, Transport::UdpThenTcp, &message, &bytes, PATIENCE);
        let (reply, ()) = tokio::join!(asked, server);
        assert_eq!(reply.unwrap().bytes, answer(&message));
    }
}
