//! The command line as declared.

mod cert;
mod dns;

use std::path::PathBuf;

use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use config::Program;

pub(crate) use cert::Cert;
pub(crate) use dns::{Dns, DnsAdd};

/// The whole command line, `up` included.
pub(crate) fn command() -> clap::Command {
    let up = config::command(Program::Up).display_order(0);
    Arguments::command().subcommand(up)
}

/// A gateway: names to applications, over HTTPS
#[derive(Debug, Parser)]
#[command(name = "gatewright", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Where the REST API is [variable: GATEWRIGHT_API; default: http://127.0.0.1:3000]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// Prints answers as JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed or refused, 2 no such thing, 3 written but not yet running everywhere, 64 bad usage or \
configuration, 70 a service of `up` died.
The token of `login` is kept in ~/.config/gatewright/credentials.json; GATEWRIGHT_TOKEN goes before it.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Logs in and keeps the token for later commands
    Login(Login),
    /// Ends the session and forgets the token
    Logout,
    /// Shows and changes hosts
    #[command(subcommand)]
    Host(Host),
    /// Shows which host a name leads to, and why
    Lookup {
        /// A host name
        name: String,
    },
    /// Shows certificates and how they are come by; renews and uploads them
    #[command(subcommand)]
    Cert(Cert),
    /// Shows and changes DNS providers, by which wildcards get their certificates
    #[command(subcommand)]
    Dns(Dns),
    /// Shows what was written, and brings it back
    #[command(subcommand)]
    History(History),
    /// Writes everything that a fresh installation needs to a file: hosts, accounts, certificates, the authority
    Export(Export),
    /// Takes such a file in; it is checked whole before anything is written
    Import(Import),
    /// Shows how the store, the proxies, the tasks and the certificates stand
    Status,
    /// The shared store
    #[command(subcommand)]
    Store(StoreCommand),
    /// The local certificate authority
    #[command(subcommand)]
    Ca(Ca),
    /// Prints a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The account
    #[arg(default_value = "admin")]
    pub(crate) username: String,
    /// Reads the password from this file; - is standard input [variable: GATEWRIGHT_PASSWORD holds the password]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Host {
    /// Adds a host
    Add(HostAdd),
    /// Lists all hosts
    #[command(visible_alias = "ls")]
    List,
    /// Shows one host
    Show {
        /// Its pattern
        pattern: String,
    },
    /// Changes a host; what is not named stays
    Edit(HostEdit),
    /// Removes hosts
    #[command(visible_alias = "remove")]
    Rm {
        /// Their patterns
        #[arg(required = true)]
        patterns: Vec<String>,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HostAdd {
    /// A name, of which any label may be * (one label) or ** (one or more)
    pub(crate) pattern: String,
    /// Where requests go, in turn: ADDRESS:PORT
    #[arg(required = true, value_name = "UPSTREAM")]
    pub(crate) upstreams: Vec<String>,
    #[command(flatten)]
    pub(crate) fields: HostFields,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Args)]
pub(crate) struct HostEdit {
    /// Its pattern
    pub(crate) pattern: String,
    /// Where requests go, in turn, instead: ADDRESS:PORT
    #[arg(long = "upstream", value_name = "UPSTREAM")]
    pub(crate) upstreams: Vec<String>,
    #[command(flatten)]
    pub(crate) fields: HostFields,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// The fields of a host besides its pattern and upstreams.
#[derive(Debug, Args)]
pub(crate) struct HostFields {
    /// How upstreams are spoken to: off, verify or insecure
    #[arg(long, value_name = "MODE")]
    pub(crate) upstream_tls: Option<String>,
    /// Whether upstreams see the public name in Host
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) preserve_host: Option<bool>,
    /// Whether plain HTTP answers a redirect to HTTPS
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) force_https: Option<bool>,
    /// Where its certificate comes from: auto, acme, local, custom or none
    #[arg(long, value_name = "MODE")]
    pub(crate) certificate: Option<String>,
    /// Whether it takes part in lookup
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) enabled: Option<bool>,
}

/// How a change is made.
#[derive(Debug, Args)]
pub(crate) struct Write {
    /// Waits until every proxy runs the change, at most this many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_value_t = 5, default_missing_value = "5")]
    pub(crate) wait: u16,
    /// Returns when the change is written
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// Checks the change without making it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Has proxies believe the store as it is, after it was replaced, restored or emptied
    Accept {
        /// Waits until every proxy runs it, at most this many seconds
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_value_t = 5, default_missing_value = "5")]
        wait: u16,
        /// Returns when the acceptance is written
        #[arg(long, conflicts_with = "wait")]
        no_wait: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum History {
    /// Lists writes, the newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only those of this host
        #[arg(long, value_name = "PATTERN", conflicts_with_all = ["collection", "id"])]
        host: Option<String>,
        /// Only those of this kind of record: Host, User, Cert, DnsProvider, LocalCa
        #[arg(long, value_name = "NAME")]
        collection: Option<String>,
        /// Only those of this record
        #[arg(long, requires = "collection")]
        id: Option<String>,
        /// The most writes to list
        #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 50)]
        limit: usize,
    },
    /// Shows one write, with the fields that it changed
    Show {
        /// Its number
        number: u64,
    },
    /// Brings the record of a write back to what it was before
    Rollback {
        /// The number of the write
        number: u64,
        /// Whatever was written to it since
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Writes to this file, for its owner only, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Leaves secrets out, and with them certificates and the local authority
    #[arg(long, conflicts_with = "sealed")]
    pub(crate) without_secrets: bool,
    /// Has secrets in it, sealed as in the store: what is done unless told otherwise
    #[arg(long)]
    pub(crate) sealed: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("how").required(true).multiple(true).args(["dry_run", "merge", "replace"])))]
pub(crate) struct Import {
    /// What `export` wrote
    pub(crate) file: PathBuf,
    /// Writes what the file has and leaves the rest
    #[arg(long, conflicts_with = "replace")]
    pub(crate) merge: bool,
    /// Writes what the file has and deletes the rest
    #[arg(long)]
    pub(crate) replace: bool,
    /// Prints what would change, and changes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Writes the root certificate that signs local names, PEM, to standard output or a file
    Export {
        /// Writes to this file instead
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::from_arg_matches(&command().try_get_matches_from(line.split(' '))?)
    }

    #[test]
    fn the_declaration_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn add_waits_unless_told_otherwise() {
        for (line, wait, no_wait) in [
            ("gatewright host add a.test 127.0.0.1:1", 5, false),
            ("gatewright host add a.test 127.0.0.1:1 --wait", 5, false),
            ("gatewright host add --wait=9 a.test 127.0.0.1:1 [::1]:2", 9, false),
            ("gatewright host add a.test 127.0.0.1:1 --no-wait", 5, true),
        ] {
            let Command::Host(Host::Add(add)) = parse(line).unwrap().command else {
                panic!("{line}")
            };
            assert_eq!((add.write.wait, add.write.no_wait), (wait, no_wait), "{line}");
        }
        assert!(parse("gatewright host add a.test x --wait=1 --no-wait").is_err());
    }

    #[test]
    fn an_import_says_how() {
        assert!(parse("gatewright import x").is_err());
        assert!(parse("gatewright import x --merge --replace").is_err());
        for line in ["--dry-run", "--merge", "--replace", "--replace --dry-run"] {
            assert!(parse(&format!("gatewright import x {line}")).is_ok(), "{line}");
        }
        assert!(parse("gatewright export --sealed --without-secrets").is_err());
    }

    #[test]
    fn api_and_json_stand_anywhere() {
        for line in [
            "gatewright --api http://x --json host list",
            "gatewright host list --json --api http://x",
        ] {
            let arguments = parse(line).unwrap();
            assert_eq!((arguments.api.as_deref(), arguments.json), (Some("http://x"), true));
        }
    }

    #[test]
    fn up_takes_the_settings_of_both_planes() {
        let matches = command()
            .try_get_matches_from(["gatewright", "up", "--api-listen=127.0.0.1:0", "--workers=1"])
            .unwrap();
        let (name, matches) = matches.subcommand().unwrap();
        assert_eq!(name, "up");
        let outcome = config::up(matches, &config::Env::default()).unwrap();
        let config::Invocation::Run(settings, _) = outcome else { panic!("printed") };
        assert_eq!(settings.proxy.workers, 1);
        assert_eq!(settings.api.listen.to_string(), "127.0.0.1:0");
    }
}
