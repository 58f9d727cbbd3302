//! What ends a command without success, and its exit code.

use std::fmt;
use std::io;

use api::types::Problem;
use config::Errors;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong: clap's text.
    Usage(String),
    /// Settings are wrong.
    Settings(Errors),
    /// The API refused.
    Refused(Box<Problem>),
    /// Nothing matches what was asked for.
    NotFound(String),
    /// It is written, but does not run everywhere yet.
    NotApplied(Vec<String>),
    /// A service died under way.
    Died(anyhow::Error),
    /// Anything else.
    Other(anyhow::Error),
}

impl Failure {
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let text = error.to_string();
        Self::Usage(text.trim_start_matches("error: ").trim_end().to_owned())
    }

    /// The exit code, as the help tells it.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Settings(_) => Errors::EXIT_CODE,
            Self::Refused(problem) if problem.status == 404 => 2,
            Self::NotFound(_) => 2,
            Self::NotApplied(_) => 3,
            Self::Died(_) => 70,
            Self::Refused(_) | Self::Other(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::NotFound(text) => f.write_str(text),
            Self::Settings(errors) => write!(f, "wrong settings\n{errors}"),
            Self::Refused(problem) => refusal(f, problem),
            Self::NotApplied(laggards) => {
                write!(f, "written, but not yet running on {}", laggards.join(", "))
            }
            Self::Died(error) | Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

/// A refusal with every wrong field on a line of its own.
fn refusal(f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
    write!(f, "{} ({} {})", problem.detail, problem.status, problem.code)?;
    for error in &problem.errors {
        let place = if error.pointer.is_empty() { "(whole)" } else { &error.pointer };
        write!(f, "\n  {place}: {}", error.detail)?;
    }
    if problem.status == 401 {
        write!(f, "\n  log in with: gatewright login")?;
    }
    Ok(())
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(error.into())
    }
}

#[cfg(test)]
mod tests {
    use api::types::FieldError;

    use super::*;

    fn problem(status: u16, errors: &[(&str, &str)]) -> Failure {
        let error = |(pointer, detail): &(&str, &str)| FieldError {
            pointer: (*pointer).to_owned(),
            detail: (*detail).to_owned(),
        };
        Failure::Refused(Box::new(Problem {
            kind: "about:blank".to_owned(),
            title: "x".to_owned(),
            status,
            detail: "The request is invalid".to_owned(),
            code: "invalid".to_owned(),
            errors: errors.iter().map(error).collect(),
            request_id: "1".to_owned(),
        }))
    }

    #[test]
    fn every_wrong_field_is_told() {
        let failure = problem(422, &[("/upstreams/0", "no port"), ("", "no object")]);
        assert_eq!(
            failure.to_string(),
            "The request is invalid (422 invalid)\n  /upstreams/0: no port\n  (whole): no object"
        );
        assert_eq!(failure.code(), 1);
    }

    #[test]
    fn exit_codes() {
        assert_eq!(problem(404, &[]).code(), 2);
        assert_eq!(problem(401, &[]).code(), 1);
        assert!(problem(401, &[]).to_string().ends_with("gatewright login"));
        assert_eq!(Failure::NotApplied(vec![]).code(), 3);
        assert_eq!(Failure::Usage(String::new()).code(), 64);
    }
}
