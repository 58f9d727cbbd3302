//! ACME authorities: one by the `ACME_…` settings, or several by `[[acme]]` tables of the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use model::Secret;
use toml::de::DeValue;

use crate::reader::Reader;
use crate::sources::{Place, text_of};

/// An authority that certificates are got from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeCa {
    /// The URL of its directory.
    pub directory: String,
    /// A PEM file with the certificates that its API is checked against; none: those of the system.
    pub root_ca: Option<PathBuf>,
    /// Whom it may write to.
    pub email: Option<String>,
    /// The profile of certificates that is asked for.
    pub profile: Option<String>,
    /// The id and the MAC key (base64url) of an account elsewhere that ours is bound to (RFC 8555 §7.3.4).
    pub eab: Option<(String, Secret<String>)>,
}

/// The kind of key that certificates of authorities get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeKey {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA with 2048 bits.
    Rsa,
}

/// A way to prove that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// By a file on port 80.
    Http01,
    /// By a certificate on port 443.
    TlsAlpn01,
    /// By a TXT record.
    Dns01,
}

/// One `[[acme]]` table: its keys with texts and places, and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct AcmeTable {
    pub(crate) place: Place,
    pub(crate) values: BTreeMap<String, (String, Place)>,
}

/// The keys of a table, which are those of the `ACME_…` settings.
const KEYS: [&str; 7] =
    ["directory", "root_ca", "email", "profile", "eab_kid", "eab_hmac", "eab_hmac_file"];

/// Reads the value of the file's key `acme`.
pub(crate) fn tables(
    value: &DeValue<'_>,
    place: &dyn Fn(usize, &str) -> Place,
    problem: &mut dyn FnMut(Place, String),
) -> Option<Vec<AcmeTable>> {
    let DeValue::Array(items) = value else { return None };
    let mut tables = Vec::new();
    for item in items {
        let DeValue::Table(table) = item.get_ref() else { return None };
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let (at, key) = (key.span().start, key.get_ref().to_string());
            let place = place(at, &format!("acme.{key}"));
            if !KEYS.contains(&key.as_str()) {
                problem(place, format!("[[acme]] has no key {key:?}; it has {}", KEYS.join(", ")));
                continue;
            }
            match text_of(value.get_ref()) {
                Some(text) => {
                    values.insert(key, (text, place));
                }
                None => problem(place, format!("can't be a {}", value.get_ref().type_str())),
            }
        }
        tables.push(AcmeTable { place: place(item.span().start, "acme"), values });
    }
    Some(tables)
}

/// The authorities in the order in which they are tried; none: certificates are got from none.
pub(crate) fn authorities(read: &mut Reader<'_>) -> Option<Vec<AcmeCa>> {
    let directory = read.optional("ACME_DIRECTORY", directory);
    let one = AcmeCa {
        directory: directory.clone().unwrap_or_default(),
        root_ca: read.path("ACME_ROOT_CA"),
        email: read.optional("ACME_EMAIL", email),
        profile: read.optional("ACME_PROFILE", word),
        eab: None,
    };
    let (kid, hmac) = (read.optional("ACME_EAB_KID", word), read.secret("ACME_EAB_HMAC"));
    let tables = read.acme();
    if !tables.is_empty() {
        return several(read, tables);
    }
    let eab = match (kid, hmac) {
        (Some(kid), Some(hmac)) => Some((kid, hmac)),
        (None, None) => None,
        (Some(_), None) => {
            read.wrong("ACME_EAB_HMAC", "is required with ACME_EAB_KID");
            None
        }
        (None, Some(_)) => {
            read.wrong("ACME_EAB_KID", "is required with ACME_EAB_HMAC");
            None
        }
    };
    let given = read.text("ACME_DIRECTORY").0;
    if given == "off" || given.is_empty() {
        return Some(Vec::new());
    }
    directory.map(|_| vec![AcmeCa { eab, ..one }])
}

fn several(read: &mut Reader<'_>, tables: Vec<AcmeTable>) -> Option<Vec<AcmeCa>> {
    for name in SINGLE {
        if !read.is_default(name) {
            read.wrong(name, "is given besides [[acme]]: the tables say it all");
        }
    }
    let mut authorities: Vec<AcmeCa> = Vec::new();
    let mut complete = true;
    for table in tables {
        match authority(read, table) {
            Some(one) if authorities.iter().any(|it| it.directory == one.directory) => {
                read.wrong("ACME_DIRECTORY", "stands in [[acme]] twice");
                complete = false;
            }
            Some(one) => authorities.push(one),
            None => complete = false,
        }
    }
    complete.then_some(authorities)
}

/// The settings that the tables take the place of.
pub(crate) const SINGLE: [&str; 6] = [
    "ACME_DIRECTORY",
    "ACME_ROOT_CA",
    "ACME_EMAIL",
    "ACME_PROFILE",
    "ACME_EAB_KID",
    "ACME_EAB_HMAC",
];

fn authority(read: &mut Reader<'_>, table: AcmeTable) -> Option<AcmeCa> {
    let AcmeTable { place, mut values } = table;
    let mut right = true;
    let mut parsed =
        |read: &mut Reader<'_>, key: &str, parse: fn(&str) -> Result<String, String>| {
            let (text, place) = values.remove(key).filter(|(text, _)| !text.is_empty())?;
            match parse(&text) {
                Ok(value) => Some(value),
                Err(why) => {
                    read.problem(&place, &format!("{text:?} {why}"));
                    right = false;
                    None
                }
            }
        };
    let directory = parsed(read, "directory", |text| match directory(text)?.as_str() {
        "off" => Err("can't be off in a table".to_owned()),
        url => Ok(url.to_owned()),
    });
    let email = parsed(read, "email", email);
    let profile = parsed(read, "profile", word);
    let kid = parsed(read, "eab_kid", word);
    let root_ca = values.remove("root_ca").map(|(text, _)| PathBuf::from(text));
    let mut hmac = values.remove("eab_hmac").map(|(text, _)| Secret::new(text));
    if let Some((path, place)) = values.remove("eab_hmac_file") {
        match fs::read_to_string(&path) {
            Ok(text) => hmac = Some(Secret::new(text.trim().to_owned())),
            Err(error) => {
                read.problem(&place, &format!("{path:?} can't be read: {error}"));
                right = false;
            }
        }
    }
    let directory = directory.or_else(|| {
        if right {
            read.problem(&place, "a directory is required");
        }
        None
    });
    if kid.is_some() != hmac.is_some() {
        read.problem(&place, "eab_kid and eab_hmac go together");
        right = false;
    }
    if !right {
        return None;
    }
    Some(AcmeCa { directory: directory?, root_ca, email, profile, eab: kid.zip(hmac) })
}

/// `off`, or the URL of a directory.
fn directory(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    match host {
        _ if text == "off" => Ok(text.to_owned()),
        Some(host) if !host.is_empty() && !text.contains(char::is_whitespace) => {
            Ok(text.to_owned())
        }
        _ => Err("is no URL of a directory: https://host/path, or off".to_owned()),
    }
}

fn email(text: &str) -> Result<String, String> {
    match text.split_once('@') {
        Some((name, host))
            if !name.is_empty() && !host.is_empty() && !text.contains([' ', ',']) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("is no e-mail address".to_owned()),
    }
}

fn word(text: &str) -> Result<String, String> {
    if text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("must be printable ASCII without spaces".to_owned())
    }
}

/// The tables as they may be shown: a valid file, secrets aside.
pub(crate) fn shown(tables: &[AcmeTable]) -> String {
    let mut out = String::new();
    for table in tables {
        out += &format!("[[acme]]  # {}\n", table.place);
        for (key, (text, _)) in &table.values {
            out += &match key.as_str() {
                "eab_hmac" => "# eab_hmac is set and not shown\n".to_owned(),
                key => format!("{key} = {text:?}\n"),
            };
        }
    }
    out
}
