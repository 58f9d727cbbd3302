//! Everything that a fresh installation needs, as one text: out and in.
//!
//! The file is JSON lines: a header, a record each, and an end with counts and a checksum over all lines before it. They
//! stand at the end because the file is written as the store is read. Records are the fields as stored, secrets sealed.

mod check;
mod export;
mod file;
mod import;

pub use import::{Counts, Import, ImportMode, Imported, Listed};

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

/// What an export does about secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// They are in it as the store has them: sealed, where there is a key.
    #[default]
    Sealed,
    /// They are left out, and with them what is worth nothing without: certificates and the local authority. An
    /// account that an import makes anew can't log in before it is given a password.
    Left,
}

/// A file for what is to be imported, which nobody else can open and which is gone when it is closed.
///
/// # Errors
/// When the directory for temporary files (`TMPDIR`) can't be written.
pub fn spool() -> io::Result<File> {
    let mut random = [0; 12];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = std::env::temp_dir().join(format!("gatewright-import-{name}"));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
