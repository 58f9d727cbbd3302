//! Opening and reading beneath a directory handle, with or without leave to wait for a disk.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};

use bytes::{Bytes, BytesMut};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Whether a call may wait for a disk or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Only what the kernel has in memory (`RESOLVE_CACHED`, `RWF_NOWAIT`).
    None,
    /// As long as it takes: on a thread made for that.
    Full,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is no such file for a client, for whatever reason.
    Missing,
    /// It can't be done without waiting.
    WouldWait,
    /// The machine can't.
    Io(io::Error),
}

/// What is known of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    /// Bytes.
    pub(crate) size: u64,
    /// When the content changed: seconds since 1970, which a file may also have been given.
    pub(crate) modified: i64,
    /// And nanoseconds.
    pub(crate) modified_nanos: u64,
    /// Whether it is a directory.
    pub(crate) is_folder: bool,
}

/// Opens what `relative` names beneath `root`. No symbolic link, rename or mount of `/proc` leads out of it. Devices,
/// pipes and sockets are missing.
pub(crate) fn beneath(
    root: impl AsFd,
    relative: &str,
    patience: Patience,
) -> Result<(OwnedFd, Stat), Trouble> {
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if patience == Patience::None {
        resolve |= ResolveFlags::CACHED;
    }
    // Not to wait for the other end of a pipe, nor to take a terminal.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let relative = if relative.is_empty() { "." } else { relative };
    let file = retrying(patience, || openat2(&root, relative, flags, Mode::empty(), resolve))?;
    let stat = fstat(&file).map_err(|errno| Trouble::Io(errno.into()))?;
    let is_folder = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => true,
        FileType::RegularFile => false,
        _ => return Err(Trouble::Missing),
    };
    let stat = Stat {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: stat.st_mtime,
        modified_nanos: stat.st_mtime_nsec,
        is_folder,
    };
    Ok((file, stat))
}

/// Reads exactly `length` bytes at `offset`.
pub(crate) fn read(
    file: impl AsFd,
    offset: u64,
    length: usize,
    patience: Patience,
) -> Result<Bytes, Trouble> {
    let mut buffer = BytesMut::zeroed(length);
    let mut done = 0;
    while done < length {
        match read_some(&file, offset + done as u64, &mut buffer[done..], patience)? {
            0 => return Err(Trouble::Io(shrunk())),
            more => done += more,
        }
    }
    Ok(buffer.freeze())
}

/// A file that has fewer bytes than when it was opened.
fn shrunk() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read")
}

fn read_some(
    file: impl AsFd,
    offset: u64,
    buffer: &mut [u8],
    patience: Patience,
) -> Result<usize, Trouble> {
    let flags = match patience {
        Patience::None => ReadWriteFlags::NOWAIT,
        Patience::Full => ReadWriteFlags::empty(),
    };
    loop {
        match preadv2(&file, &mut [IoSliceMut::new(buffer)], offset, flags) {
            Ok(read) => return Ok(read),
            Err(Errno::INTR) => {}
            // The second: a file system that can't tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP) if patience == Patience::None => {
                return Err(Trouble::WouldWait);
            }
            Err(errno) => return Err(Trouble::Io(errno.into())),
        }
    }
}

/// How often an opening is tried again that something renamed at that moment has spoiled.
const TRIES: usize = 8;

fn retrying(
    patience: Patience,
    mut open: impl FnMut() -> rustix::io::Result<OwnedFd>,
) -> Result<OwnedFd, Trouble> {
    for _ in 0..TRIES {
        match open() {
            Ok(file) => return Ok(file),
            Err(Errno::AGAIN) if patience == Patience::None => return Err(Trouble::WouldWait),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) if is_missing(errno) => return Err(Trouble::Missing),
            Err(errno) => return Err(Trouble::Io(errno.into())),
        }
    }
    Err(Trouble::Missing)
}

/// Whether an error says that a client has no such file: there is none, it must not be read, or it lies outside.
fn is_missing(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT
            | Errno::NOTDIR
            | Errno::ACCESS
            | Errno::PERM
            | Errno::LOOP
            | Errno::XDEV
            | Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::NXIO
            | Errno::NODEV
    )
}
