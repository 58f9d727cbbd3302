use std::path::PathBuf;

use clap::Subcommand;

use super::Write;

/// The commands about certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Lists certificates, and the names that none could be got for
    #[command(visible_alias = "ls")]
    List,
    /// Shows one, how it is come by, and why that failed
    Show {
        /// The name it is kept under
        name: String,
    },
    /// Has one replaced now instead of when it is due
    Renew {
        /// The pattern of the host, or a name under it
        name: String,
    },
    /// Has one of your own served; it is checked whole before
    Upload {
        /// The name to serve it for
        name: String,
        /// The chain, PEM, the certificate first; - is standard input
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// Its private key, PEM, not encrypted; - is standard input
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        write: Write,
    },
    /// Deletes one; a host that wants one gets the next
    #[command(visible_alias = "rm")]
    Delete {
        /// The name it is kept under
        name: String,
        #[command(flatten)]
        write: Write,
    },
    /// Writes one and its private key to files, for their owner only; for administrators
    Export {
        /// The name it is kept under
        name: String,
        /// Writes the chain to this file
        #[arg(long, value_name = "FILE")]
        out_chain: PathBuf,
        /// Writes the private key to this file
        #[arg(long, value_name = "FILE")]
        out_key: PathBuf,
    },
}
