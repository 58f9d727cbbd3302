use std::fmt;

/// Everything that is wrong with a configuration, or with the command line. Displayed with a line for each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors(pub Vec<Problem>);

impl Errors {
    /// The exit code for it (EX_USAGE of sysexits).
    pub const EXIT_CODE: u8 = 64;
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

/// One mistake.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands: `--workers`, `GATEWRIGHT_WORKERS`, `gatewright.toml line 3`.
    pub place: String,
    /// What is wrong; never shows a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.message),
            place => write!(f, "{place}: {}", self.message),
        }
    }
}
