//! Where a password comes from: the environment, a file, standard input, or somebody typing it unseen.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Context;
use config::Env;
use model::Secret;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::files;

/// The password for an account.
///
/// # Errors
/// When it can't be read, or nobody is there to ask.
pub(crate) fn read(
    username: &str,
    file: Option<&Path>,
    env: &Env,
) -> anyhow::Result<Secret<String>> {
    let text = match (file, env.get("GATEWRIGHT_PASSWORD")) {
        (Some(path), _) => files::read(path)?.into_exposed(),
        (None, Some(password)) => password.to_owned(),
        (None, None) => ask(&format!("Password of {username}")).context(
            "there is no terminal to ask for the password: use --password-file or GATEWRIGHT_PASSWORD",
        )?,
    };
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Asks on the terminal, wherever standard input and output go, and does not show what is typed.
///
/// # Errors
/// When there is no terminal.
pub(crate) fn ask(what: &str) -> io::Result<String> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    write!(terminal, "{what}: ")?;
    let hidden = Hidden::new(terminal.try_clone()?)?;
    let mut line = String::new();
    BufReader::new(&terminal).read_line(&mut line)?;
    drop(hidden);
    writeln!(terminal)?;
    Ok(line)
}

/// Keeps a terminal from showing what is typed.
struct Hidden {
    terminal: File,
    before: rustix::termios::Termios,
}

impl Hidden {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(terminal.as_fd())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal.as_fd(), OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal.as_fd(), OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_before_the_environment_and_loses_its_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), " with spaces \n").unwrap();
        let env = Env::from([("GATEWRIGHT_PASSWORD", "from env")]);
        assert_eq!(read("x", Some(file.path()), &env).unwrap().expose(), " with spaces ");
        assert_eq!(read("x", None, &env).unwrap().expose(), "from env");
        assert!(read("x", Some(Path::new("/nonexistent")), &env).is_err());
    }
}
