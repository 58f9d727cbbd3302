//! Where values come from: the command line, the environment, the file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use toml::de::{DeTable, DeValue};

use crate::acme::{self, AcmeTable};
use crate::docs;
use crate::env::Env;
use crate::error::{Errors, Problem};
use crate::reader::Reader;
use crate::table::{OTHER_VARIABLES, PREFIX, Program, SETTINGS, Setting};

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation<T> {
    /// To run with these settings, after telling these warnings.
    Run(T, Vec<String>),
    /// To print this text and leave: `--help`, `--version`, `--check`.
    Print(String),
}

/// Values by setting, and where each stands.
pub(crate) type Given = BTreeMap<&'static str, (String, Place)>;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Flag(String),
    Variable(String),
    /// The file, the line and the key, if it is about one that is known.
    File(PathBuf, usize, String),
    Default(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(variable) => f.write_str(variable),
            Self::File(path, line, key) if key.is_empty() => {
                write!(f, "{} line {line}", path.display())
            }
            Self::File(path, line, key) => write!(f, "{} line {line} ({key})", path.display()),
            Self::Default(name) => f.write_str(name),
        }
    }
}

/// The command line of a program, made from the table. For `up` it is a subcommand.
pub fn command(program: Program) -> Command {
    let mut command = Command::new(program.name())
        .version(env!("CARGO_PKG_VERSION"))
        .about(match program {
            Program::Proxy => "Serves traffic: TLS, routing, proxying",
            Program::Api => "Serves the REST API and makes certificates",
            Program::Up => "Runs the whole gateway in this process, without Redis",
        })
        .after_help(
            "Every setting is also a variable (--http-listen: GATEWRIGHT_HTTP_LISTEN) and a key of the file \
             (http_listen). Exit codes: 0 fine, 64 bad usage or configuration, 1 failed to start, 70 a service died.",
        )
        .arg(
            Arg::new(CONFIG)
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Reads settings from this TOML file"),
        )
        .arg(
            Arg::new(CHECK)
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Prints the settings in force, or what is wrong with them, and leaves"),
        );
    if program == Program::Up {
        command = command.name("up");
    }
    for setting in SETTINGS.iter().filter(|setting| setting.concerns(program)) {
        // Of a profile's defaults, those of the program's usual profile.
        let help = match setting.default_for(program, program == Program::Up) {
            "" => setting.doc.to_owned(),
            default => format!("{} [default: {default}]", setting.doc),
        };
        command = command.arg(flag(setting, &setting.flag(), setting.name, help));
        if setting.secret {
            let (id, name) = (file_id(setting), format!("{}-file", setting.flag()));
            let help = "Reads it from this file".to_owned();
            command = command.arg(flag(setting, &name, id, help).value_name("FILE"));
        }
    }
    command
}

const CONFIG: &str = "config file";
const CHECK: &str = "check only";

pub(crate) fn from_args<T, A: Into<OsString> + Clone>(
    program: Program,
    args: impl IntoIterator<Item = A>,
    env: &Env,
    settings: impl Fn(&mut Reader<'_>) -> Option<T>,
) -> Result<Invocation<T>, Errors> {
    match command(program).try_get_matches_from(args) {
        Ok(matches) => from_matches(program, &matches, env, settings),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Invocation::Print(error.to_string()))
            }
            _ => {
                let text = error.to_string();
                let message = text.trim_start_matches("error: ").trim_end().to_owned();
                Err(Errors(vec![Problem { place: String::new(), message }]))
            }
        },
    }
}

pub(crate) fn from_matches<T>(
    program: Program,
    matches: &ArgMatches,
    env: &Env,
    settings: impl Fn(&mut Reader<'_>) -> Option<T>,
) -> Result<Invocation<T>, Errors> {
    let mut gathered = Gathered::default();
    let config = env.get("GATEWRIGHT_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    // From the weakest to the strongest.
    if let Some(path) = matches.get_one(CONFIG).or(config.as_ref()) {
        gathered.file(path);
    }
    gathered.environment(env);
    gathered.flags(program, matches);

    let mut reader = Reader::new(program, &gathered.given, &gathered.acme);
    let settings = settings(&mut reader);
    let check = matches.get_flag(CHECK).then(|| docs::in_force(program, &reader));
    let settings = reader.finish(settings);
    let mut problems = gathered.problems;
    match settings {
        Ok(settings) if problems.is_empty() => Ok(match check {
            Some(text) => Invocation::Print(text),
            None => Invocation::Run(settings, gathered.warnings),
        }),
        Ok(_) => Err(Errors(problems)),
        Err(errors) => {
            problems.extend(errors.0);
            Err(Errors(problems))
        }
    }
}

/// What the sources hold, the later ones replacing what the earlier ones said.
#[derive(Default)]
struct Gathered {
    given: Given,
    /// Tables of the file that are no settings by themselves.
    acme: Vec<AcmeTable>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Gathered {
    fn file(&mut self, path: &Path) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.problem(path.display(), format!("can't be read: {error}")),
        };
        let place = |offset: usize, key: &str| {
            let line = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
            Place::File(path.to_owned(), line, key.to_owned())
        };
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            self.problem(
                place(error.span().map_or(0, |span| span.start), ""),
                error.message().to_owned(),
            );
        }
        for (key, value) in table.get_ref() {
            let (start, key) = (key.span().start, key.get_ref());
            if key == "acme" {
                let mut problems = Vec::new();
                let mut problem = |place, message| problems.push((place, message));
                match acme::tables(value.get_ref(), &place, &mut problem) {
                    Some(tables) => self.acme = tables,
                    None => problem(place(start, key), "is a list of tables: [[acme]]".to_owned()),
                }
                problems.into_iter().for_each(|(place, message)| self.problem(place, message));
                continue;
            }
            let (name, is_file) = match find(|setting| setting.key(), key, "_file") {
                Some(found) => found,
                None => {
                    self.problem(place(start, ""), format!("there is no setting {key:?}"));
                    continue;
                }
            };
            match text_of(value.get_ref()) {
                Some(text) => self.insert(name, text, place(start, key), is_file),
                None => {
                    let kind = value.get_ref().type_str();
                    self.problem(place(start, key), format!("can't be a {kind}"));
                }
            }
        }
    }

    fn environment(&mut self, env: &Env) {
        for name in env.unreadable(PREFIX) {
            self.problem(name, "is no UTF-8".to_owned());
        }
        for (variable, text) in env.with_prefix(PREFIX) {
            match find(Setting::variable, variable, "_FILE") {
                Some((setting, is_file)) => {
                    self.insert(
                        setting,
                        text.to_owned(),
                        Place::Variable(variable.to_owned()),
                        is_file,
                    );
                }
                None if OTHER_VARIABLES.contains(&variable) => {}
                None => self.warnings.push(format!("{variable} is no setting and has no effect")),
            }
        }
    }

    fn flags(&mut self, program: Program, matches: &ArgMatches) {
        for setting in SETTINGS.iter().filter(|setting| setting.concerns(program)) {
            if let Some(text) = matches.get_one::<String>(setting.name) {
                self.insert(setting, text.clone(), Place::Flag(setting.flag()), false);
            }
            if setting.secret
                && let Some(text) = matches.get_one::<String>(file_id(setting))
            {
                let place = Place::Flag(format!("{}-file", setting.flag()));
                self.insert(setting, text.clone(), place, true);
            }
        }
    }

    /// Takes a value, or the one in the file that it names.
    fn insert(&mut self, setting: &'static Setting, text: String, place: Place, is_file: bool) {
        if !is_file {
            self.given.insert(setting.name, (text, place));
            return;
        }
        match fs::read_to_string(&text) {
            Ok(secret) => {
                let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
                self.given.insert(setting.name, (secret, place));
            }
            Err(error) => self.problem(place, format!("{text:?} can't be read: {error}")),
        }
    }

    fn problem(&mut self, place: impl fmt::Display, message: String) {
        self.problems.push(Problem { place: place.to_string(), message });
    }
}

fn flag(setting: &Setting, long: &str, id: &'static str, help: String) -> Arg {
    let arg = Arg::new(id).long(long.to_owned()).value_name(setting.value).help(help);
    let arg = arg.allow_hyphen_values(true);
    match setting.value {
        "true|false" => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg,
    }
}

/// The clap id of a secret's `-file` flag.
fn file_id(setting: &Setting) -> &'static str {
    match setting.name {
        "ACME_EAB_HMAC" => "ACME_EAB_HMAC_FILE",
        "ADMIN_PASSWORD" => "ADMIN_PASSWORD_FILE",
        "CERT_KEY" => "CERT_KEY_FILE",
        _ => "SECRET_KEY_FILE",
    }
}

/// The setting with this spelling, and whether it is that of a secret's file.
fn find(
    spelling: impl Fn(&Setting) -> String,
    name: &str,
    file_suffix: &str,
) -> Option<(&'static Setting, bool)> {
    let is = |wanted: &str| SETTINGS.iter().find(|setting| spelling(setting) == wanted);
    if let Some(setting) = is(name) {
        return Some((setting, false));
    }
    let setting = is(name.strip_suffix(file_suffix)?)?;
    setting.secret.then_some((setting, true))
}

/// A TOML value as it would be written in a flag; `None` for what no flag can say.
pub(crate) fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::Array(_) => None,
                    item => text_of(item),
                })
                .collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}
