//! Listening sockets: all bound before anything is served, one of each per worker.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{Error, Listen, Settings};

/// Connections that may wait to be accepted, per socket.
const BACKLOG: i32 = 4096;

/// What one worker listens on.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) http: Vec<TcpListener>,
    pub(crate) https: Vec<TcpListener>,
}

/// Where the data plane listens.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Plain HTTP.
    pub http: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// `/livez`, `/readyz`, `/metrics`.
    pub admin: Option<SocketAddr>,
}

/// Binds everything, or nothing.
pub(crate) fn bind(settings: &Settings) -> Result<(Vec<Sockets>, Addresses), Error> {
    let workers = settings.workers.max(1);
    let mut all: Vec<Sockets> = (0..workers).map(|_| Sockets::default()).collect();
    let mut addresses = Addresses::default();
    for listen in &settings.http {
        let (address, sockets) = sockets(listen, workers)?;
        addresses.http.push(address);
        all.iter_mut().zip(sockets).for_each(|(one, socket)| one.http.push(socket));
    }
    for listen in &settings.https {
        let (address, sockets) = sockets(listen, workers)?;
        addresses.https.push(address);
        all.iter_mut().zip(sockets).for_each(|(one, socket)| one.https.push(socket));
    }
    Ok((all, addresses))
}

/// Binds the one socket of the admin listener.
pub(crate) fn bind_admin(listen: &Listen) -> Result<(SocketAddr, TcpListener), Error> {
    let (address, mut sockets) = sockets(listen, 1)?;
    let none = || Error::Listen { listener: name(listen), source: io::ErrorKind::Other.into() };
    Ok((address, sockets.pop().ok_or_else(none)?))
}

fn sockets(listen: &Listen, count: usize) -> Result<(SocketAddr, Vec<TcpListener>), Error> {
    let opened = match listen {
        Listen::Address(address) => open(*address, count),
        Listen::Inherited(_, socket) => share(socket, count),
    };
    opened.map_err(|source| Error::Listen { listener: name(listen), source })
}

/// Sockets of one address among which the kernel spreads connections.
fn open(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // Sockets that share an address also share it with those of another process of the same user, which would then
    // get half of the connections. A first socket that does not share finds out.
    let sole = socket(address, false)?;
    sole.bind(&address.into())?;
    let bound = sole.local_addr()?.as_socket().unwrap_or(address);
    if count == 1 {
        sole.listen(BACKLOG)?;
        return Ok((bound, vec![sole.into()]));
    }
    drop(sole);
    let shared = (0..count).map(|_| {
        let socket = socket(bound, true)?;
        socket.bind(&bound.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    });
    Ok((bound, shared.collect::<io::Result<_>>()?))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // `[::]` means IPv4 too, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Handles to one socket, all of which accept from one queue.
fn share(socket: &TcpListener, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    socket.set_nonblocking(true)?;
    let shared = (0..count).map(|_| socket.try_clone()).collect::<io::Result<_>>()?;
    Ok((socket.local_addr()?, shared))
}

fn name(listen: &Listen) -> String {
    match listen {
        Listen::Address(address) => address.to_string(),
        Listen::Inherited(name, _) => format!("fd:{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> Listen {
        Listen::Address("127.0.0.1:0".parse().unwrap())
    }

    #[test]
    fn workers_share_a_port_and_a_second_process_is_told_so() {
        let settings =
            Settings { http: vec![any_port(), any_port()], workers: 3, ..Settings::default() };
        let (sockets, addresses) = bind(&settings).unwrap();
        assert_eq!(sockets.len(), 3);
        assert!(sockets.iter().all(|one| one.http.len() == 2 && one.https.is_empty()));
        let taken = Listen::Address(addresses.http[1]);
        let settings = Settings { https: vec![taken], workers: 2, ..Settings::default() };
        let error = bind(&settings).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {}", addresses.http[1]));
    }
}
