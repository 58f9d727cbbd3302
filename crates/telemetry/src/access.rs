use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::datetime::Stamps;
use crate::{AccessFormat, AccessRecord, Metrics};

/// A writer hands its buffer over when it holds this much. Each handing over wakes a thread.
const FLUSH_AT: usize = 128 << 10;
/// How many handed-over buffers may wait: with [`FLUSH_AT`] the memory a stuck reader can cost.
const QUEUE: usize = 32;
/// How long a writer that ends keeps trying to hand over its last lines.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// What to write and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// The lines' format.
    pub format: AccessFormat,
    /// Where they go.
    pub target: AccessTarget,
}

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard output.
    Stdout,
    /// Appended to a file, which is made (mode 0640) when missing.
    File(PathBuf),
}

/// The access log of a process. Clones share it.
///
/// Lines reach it through one [`AccessWriter`] per worker thread; a thread of its own writes them. Lines that can't be
/// written, because the reader is too slow or the disk is full, are dropped and counted in
/// `gatewright_access_log_dropped_total`.
#[derive(Clone, Debug)]
pub struct AccessLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    format: AccessFormat,
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    closed: Mutex<Receiver<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    dropped: AtomicU64,
    reopen: AtomicBool,
}

#[derive(Debug)]
enum Message {
    Lines { buffer: Vec<u8>, lines: u64, back: SyncSender<Vec<u8>> },
    Wake,
    Close,
}

impl AccessLog {
    /// Opens the target and starts the writing thread.
    ///
    /// # Errors
    /// When the file can't be opened (the error names it) or the thread can't be started.
    pub fn open(settings: &AccessSettings, metrics: &Metrics) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let (closing, closed) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        if settings.format != AccessFormat::Off {
            let file = open_target(&settings.target)?;
            let sink = Sink { target: settings.target.clone(), file, shared: shared.clone() };
            thread::Builder::new().name("access-log".to_owned()).spawn(move || {
                sink.run(&messages);
                let _ = closing.send(());
            })?;
        }
        let counted = shared.clone();
        metrics.sampled_counter(
            "gatewright_access_log_dropped_total",
            "Access-log lines that could not be written.",
            move |samples| samples.push(&[], counted.dropped.load(Relaxed)),
        );
        Ok(Self(Arc::new(Inner {
            format: settings.format,
            queue,
            shared,
            closed: Mutex::new(closed),
        })))
    }

    /// A log that writes nothing.
    ///
    /// # Errors
    /// Never in practice; as [`open`](Self::open).
    pub fn off() -> io::Result<Self> {
        let settings = AccessSettings { format: AccessFormat::Off, target: AccessTarget::Stdout };
        Self::open(&settings, &Metrics::new())
    }

    /// A worker's end. Its owner calls [`AccessWriter::flush`] every second or so.
    pub fn writer(&self) -> AccessWriter {
        let (back, returned) = sync_channel(4);
        AccessWriter {
            log: self.clone(),
            buffer: Vec::new(),
            lines: 0,
            stamps: Stamps::default(),
            back,
            returned,
        }
    }

    /// Has the file opened anew, for log rotation. Does nothing for stdout.
    pub fn reopen(&self) {
        self.0.shared.reopen.store(true, Relaxed);
        // With a full queue the flag is seen soon anyway.
        let _ = self.0.queue.try_send(Message::Wake);
    }

    /// How many lines could not be written.
    pub fn dropped(&self) -> u64 {
        self.0.shared.dropped.load(Relaxed)
    }

    /// Waits until everything handed over so far is written, at most this long. For the end of the process, after
    /// every writer is dropped; nothing is written afterwards. Blocks the thread. False when time ran out.
    pub fn close(&self, timeout: Duration) -> bool {
        if self.0.format == AccessFormat::Off {
            return true;
        }
        let deadline = Instant::now() + timeout;
        if let Err(TrySendError::Full(_)) = send_until(&self.0.queue, Message::Close, deadline) {
            return false;
        }
        let closed = self.0.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let left = deadline.saturating_duration_since(Instant::now());
        !matches!(closed.recv_timeout(left), Err(RecvTimeoutError::Timeout))
    }
}

/// One worker's end of the [`AccessLog`]. Dropping it hands over what is left.
#[derive(Debug)]
pub struct AccessWriter {
    log: AccessLog,
    buffer: Vec<u8>,
    lines: u64,
    stamps: Stamps,
    back: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
}

impl AccessWriter {
    /// Whether lines are wanted at all; else a caller can save itself the record.
    pub fn is_on(&self) -> bool {
        self.log.0.format != AccessFormat::Off
    }

    /// Appends a line to this worker's buffer and hands that over when it is full. Never blocks.
    pub fn record(&mut self, record: &AccessRecord<'_>) {
        if !self.is_on() {
            return;
        }
        record.write(self.log.0.format, &mut self.stamps, &mut self.buffer);
        self.lines += 1;
        if self.buffer.len() >= FLUSH_AT {
            self.flush();
        }
    }

    /// Hands over what is buffered. Never blocks: when the queue is full the lines are dropped and counted.
    pub fn flush(&mut self) {
        if let Some(message) = self.take()
            && let Err(error) = self.log.0.queue.try_send(message)
        {
            self.lost(error);
        }
    }

    fn take(&mut self) -> Option<Message> {
        if self.buffer.is_empty() {
            return None;
        }
        let fresh = self.returned.try_recv().unwrap_or_default();
        let buffer = std::mem::replace(&mut self.buffer, fresh);
        let lines = std::mem::take(&mut self.lines);
        Some(Message::Lines { buffer, lines, back: self.back.clone() })
    }

    /// Counts the lines of a message that wasn't taken and keeps its buffer.
    fn lost(&mut self, error: TrySendError<Message>) {
        let (TrySendError::Full(message) | TrySendError::Disconnected(message)) = error;
        if let Message::Lines { mut buffer, lines, .. } = message {
            self.log.0.shared.dropped.fetch_add(lines, Relaxed);
            buffer.clear();
            self.buffer = buffer;
        }
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_FLUSH;
        if let Some(message) = self.take()
            && let Err(error) = send_until(&self.log.0.queue, message, deadline)
        {
            self.lost(error);
        }
    }
}

/// Sends, waiting for room until the deadline.
fn send_until(
    queue: &SyncSender<Message>,
    mut message: Message,
    deadline: Instant,
) -> Result<(), TrySendError<Message>> {
    loop {
        match queue.try_send(message) {
            Err(TrySendError::Full(unsent)) if Instant::now() < deadline => {
                message = unsent;
                thread::park_timeout(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// The writing thread's side.
struct Sink {
    target: AccessTarget,
    file: File,
    shared: Arc<Shared>,
}

impl Sink {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            if self.shared.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            match message {
                Message::Lines { mut buffer, lines, back } => {
                    if let Err(error) = self.file.write_all(&buffer) {
                        let dropped = self.shared.dropped.fetch_add(lines, Relaxed);
                        // Once in a while is enough: the counter tells the rest.
                        if dropped.is_multiple_of(1000) {
                            tracing::error!(%error, "access-log lines can't be written");
                        }
                    }
                    buffer.clear();
                    let _ = back.try_send(buffer);
                }
                Message::Wake => {}
                Message::Close => return,
            }
        }
    }

    fn reopen(&mut self) {
        if let AccessTarget::File(_) = &self.target {
            match open_target(&self.target) {
                Ok(file) => self.file = file,
                Err(error) => tracing::error!(%error, "keeping the old access-log file"),
            }
        }
    }
}

fn open_target(target: &AccessTarget) -> io::Result<File> {
    match target {
        AccessTarget::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        AccessTarget::File(path) => open_file(path).map_err(|error| {
            io::Error::new(error.kind(), format!("access log {}: {error}", path.display()))
        }),
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::LazyLock;
    use std::time::SystemTime;

    use super::*;
    use crate::{AccessContext, AccessOrigin};

    const LONG: Duration = Duration::from_secs(10);

    static CONTEXT: LazyLock<AccessContext> = LazyLock::new(|| {
        AccessContext::new(&AccessOrigin {
            remote: ([127, 0, 0, 1], 1).into(),
            scheme: "http",
            host: b"",
            host_pattern: None,
            tls_version: None,
            tls_cipher: None,
            server_name: None,
        })
    });

    fn record(uri: &str) -> AccessRecord<'_> {
        AccessRecord {
            time: SystemTime::UNIX_EPOCH,
            request_id: "1",
            context: &CONTEXT,
            client_ip: [127, 0, 0, 1].into(),
            proto: "HTTP/1.1",
            method: "GET",
            uri: uri.as_bytes(),
            upstream: None,
            status: 200,
            bytes_read: 0,
            bytes_sent: 0,
            duration: Duration::ZERO,
            upstream_time: None,
            user_agent: None,
            referer: None,
            trace_id: None,
            error: None,
        }
    }

    fn open(path: &Path, metrics: &Metrics) -> AccessLog {
        let target = AccessTarget::File(path.to_owned());
        AccessLog::open(&AccessSettings { format: AccessFormat::Combined, target }, metrics)
            .unwrap()
    }

    #[test]
    fn every_line_of_every_writer_is_there_after_close() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = open(&path, &Metrics::new());
        let writers: Vec<_> = (0..3)
            .map(|thread| {
                let mut writer = log.writer();
                thread::spawn(move || {
                    (0..2000).for_each(|line| writer.record(&record(&format!("/{thread}/{line}"))));
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert!(log.close(LONG));
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 6000);
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 6000);
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn reopen_follows_a_rotated_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let log = open(&path, &Metrics::new());
        let mut writer = log.writer();
        writer.record(&record("/one"));
        writer.flush();
        fs::rename(&path, &old).unwrap();
        log.reopen();
        writer.record(&record("/two"));
        drop(writer);
        assert!(log.close(LONG));
        // Where "/one" went depends on whether it was written before the rotation; lost it must not be.
        let (old, new) = (fs::read_to_string(&old).unwrap(), fs::read_to_string(&path).unwrap());
        assert!(new.contains("/two"));
        assert_eq!(format!("{old}{new}").lines().count(), 2);
    }

    #[test]
    fn a_reader_that_never_reads_costs_lines_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        // Both ends, so that opening blocks neither side; nobody reads.
        let _reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let metrics = Metrics::new();
        let log = open(&path, &metrics);
        let mut writer = log.writer();
        let uri = "x".repeat(FLUSH_AT);
        (0..QUEUE + 20).for_each(|_| writer.record(&record(&uri)));
        assert!((10..=20).contains(&log.dropped()), "{}", log.dropped());
        let counted = format!("gatewright_access_log_dropped_total {}\n", log.dropped());
        assert!(metrics.render().contains(&counted));
        assert!(!log.close(Duration::ZERO), "it can't have been written");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let target = AccessTarget::File("/nonexistent/access.log".into());
        let settings = AccessSettings { format: AccessFormat::Json, target };
        let error = AccessLog::open(&settings, &Metrics::new()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/access.log"));
    }

    #[test]
    fn off_writes_nothing() {
        let log = AccessLog::off().unwrap();
        let mut writer = log.writer();
        assert!(!writer.is_on());
        writer.record(&record("/"));
        writer.flush();
        assert!(log.close(Duration::ZERO));
        assert_eq!(log.dropped(), 0);
    }
}
