//! The app behind the proxies under test: answers every request without a body with 1 KiB.
//!
//! One thread on epoll and nothing else, because it shares a core with the load generator: what it costs is missing
//! there. `bench-origin 127.0.0.1:19000`
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Context;
use clap::Parser;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    ETag: \"0123456789abcdef\"\r\nCache-Control: no-cache\r\nContent-Length: 1024\r\n\r\n";
const BODY: &[u8] = &[b'x'; 1024];
const LISTENER: u64 = 0;

/// The app behind the proxies under test.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    address: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let address = Args::parse().address;
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let mut origin = Origin::new(listener)?;
    loop {
        origin.turn()?;
    }
}

struct Origin {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: HashMap<u64, Connection>,
    next: u64,
    answer: Vec<u8>,
    buffer: Vec<u8>,
    events: Vec<Event>,
}

struct Connection {
    stream: TcpStream,
    /// How much of the empty line that ends a head was seen last.
    matched: usize,
    /// What the socket did not take at once.
    unsent: Vec<u8>,
}

impl Origin {
    fn new(listener: TcpListener) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            connections: HashMap::new(),
            next: LISTENER + 1,
            answer: [HEAD.as_bytes(), BODY].concat(),
            buffer: vec![0; 64 * 1024],
            events: Vec::with_capacity(512),
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), None)?;
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let token = event.data.u64();
            if token == LISTENER {
                self.accept()?;
            } else if let Some(connection) = self.connections.get_mut(&token)
                && connection.serve(&mut self.buffer, &self.answer).is_err()
            {
                self.connections.remove(&token);
            }
        }
        self.events = events;
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&self.epoll, &stream, EventData::new_u64(self.next), flags)?;
            let connection = Connection { stream, matched: 0, unsent: Vec::new() };
            self.connections.insert(self.next, connection);
            self.next += 1;
        }
    }
}

impl Connection {
    /// Reads all there is and answers it; an error when the connection is over.
    fn serve(&mut self, buffer: &mut [u8], answer: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() && !self.send()? {
            return Ok(());
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for _ in 0..self.heads(&buffer[..read]) {
                self.unsent.extend_from_slice(answer);
            }
            if !self.send()? {
                return Ok(());
            }
            if read < buffer.len() {
                // Edge-triggered: the next byte is a new event, and asking again would cost a system call.
                return Ok(());
            }
        }
    }

    /// How many heads end in these bytes.
    fn heads(&mut self, bytes: &[u8]) -> usize {
        const END: &[u8] = b"\r\n\r\n";
        let mut heads = 0;
        for &byte in bytes {
            self.matched = match byte {
                _ if byte == END[self.matched] => self.matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.matched == END.len() {
                heads += 1;
                self.matched = 0;
            }
        }
        heads
    }

    /// Writes what is unsent; false when the socket is full.
    fn send(&mut self) -> io::Result<bool> {
        let mut sent = 0;
        let result = loop {
            if sent == self.unsent.len() {
                break Ok(true);
            }
            match self.stream.write(&self.unsent[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        self.unsent.drain(..sent);
        result
    }
}
