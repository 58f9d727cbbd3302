//! Files that hold secrets: read from anywhere, written for their owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use model::Secret;

/// The text in a file; `-` is standard input.
///
/// # Errors
/// When it can't be read, or is no text.
pub(crate) fn read(path: &Path) -> anyhow::Result<Secret<String>> {
    let text = if is_stdin(path) {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text).context("reading standard input")
    } else {
        fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))
    };
    text.map(Secret::new)
}

/// Whether a path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes a file that only its owner can read, whole or not at all.
///
/// # Errors
/// When it can't be written; then what was there before still is.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let part = beside(path);
    let written = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    written().or_else(|error| {
        let _ = fs::remove_file(&part);
        Err(error).with_context(|| format!("{} can't be written", path.display()))
    })
}

/// A place for what is to become this file.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_for_its_owner_only_even_over_a_public_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        fs::write(&path, "old").unwrap();
        write_private(&path, "new\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().expose(), "new\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_private(&dir.path().join("none/key.pem"), "x").is_err());
        assert!(read(&dir.path().join("none")).is_err());
    }
}
