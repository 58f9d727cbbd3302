//! Flags, environment and TOML read into typed settings, one type per program. Nothing here is looked at after start.
//!
//! Every setting stands once in [`SETTINGS`] and has three names: the flag `--http-listen`, the variable
//! `GATEWRIGHT_HTTP_LISTEN` and the key `http_listen` of the file named by `--config`. A flag beats the environment,
//! that beats the file, that beats the default. A secret may also be put in a file of its own, named by the setting
//! with `_FILE` behind it. An empty value unsets an optional setting and empties a list.
//!
//! Whatever is wrong is told at once, not one mistake per start. An unknown key in the file is an error with its line;
//! an unknown `GATEWRIGHT_` variable is a warning, and one that belongs to a sibling program is neither.
//!
//! ```
//! use config::{Env, Invocation, Program};
//!
//! let env = Env::from([("GATEWRIGHT_WORKERS", "2"), ("GATEWRIGHT_HTTP_LISTEN", "127.0.0.1:8080, [::1]:8080")]);
//! let Invocation::Run(settings, warnings) = config::proxy(["gatewright-proxy", "--workers=4"], &env)? else {
//!     panic!("neither --help nor --version nor --check was given");
//! };
//! assert_eq!(settings.workers, 4);
//! assert_eq!(settings.http.len(), 2);
//! assert!(warnings.is_empty());
//!
//! let errors = config::proxy(["gatewright-proxy", "--workers=none", "--store=ftp://x"], &env).unwrap_err();
//! assert_eq!(errors.to_string().lines().count(), 2);
//! # Ok::<(), config::Errors>(())
//! ```

mod acme;
mod docs;
mod env;
mod error;
mod reader;
mod settings;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod values;

pub use acme::{AcmeCa, AcmeChallenge, AcmeKey};
pub use docs::reference;
pub use env::Env;
pub use error::{Errors, Problem};
pub use settings::{
    AccessLogFormat, ApiSettings, Common, Exchange, LogFormat, Profile, ProxySettings, UpSettings,
};
pub use sources::{Invocation, command};
pub use table::{Default, LOOKUP_SOCKET, Program, SETTINGS, Setting};
pub use values::{Listen, StoreUrl};

use std::ffi::OsString;

use clap::ArgMatches;

/// Reads the settings of `gatewright-proxy`; `args` begin with the program's name.
///
/// # Errors
/// Every mistake found.
pub fn proxy<A: Into<OsString> + Clone>(
    args: impl IntoIterator<Item = A>,
    env: &Env,
) -> Result<Invocation<ProxySettings>, Errors> {
    sources::from_args(Program::Proxy, args, env, settings::proxy)
}

/// Reads the settings of `gatewright-api`; `args` begin with the program's name.
///
/// # Errors
/// Every mistake found.
pub fn api<A: Into<OsString> + Clone>(
    args: impl IntoIterator<Item = A>,
    env: &Env,
) -> Result<Invocation<ApiSettings>, Errors> {
    sources::from_args(Program::Api, args, env, settings::api)
}

/// Reads the settings of `gatewright up` from what [`command`] with [`Program::Up`] matched.
///
/// # Errors
/// Every mistake found.
pub fn up(matches: &ArgMatches, env: &Env) -> Result<Invocation<UpSettings>, Errors> {
    sources::from_matches(Program::Up, matches, env, settings::up)
}
