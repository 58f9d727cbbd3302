//! The sealing keys of `up`: made at the first start, kept beside the data for its owner only.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use model::Secret;

/// The key in this file, which is made when missing: 256 random bits, in hexadecimal.
///
/// # Errors
/// When it can't be read or made, or holds something else.
pub(crate) fn key(path: &Path) -> anyhow::Result<Secret<String>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => make(path)?,
        Err(error) => {
            return Err(error).with_context(|| format!("{} can't be read", path.display()));
        }
    };
    let key = text.trim();
    if key.len() < 16 {
        bail!("{} holds no key", path.display());
    }
    Ok(Secret::new(key.to_owned()))
}

fn make(path: &Path) -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the system has no randomness")?;
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{key}")?;
        // What is sealed with it must not outlive it.
        file.sync_all()
    };
    write().with_context(|| format!("{} can't be written", path.display()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        let first = key(&path).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!(key(&path).unwrap().expose(), first.expose());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(key(&dir.path().join("cert.key")).unwrap().expose(), first.expose());
    }

    #[test]
    fn an_empty_key_file_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(key(file.path()).is_err());
    }
}
