//! The lookup socket: which host answers a name, for a data plane on the same machine.
//!
//! A Unix stream. A request is `{"domain":"name"}`, with or without a newline after it; each is answered by one line:
//! the host's record as JSON, or `{}` when no pattern matches. Any number of requests may come on a connection, in as
//! many packets as it pleases the sender. When nothing is known yet the connection is closed without an answer, since
//! `{}` would say that there is no such host.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::Control;
use model::Hostname;
use serde_json::{Deserializer, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How many connections are open at once; more wait to be accepted.
const MOST: usize = 256;
/// How long a connection may take for a whole request, and for taking its answer.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest request: a name has 253 bytes at most.
const LONGEST: usize = 2048;
/// How long accepting pauses when the system has no more to give, such as file descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// Who may connect: the owner and the group.
const MODE: u32 = 0o660;

/// The socket, bound; its file goes with it.
#[derive(Debug)]
pub struct LookupSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// A socket's file, removed when dropped, unless another one has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl LookupSocket {
    /// Binds it at `path` with mode 0660, and gives it to the group of this id. A file left behind by a process that
    /// is gone is replaced; a missing directory is made.
    ///
    /// # Errors
    /// When another process serves there, something else lies there, or the directory can't be used.
    pub fn bind(path: &Path, group: Option<u32>) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        check_free(path)?;
        // Under another name until nobody but those meant can connect; the name is then changed at once, which also
        // replaces what was left behind.
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(name);
        remove(&new)?;
        let listener = UnixListener::bind(&new)?;
        let settled = settle(&new, path, group);
        if settled.is_err() {
            // The error that matters is the one at hand.
            let _ = remove(&new);
        }
        let identity = settled?;
        Ok(Self { listener, file: SocketFile { path: path.to_owned(), identity } })
    }

    /// Answers until `until` is done, then closes. Dropping it does so too.
    pub async fn serve(self, control: Control, until: impl Future<Output = ()>) {
        let Self { listener, file } = self;
        let mut connections = JoinSet::new();
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept(), if connections.len() < MOST => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(stream, control.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a lookup connection could not be accepted");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
        // No request takes long enough to be waited for.
        drop((file, listener));
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|it| identity(&it) == self.identity);
        if ours && let Err(error) = remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the lookup socket's file stays");
        }
    }
}

/// Fails when something is at `path` that must stay.
fn check_free(path: &Path) -> io::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let taken = |why: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, why.to_owned()));
    if !there.file_type().is_socket() {
        return taken("something else than a socket lies there; remove it or name another path");
    }
    match StdUnixStream::connect(path) {
        Ok(_) => taken("another process serves it; stop that one or name another path"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // Gone just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives the socket its group, mode and name; returns the file's identity.
fn settle(new: &Path, path: &Path, group: Option<u32>) -> io::Result<(u64, u64)> {
    if group.is_some() {
        chown(new, None, group)?;
    }
    fs::set_permissions(new, Permissions::from_mode(MODE))?;
    let identity = identity(&fs::symlink_metadata(new)?);
    fs::rename(new, path)?;
    Ok(identity)
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Serves one connection to its end.
async fn connection(mut stream: UnixStream, control: Control) {
    let mut input = Vec::new();
    loop {
        let received = timeout(SILENCE, stream.read_buf(&mut input)).await;
        if !matches!(received, Ok(Ok(1..))) {
            return;
        }
        let (requests, used) = match requests(&input) {
            Some(found) => found,
            None => return tracing::debug!("a lookup connection sent something else than JSON"),
        };
        for request in requests {
            let Some(answer) = answer(&control, &request).await else { return };
            if !matches!(timeout(SILENCE, stream.write_all(&answer)).await, Ok(Ok(()))) {
                return;
            }
        }
        input.drain(..used);
        if input.len() > LONGEST {
            return tracing::debug!("a lookup request has no end");
        }
    }
}

/// The whole JSON values at the start of the input and how many bytes they take; `None` when there is none and never
/// will be, because what stands there is no JSON.
fn requests(input: &[u8]) -> Option<(Vec<Value>, usize)> {
    let mut stream = Deserializer::from_slice(input).into_iter::<Value>();
    let (mut found, mut used) = (Vec::new(), 0);
    loop {
        match stream.next() {
            Some(Ok(value)) => found.push(value),
            Some(Err(error)) if error.is_eof() => return Some((found, used)),
            Some(Err(_)) if found.is_empty() => return None,
            // Those before it are answered first; the next look at the input finds it again.
            Some(Err(_)) | None => return Some((found, used)),
        }
        used = stream.byte_offset();
    }
}

/// The line for one request; `None` when nobody can tell yet.
async fn answer(control: &Control, request: &Value) -> Option<Vec<u8>> {
    let name = request.get("domain").and_then(Value::as_str);
    // What can't be a name leads nowhere.
    let name = name.and_then(|text| text.parse::<Hostname>().ok());
    let mut line = match name {
        None => "{}".to_owned(),
        Some(name) => match control.lookup_record(&name).await {
            Ok(record) => record.unwrap_or_else(|| "{}".to_owned()),
            Err(error) => {
                tracing::debug!(%error, "a lookup can't be answered");
                return None;
            }
        },
    };
    line.push('\n');
    Some(line.into_bytes())
}

#[cfg(test)]
mod tests;
