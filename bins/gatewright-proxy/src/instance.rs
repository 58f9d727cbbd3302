//! The name of this instance in leases and status.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;

/// The name given, or the one kept in the state directory, or a new one, kept there for the next start. A directory
/// that can't be written costs only that: the name is then for this run.
pub(crate) fn name(given: Option<&str>, state_dir: &Path) -> anyhow::Result<String> {
    if let Some(name) = given {
        return Ok(name.to_owned());
    }
    let path = state_dir.join("instance");
    match fs::read_to_string(&path) {
        Ok(name) if is_name(name.trim()) => return Ok(name.trim().to_owned()),
        Ok(_) => tracing::warn!(path = %path.display(), "holds no name; it gets a new one"),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, path = %path.display(), "can't be read"),
    }
    let name = random()?;
    let kept = fs::create_dir_all(state_dir).and_then(|()| fs::write(&path, format!("{name}\n")));
    if let Err(error) = kept {
        tracing::warn!(%error, path = %path.display(), "this instance's name can't be kept");
    }
    Ok(name)
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 6];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the system has no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_name_is_kept_and_a_given_one_beats_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = name(None, &state).unwrap();
        assert!(is_name(&first));
        assert_eq!(name(None, &state).unwrap(), first);
        assert_eq!(name(Some("proxy-1"), &state).unwrap(), "proxy-1");
        assert_eq!(name(None, &state).unwrap(), first);
    }

    #[test]
    fn a_directory_that_cannot_be_written_costs_only_the_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inside = file.path().join("state");
        assert_ne!(name(None, &inside).unwrap(), name(None, &inside).unwrap());
    }

    #[test]
    fn a_file_with_something_else_in_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("instance"), "two words\n").unwrap();
        let first = name(None, dir.path()).unwrap();
        assert_eq!(name(None, dir.path()).unwrap(), first);
    }
}
