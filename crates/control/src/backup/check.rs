//! The first reading of a file: everything that is wrong with it, before anything is written.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use aws_lc_rs::digest::{SHA256, digest};
use model::{Reach, Role, User, Username};
use store::{Collection, Key, Record, Sealer};

use super::file::{Checksum, End, FORMAT, Header, LONGEST_LINE, Line};
use super::import::ImportMode;
use crate::records::{KINDS, Kind, LEFT_OUT, LOCKED};
use crate::{Error, FieldError};

/// How many wrong lines are named.
const NAMED: usize = 100;

/// What the first reading found out.
pub(super) struct Checked {
    /// The collections that are in the file whole.
    pub(super) collections: Vec<&'static Kind>,
    /// The keys that are in the file.
    pub(super) keys: Keys,
}

/// A set of keys that takes 16 bytes for each, however long they are.
#[derive(Default)]
pub(super) struct Keys(HashSet<[u8; 16]>);

impl Keys {
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.0.contains(&Self::short(key))
    }

    fn add(&mut self, key: &Key) {
        self.0.insert(Self::short(key));
    }

    fn short(key: &Key) -> [u8; 16] {
        let hash = digest(&SHA256, key.to_string().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_ref()[..16]);
        short
    }
}

/// The lines of a file, from the start.
pub(super) struct Lines {
    reader: BufReader<File>,
    number: usize,
}

impl Lines {
    pub(super) fn new(mut file: File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { reader: BufReader::with_capacity(64 << 10, file), number: 0 })
    }

    /// The next line with its end; empty when there is none.
    pub(super) fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.number += 1;
        let longest = LONGEST_LINE as u64 + 1;
        self.reader.by_ref().take(longest).read_until(b'\n', &mut line)?;
        if line.len() > LONGEST_LINE {
            let text = format!("line {} is longer than {LONGEST_LINE} bytes", self.number);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(line)
    }

    /// The next record; `None` when only the end is left.
    pub(super) fn record(&mut self) -> io::Result<Option<Line>> {
        Ok(serde_json::from_slice(&self.next()?).ok())
    }

    pub(super) fn into_file(self) -> File {
        self.reader.into_inner()
    }
}

/// What is wrong so far.
#[derive(Default)]
struct Wrong {
    errors: Vec<FieldError>,
    more: usize,
}

impl Wrong {
    fn add(&mut self, pointer: String, detail: impl Into<String>) {
        match self.errors.len() < NAMED {
            true => self.errors.push(FieldError::new(pointer, detail)),
            false => self.more += 1,
        }
    }

    fn finish(mut self) -> Result<(), Error> {
        if self.more > 0 {
            self.errors.push(FieldError::new("", format!("and {} more", self.more)));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Invalid { errors: self.errors }) }
    }
}

/// Reads the whole file. Blocks.
pub(super) fn check(
    lines: &mut Lines,
    sealer: &Sealer,
    reach: &Reach,
    actor: &Username,
    mode: ImportMode,
) -> Result<Checked, Error> {
    let mut checksum = Checksum::new();
    let first = lines.next().map_err(unreadable)?;
    checksum.add(&first);
    let header = header(&first)?;
    let mut reading = Reading::new(&header, sealer, reach)?;
    let end = loop {
        let line = lines.next().map_err(unreadable)?;
        if line.is_empty() {
            return Err(Error::invalid("", "the file has no end: it was cut off"));
        }
        if let Ok(end) = serde_json::from_slice::<End>(&line) {
            break end;
        }
        checksum.add(&line);
        reading.record(lines.number, &line);
    };
    if !lines.next().map_err(unreadable)?.is_empty() {
        return Err(Error::invalid(format!("line {}", lines.number), "comes after the end"));
    }
    if end.checksum != checksum.text() {
        return Err(Error::invalid("", "the checksum does not fit: the file was altered"));
    }
    if end.counts != reading.counts {
        return Err(Error::invalid("", "the counts at the end are not those of the file"));
    }
    reading.finish(actor, mode)
}

fn header(line: &[u8]) -> Result<Header, Error> {
    let wrong = |detail: String| Error::invalid("line 1", detail);
    let value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|_| wrong("this is no export: the first line is no JSON".to_owned()))?;
    match value.get("gatewright_export").and_then(serde_json::Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(other) => {
            let text = format!("the file has format {other}, and this version reads {FORMAT}");
            return Err(wrong(text));
        }
        None => return Err(wrong("this is no export: its first line is no header".to_owned())),
    }
    serde_json::from_value(value).map_err(|error| wrong(format!("the header is wrong: {error}")))
}

struct Reading<'s> {
    sealer: &'s Sealer,
    reach: &'s Reach,
    kinds: Vec<&'static Kind>,
    /// For each setting whose key is another here: what is wrong. Taken when a record needs it.
    wrong_keys: BTreeMap<&'static str, String>,
    needed: BTreeMap<&'static str, u64>,
    with_secrets: bool,
    counts: BTreeMap<String, u64>,
    keys: Keys,
    users: BTreeMap<String, Option<Role>>,
    wrong: Wrong,
}

impl<'s> Reading<'s> {
    fn new(header: &Header, sealer: &'s Sealer, reach: &'s Reach) -> Result<Self, Error> {
        let mut wrong = Wrong::default();
        let mut kinds = Vec::new();
        for name in &header.collections {
            let kind = Collection::from_name(name).and_then(Kind::of);
            match kind {
                Some(kind) => kinds.push(kind),
                None => wrong.add("line 1".to_owned(), format!("{name} can't be imported")),
            }
        }
        let with_secrets = match header.secrets.as_str() {
            "sealed" => true,
            "none" => false,
            other => return Err(Error::invalid("line 1", format!("secrets can't be {other:?}"))),
        };
        let ours = [("SECRET_KEY", sealer.secret_key()), ("CERT_KEY", sealer.cert_key())];
        let mut wrong_keys = BTreeMap::new();
        for (name, seal) in ours {
            let theirs = header.keys.get(name).and_then(Option::as_deref);
            if let Some(theirs) = theirs.filter(|theirs| Some(*theirs) != seal.key_id()) {
                let have = seal.key_id().map_or("none".to_owned(), str::to_owned);
                let text = format!(
                    "the file's secrets are sealed with another {name} (key id {theirs}, here {have}): set {name} to \
                     that of the installation that made the file, or export without secrets"
                );
                wrong_keys.insert(name, text);
            }
        }
        Ok(Self {
            sealer,
            reach,
            kinds,
            wrong_keys,
            needed: BTreeMap::new(),
            with_secrets,
            counts: BTreeMap::new(),
            keys: Keys::default(),
            users: BTreeMap::new(),
            wrong,
        })
    }

    fn record(&mut self, number: usize, line: &[u8]) {
        let line: Line = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(error) => {
                return self.wrong.add(format!("line {number}"), format!("is no record: {error}"));
            }
        };
        *self.counts.entry(line.collection.clone()).or_default() += 1;
        let at = format!("line {number}: {} {:?}", line.collection, line.id);
        let kind = KINDS.iter().find(|kind| kind.collection.name() == line.collection);
        let Some(kind) =
            kind.filter(|kind| self.kinds.iter().any(|it| it.collection == kind.collection))
        else {
            return self.wrong.add(at, "is of a kind that the header does not name");
        };
        self.keys.add(&Key::new(kind.collection, line.id.as_str()));
        if let Some(name) = kind.sealed_with.filter(|name| self.wrong_keys.contains_key(name)) {
            *self.needed.entry(name).or_default() += 1;
            return;
        }
        let mut fields = line.fields;
        if !self.with_secrets {
            fields.retain(|name, value| !(kind.optional.contains(&&**name) && value == LEFT_OUT));
            if kind.secrets.iter().any(|name| fields.contains_key(*name)) {
                return self
                    .wrong
                    .add(at, "has a secret, though the header says that there are none");
            }
            let required = kind.secrets.iter().filter(|name| !kind.optional.contains(name));
            fields.extend(required.map(|name| ((*name).to_owned(), LOCKED.to_owned())));
        }
        let wrong = kind.check(&line.id, &fields, self.sealer, self.reach);
        for detail in &wrong {
            self.wrong.add(at.clone(), detail.as_str());
        }
        if kind.collection == Collection::User {
            let user = User::from_fields(&line.id, &fields, self.sealer).ok();
            self.users.insert(line.id, user.map(|user| user.role));
        }
    }

    fn finish(mut self, actor: &Username, mode: ImportMode) -> Result<Checked, Error> {
        for (name, count) in std::mem::take(&mut self.needed) {
            let text = self.wrong_keys.get(name).cloned().unwrap_or_default();
            self.wrong.add(format!("line 1: keys/{name}"), format!("{text} ({count} records)"));
        }
        self.wrong.finish()?;
        let has_users = self.kinds.iter().any(|kind| kind.collection == Collection::User);
        match self.users.get(actor.as_str()) {
            Some(Some(Role::Admin)) => {}
            Some(_) => {
                return Err(Error::Refused(
                    "the account that is asking would no longer be an administrator: import as another one",
                ));
            }
            None if mode == ImportMode::Replace && has_users => {
                return Err(Error::Refused(
                    "the account that is asking is not in the file and would be deleted: import as one that is, or merge",
                ));
            }
            None => {}
        }
        Ok(Checked { collections: self.kinds, keys: self.keys })
    }
}

pub(super) fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => Error::invalid("", error.to_string()),
        _ => Error::Internal(error.into()),
    }
}
