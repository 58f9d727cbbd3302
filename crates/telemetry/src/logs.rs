use std::io;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How diagnostics look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// One readable line.
    Text,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("is neither json nor text".to_owned()),
        }
    }
}

/// Why diagnostics could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogsError {
    /// The level is no directive like `info` or `info,proxy=debug`.
    #[error("the log level {level:?} can't be understood")]
    Level {
        /// What was given.
        level: String,
        /// What the filter says about it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// They were set up before.
    #[error("diagnostics are already set up in this process")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends the process' diagnostics (panics included) to stderr. For `main`, once.
///
/// `level` is a level or directives: `warn`, `info,proxy=debug`.
///
/// # Errors
/// See [`LogsError`].
pub fn init_logs(level: &str, format: LogFormat) -> Result<(), LogsError> {
    let filter = EnvFilter::try_new(level)
        .map_err(|source| LogsError::Level { level: level.to_owned(), source })?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_writer(io::stderr);
            registry.with(layer).try_init()
        }
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            registry.with(fmt::layer().with_ansi(colours).with_writer(io::stderr)).try_init()
        }
    }
    .map_err(LogsError::Twice)?;
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(message, location, %backtrace, "panic");
    }));
    Ok(())
}
