//! What people read about the settings: those in force, and the reference.

use std::fmt::Write;

use crate::reader::{Reader, shown};
use crate::sources::Place;
use crate::table::{Default, Program, SETTINGS, Setting};

/// The settings of a program, their values and where those come from: a valid file for `--config`, secrets aside.
pub(crate) fn in_force(program: Program, reader: &Reader<'_>) -> String {
    let mut out =
        format!("# {} {}: the settings in force\n", program.name(), env!("CARGO_PKG_VERSION"));
    for setting in SETTINGS.iter().filter(|setting| setting.concerns(program)) {
        let (text, place) = reader.text(setting.name);
        if !reader.acme().is_empty() && crate::acme::SINGLE.contains(&setting.name) {
            continue;
        }
        let source = match (place, setting.default) {
            (Place::Default(_), Default::Profile { .. }) => {
                format!("default of profile {}", reader.text("PROFILE").0)
            }
            (Place::Default(_), _) => "default".to_owned(),
            (place, _) => place.to_string(),
        };
        let _ = match text.as_str() {
            "" => writeln!(out, "# {} is not set  # {source}", setting.key()),
            _ if setting.secret => {
                writeln!(out, "# {} is set and not shown  # {source}", setting.key())
            }
            text => writeln!(out, "{} = {}  # {source}", setting.key(), shown(setting.name, text)),
        };
    }
    if program != Program::Proxy {
        // Behind the settings: in TOML what follows a table belongs to it.
        out += &crate::acme::shown(&reader.acme());
    }
    out
}

/// The reference of all settings, as Markdown: `docs/config.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Settings\n\n\
         <!-- Generated from crates/config/src/table.rs by its test: UPDATE=1 cargo test --release -p gatewright-config -->\n\n\
         A setting is a flag (`--http-listen`), an environment variable (`GATEWRIGHT_HTTP_LISTEN`) and a key of the TOML\n\
         file named by `--config` (`http_listen`). A flag beats the environment, that beats the file, that beats the\n\
         default. A secret may stand in a file of its own instead, named by `--secret-key-file`,\n\
         `GATEWRIGHT_SECRET_KEY_FILE` or `secret_key_file`. Lists are separated by commas; in the file they may be arrays.\n\
         An empty value unsets an optional setting.\n\n\
         Several ACME authorities, tried in order, stand in the file as tables `[[acme]]` with the keys `directory`, `root_ca`,\n\
         `email`, `profile`, `eab_kid`, `eab_hmac` or `eab_hmac_file`, in place of the `ACME_…` settings of one.\n\n\
         Unknown keys in the file and unknown flags are errors; an unknown `GATEWRIGHT_` variable is a warning. All errors\n\
         are told at once, with exit code 64. `--check` prints the settings in force and where each comes from.\n\n\
         | setting | value | read by | default | default in `up` |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let (services, up) = defaults(setting);
        let programs: Vec<_> = setting.programs.iter().map(|program| program.name()).collect();
        let value = setting.value.replace('|', "\\|");
        let _ = writeln!(
            out,
            "| [`{name}`](#{anchor}) | {value} | {programs} | {services} | {up} |",
            name = setting.name,
            anchor = setting.key(),
            programs = programs.join(", "),
        );
    }
    for setting in SETTINGS {
        let _ = write!(out, "\n### {}\n\n{}\n", setting.name, setting.doc);
    }
    out
}

fn defaults(setting: &Setting) -> (String, String) {
    let code = |text: &str| if text.is_empty() { "–".to_owned() } else { format!("`{text}`") };
    match setting.default {
        Default::Same(text) if setting.name.ends_with("_KEY") => {
            (code(text), "generated".to_owned())
        }
        Default::Same(text) => (code(text), "same".to_owned()),
        Default::Shape { services, up } => (code(services), code(up)),
        Default::Profile { production, development } => (code(production), code(development)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_reference_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
        let now = super::reference();
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &now).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == now, "docs/config.md is stale: run this test with UPDATE=1");
    }
}
