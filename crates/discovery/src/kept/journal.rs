//! What changed since the file was written, appended beside it at once: to write all of a large table for every change would
//! be dear.
//!
//! ```text
//! gatewright last-known-good journal 1 <id of the file> plain|<id of CERT_KEY>\n
//! entry: length (4 bytes)  content  SHA-256 of all before (32 bytes)
//! ...
//! ```
//!
//! An entry's content is the state in JSON that the tables reached by it, then the records: key, 1 or 0 for one that is gone,
//! fields. With a key it is sealed, with the first line and the entry's number as context. One that is not whole ends the
//! journal: a crash may have cut it off. One of another file is none.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use store::{Fields, Key, Seal};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::format::{Flaw, State, put_record, put_text, take_record, take_text};
use super::fresh::Change;

const NAME: &str = "gatewright last-known-good journal 1";
const SUM: usize = 32;
/// How large one grows before the file is written anew.
const LARGEST: u64 = 32 << 20;

/// Where the journal of a file lies.
pub(crate) fn beside(file: &Path) -> PathBuf {
    file.with_extension("journal")
}

/// A journal being written.
pub(crate) struct Journal {
    file: File,
    line: Vec<u8>,
    hash: Context,
    entries: u64,
    bytes: u64,
}

impl Journal {
    /// Begins the journal of the file at `path` with this id, in place of any other.
    pub(crate) async fn create(path: &Path, id: &str, seal: &Seal) -> Result<Self, Flaw> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(beside(path)).await?;
        let line = line(id, seal);
        file.write_all(&line).await?;
        file.sync_data().await?;
        let mut hash = Context::new(&SHA256);
        hash.update(&line);
        Ok(Self { file, bytes: line.len() as u64, line, hash, entries: 0 })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes > LARGEST
    }

    /// Has these changes on disk. After an error it is of no more use.
    pub(crate) async fn append(
        &mut self,
        seal: &Seal,
        state: &State,
        changes: impl IntoIterator<Item = &Change>,
    ) -> Result<(), Flaw> {
        let mut content = Vec::new();
        let state = serde_json::to_string(state).map_err(|_| Flaw::Damaged("its state"))?;
        put_text(&mut content, &state)?;
        let nothing = Fields::new();
        for (key, fields) in changes {
            content.push(u8::from(fields.is_some()));
            put_record(&mut content, key, fields.as_ref().unwrap_or(&nothing))?;
        }
        if seal.has_key() {
            content = seal.seal_bytes(&context(&self.line, self.entries), content)?;
        }
        let length = u32::try_from(content.len()).map_err(|_| Flaw::Damaged("an entry"))?;
        let mut entry = [&length.to_be_bytes()[..], &content].concat();
        self.hash.update(&entry);
        entry.extend(self.hash.clone().finish().as_ref());
        self.file.write_all(&entry).await?;
        self.file.flush().await?;
        self.file.sync_data().await?;
        self.entries += 1;
        self.bytes += entry.len() as u64;
        Ok(())
    }
}

/// Hands out what the journal of the file at `path` with this id tells, in order, and the state it comes to; `None`
/// when it tells nothing.
pub(crate) async fn read(
    path: &Path,
    id: &str,
    seal: Option<&Seal>,
    mut visit: impl FnMut(&Key, Option<&Fields>),
) -> Result<Option<State>, Flaw> {
    let bytes = match tokio::fs::read(beside(path)).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let line = match seal {
        Some(seal) => line(id, seal),
        None => format!("{NAME} {id} plain\n").into_bytes(),
    };
    let Some(mut rest) = bytes.strip_prefix(line.as_slice()) else { return Ok(None) };
    let mut hash = Context::new(&SHA256);
    hash.update(&line);
    let (mut reached, mut entries) = (None, 0);
    while let Some(entry) = take_entry(&mut rest, &mut hash) {
        let content = match seal {
            Some(seal) => seal.open_bytes(&context(&line, entries), entry.to_vec())?,
            None => entry.to_vec(),
        };
        entries += 1;
        let mut content = content.as_slice();
        let state = take_text(&mut content)?;
        reached = Some(serde_json::from_str(&state).map_err(|_| Flaw::Damaged("its journal"))?);
        while let Some((there, others)) = content.split_first() {
            content = others;
            let (key, fields) = take_record(&mut content)?;
            if let Some(key) = Key::parse(&key) {
                visit(&key, (*there == 1).then_some(&fields));
            }
        }
    }
    if !rest.is_empty() {
        tracing::warn!(
            bytes = rest.len(),
            "the last-known-good journal ends with a part of an entry"
        );
    }
    Ok(reached)
}

/// The content of the next entry, if it is whole.
fn take_entry<'b>(rest: &mut &'b [u8], hash: &mut Context) -> Option<&'b [u8]> {
    let (length, _) = rest.split_first_chunk::<4>()?;
    let length = 4 + u32::from_be_bytes(*length) as usize;
    let (entry, others) = rest.split_at_checked(length)?;
    let (sum, others) = others.split_at_checked(SUM)?;
    hash.update(entry);
    if hash.clone().finish().as_ref() != sum {
        return None;
    }
    *rest = others;
    entry.get(4..)
}

fn line(id: &str, seal: &Seal) -> Vec<u8> {
    format!("{NAME} {id} {}\n", seal.key_id().unwrap_or("plain")).into_bytes()
}

fn context(line: &[u8], entry: u64) -> Vec<u8> {
    [line, &entry.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use model::Secret;
    use store::{Collection, Sealer};

    use super::*;

    fn state(n: u32) -> State {
        State { revision: format!("e-1:{n}").parse().unwrap(), accepted_at: None }
    }

    fn changes(n: u32) -> Vec<Change> {
        let key = |name: &str| Key::new(Collection::Host, format!("{name}{n}.test"));
        let fields = [("ip".to_owned(), "10.0.0.1".to_owned())].into();
        vec![(key("come"), Some(fields)), (key("gone"), None)]
    }

    async fn told(path: &Path, id: &str, seal: Option<&Seal>) -> (Vec<Change>, Option<State>) {
        let mut told = Vec::new();
        let visit = |key: &Key, fields: Option<&Fields>| told.push((key.clone(), fields.cloned()));
        let state = read(path, id, seal, visit).await.unwrap();
        (told, state)
    }

    #[tokio::test]
    async fn entries_are_read_as_far_as_they_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let key = Secret::new("a".repeat(16));
        for key in [None, Some(&key)] {
            let sealer = Sealer::new(None, key, true).unwrap();
            let seal = sealer.cert_key();
            let reader = key.map(|_| seal);
            assert_eq!(told(&path, "none", reader).await, (Vec::new(), None));
            let mut journal = Journal::create(&path, "id", seal).await.unwrap();
            let mut ends = vec![journal.bytes];
            for n in 1..=3 {
                journal.append(seal, &state(n), &changes(n)).await.unwrap();
                ends.push(journal.bytes);
            }
            let whole = std::fs::read(beside(&path)).unwrap();
            assert_eq!(whole.len() as u64, ends[3]);
            assert_eq!(told(&path, "other", reader).await, (Vec::new(), None));
            for at in 0..=whole.len() {
                std::fs::write(beside(&path), &whole[..at]).unwrap();
                let entries = ends[1..].iter().filter(|end| **end <= at as u64).count();
                let entries = u32::try_from(entries).unwrap();
                let expected: Vec<_> = (1..=entries).flat_map(changes).collect();
                let reached = (entries > 0).then(|| state(entries));
                assert_eq!(told(&path, "id", reader).await, (expected, reached), "cut at {at}");
            }
            let mut altered = whole.clone();
            altered[usize::try_from(ends[1]).unwrap() + 20] ^= 1;
            std::fs::write(beside(&path), &altered).unwrap();
            assert_eq!(told(&path, "id", reader).await, (changes(1), Some(state(1))));
        }
    }
}
