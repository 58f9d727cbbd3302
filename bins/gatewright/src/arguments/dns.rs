use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Write;

/// The commands about DNS providers.
#[derive(Debug, Subcommand)]
pub(crate) enum Dns {
    /// Shows the kinds of providers, their settings, and what their credentials must be allowed to do
    Kinds,
    /// Adds a provider; its credentials are asked for on the terminal, and proved
    Add(DnsAdd),
    /// Lists providers
    #[command(visible_alias = "ls")]
    List,
    /// Shows one provider, without its credentials
    Show {
        /// Its id
        id: String,
    },
    /// Lists the zones of all providers
    Domains,
    /// Asks a provider for its zones now, which tries its credentials
    #[command(visible_alias = "refresh")]
    Test {
        /// Its id
        id: String,
    },
    /// Removes providers
    #[command(visible_alias = "remove")]
    Rm {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DnsAdd {
    /// Its kind, one of `dns kinds`
    pub(crate) kind: String,
    /// Its id; without one it gets one made of its kind
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// A setting that is no secret
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair::<String>)]
    pub(crate) settings: Vec<(String, String)>,
    /// Reads a credential from a file; - is standard input
    #[arg(long = "secret-file", value_name = "NAME=FILE", value_parser = pair::<PathBuf>)]
    pub(crate) secrets: Vec<(String, PathBuf)>,
    /// Asks this name server whether a value has arrived, instead of those that the zone names
    #[arg(long = "nameserver", value_name = "ADDRESS:PORT")]
    pub(crate) nameservers: Vec<String>,
    #[command(flatten)]
    pub(crate) write: Write,
}

fn pair<T: From<String>>(text: &str) -> Result<(String, T), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned().into())),
        _ => Err("it is not NAME=…"),
    }
}
