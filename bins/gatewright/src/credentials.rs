//! The tokens of `login`, by API, in a file that only its owner can read.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use anyhow::{Context, bail};
use config::Env;
use model::Secret;

/// The file with the tokens.
pub(crate) struct Credentials {
    path: PathBuf,
}

impl Credentials {
    /// `$XDG_CONFIG_HOME/gatewright/credentials.json`, or the same below `~/.config`.
    ///
    /// # Errors
    /// When neither variable says where.
    pub(crate) fn new(env: &Env) -> anyhow::Result<Self> {
        let set = |name| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let base = base.context("HOME is not set, so there is no place to keep a token")?;
        Ok(Self { path: base.join("gatewright/credentials.json") })
    }

    /// The token for an API.
    pub(crate) fn token(&self, api: &str) -> anyhow::Result<Option<Secret<String>>> {
        Ok(self.read()?.remove(api).map(Secret::new))
    }

    /// Keeps a token, or forgets it.
    pub(crate) fn set(&self, api: &str, token: Option<&Secret<String>>) -> anyhow::Result<()> {
        let mut tokens = self.read()?;
        match token {
            Some(token) => tokens.insert(api.to_owned(), token.expose().clone()),
            None => tokens.remove(api),
        };
        self.write(&tokens).with_context(|| format!("{} can't be written", self.path.display()))
    }

    fn read(&self) -> anyhow::Result<BTreeMap<String, String>> {
        match fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is damaged: remove it", self.path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => {
                Err(error).with_context(|| format!("{} can't be read", self.path.display()))
            }
        }
    }

    /// Replaces the file as a whole.
    fn write(&self, tokens: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let Some(directory) = self.path.parent() else { bail!("it has no directory") };
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let new = self.path.with_extension(format!("json.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(serde_json::to_string_pretty(tokens)?.as_bytes())?;
        file.write_all(b"\n")?;
        Ok(fs::rename(&new, &self.path)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    #[test]
    fn tokens_are_kept_by_api_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::from([("HOME", dir.path().to_str().unwrap())]);
        let credentials = Credentials::new(&env).unwrap();
        assert!(credentials.token("http://a").unwrap().is_none());
        credentials.set("http://a", Some(&Secret::new("A".to_owned()))).unwrap();
        credentials.set("http://b", Some(&Secret::new("B".to_owned()))).unwrap();
        credentials.set("http://a", None).unwrap();
        assert!(credentials.token("http://a").unwrap().is_none());
        assert_eq!(credentials.token("http://b").unwrap().unwrap().expose(), "B");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(credentials.path.as_path()), 0o600);
        assert_eq!(mode(credentials.path.as_path().parent().unwrap()), 0o700);
    }

    #[test]
    fn xdg_goes_before_home() {
        let env = Env::from([("HOME", "/home/x"), ("XDG_CONFIG_HOME", "/xdg")]);
        let credentials = Credentials::new(&env).unwrap();
        assert_eq!(credentials.path.as_path(), Path::new("/xdg/gatewright/credentials.json"));
        assert!(Credentials::new(&Env::default()).is_err());
    }
}
