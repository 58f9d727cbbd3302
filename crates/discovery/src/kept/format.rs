//! The file's bytes.
//!
//! ```text
//! gatewright last-known-good 1 <random id> plain|<id of CERT_KEY>\n
//! chunk: kind (1 byte: 0 start, 1 records, 2 end)  length (4 bytes)  content
//! ...
//! SHA-256 of all before (32 bytes)
//! ```
//!
//! The start chunk is the state in JSON, the end chunk the number of records. With a key each content is sealed, with the
//! first line, the chunk's number and its kind as context: a chunk of another file, or in another place, does not
//! open. Numbers are big-endian.

use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use store::{Fields, Key, Seal, SealError};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};

use model::{Revision, Timestamp};

const NAME: &str = "gatewright last-known-good";
const VERSION: &str = "1";
/// How much is gathered before it is sealed and written.
const CHUNK: usize = 256 << 10;
/// What no chunk is larger than: the largest record, and a chunk that was nearly full before it.
const LARGEST: usize = 64 << 20;
const BUFFER: usize = 512 << 10;
const START: u8 = 0;
const RECORDS: u8 = 1;
const END: u8 = 2;

/// Where the tables stood that a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    pub(crate) accepted_at: Option<Timestamp>,
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it is no last-known-good file")]
    Foreign,
    #[error("it can't be read")]
    Io(#[from] std::io::Error),
    #[error(
        "it is not sealed, and CERT_KEY is set; ALLOW_PLAINTEXT_SECRETS=true would read it anyway"
    )]
    NotSealed,
    #[error("it can't be unsealed")]
    Seal(#[from] SealError),
    #[error("its format is version {0}, and this program reads version {VERSION}")]
    Version(String),
    #[error("it was sealed with another CERT_KEY (key id {0})")]
    WrongKey(String),
}

/// A file being written, under another name until it is complete.
pub(crate) struct Writer<'s> {
    file: BufWriter<File>,
    seal: &'s Seal,
    id: String,
    line: Vec<u8>,
    hash: Context,
    gathered: Vec<u8>,
    chunks: u64,
    records: u64,
}

impl<'s> Writer<'s> {
    /// Begins a file that only its owner may read.
    pub(crate) async fn create(path: &Path, seal: &'s Seal, state: &State) -> Result<Self, Flaw> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(path).await?;
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| SealError::Unspecified)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = seal.key_id().unwrap_or("plain");
        let line = format!("{NAME} {VERSION} {id} {key}\n").into_bytes();
        let mut writer = Self {
            file: BufWriter::with_capacity(BUFFER, file),
            seal,
            hash: Context::new(&SHA256),
            gathered: Vec::with_capacity(CHUNK),
            chunks: 0,
            records: 0,
            id,
            line: Vec::new(),
        };
        writer.put(&line).await?;
        writer.line = line;
        let state = serde_json::to_vec(state).map_err(|_| Flaw::Damaged("its state"))?;
        writer.chunk(START, state).await?;
        Ok(writer)
    }

    /// Adds a record.
    pub(crate) async fn record(&mut self, key: &Key, fields: &Fields) -> Result<(), Flaw> {
        put_record(&mut self.gathered, key, fields)?;
        self.records += 1;
        if self.gathered.len() >= CHUNK {
            let full = std::mem::replace(&mut self.gathered, Vec::with_capacity(CHUNK));
            self.chunk(RECORDS, full).await?;
        }
        Ok(())
    }

    /// Completes the file and has it on disk; under its name it is not yet. Hands out its id and how many records it has.
    pub(crate) async fn finish(mut self) -> Result<(String, u64), Flaw> {
        let rest = std::mem::take(&mut self.gathered);
        self.chunk(RECORDS, rest).await?;
        self.chunk(END, self.records.to_be_bytes().to_vec()).await?;
        let sum = self.hash.clone().finish();
        self.file.write_all(sum.as_ref()).await?;
        self.file.flush().await?;
        self.file.get_ref().sync_all().await?;
        Ok((self.id, self.records))
    }

    async fn chunk(&mut self, kind: u8, content: Vec<u8>) -> Result<(), Flaw> {
        let content = match self.seal.has_key() {
            true => self.seal.seal_bytes(&context(&self.line, self.chunks, kind), content)?,
            false => content,
        };
        self.chunks += 1;
        let length = u32::try_from(content.len()).map_err(|_| Flaw::Damaged("a chunk"))?;
        self.put(&[kind]).await?;
        self.put(&length.to_be_bytes()).await?;
        self.put(&content).await
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        self.hash.update(bytes);
        Ok(self.file.write_all(bytes).await?)
    }
}

/// Reads a file from beginning to end and hands out its records; none but those of a file that was read to its end before
/// may be believed. `plaintext` says that a file need not be sealed though there is a key. What the journal beside it tells
/// is not in it.
pub(crate) async fn read(
    path: &Path,
    seal: &Seal,
    plaintext: bool,
    mut visit: impl FnMut(&Key, &Fields),
) -> Result<Whole, Flaw> {
    let mut reader = Reader::open(path, seal, plaintext).await?;
    let (START, state) = reader.chunk().await? else { return Err(Flaw::Damaged("its start")) };
    let state = serde_json::from_slice(&state).map_err(|_| Flaw::Damaged("its state"))?;
    let mut records = 0;
    loop {
        match reader.chunk().await? {
            (RECORDS, content) => {
                let mut rest = content.as_slice();
                while !rest.is_empty() {
                    let (key, fields) = take_record(&mut rest)?;
                    records += 1;
                    // A collection of a later version is nothing to us.
                    if let Some(key) = Key::parse(&key) {
                        visit(&key, &fields);
                    }
                }
            }
            (END, count) if count == u64::to_be_bytes(records) => break,
            _ => return Err(Flaw::Damaged("its end")),
        }
    }
    let (id, sealed) = (reader.id.clone(), reader.seal.is_some());
    reader.end().await?;
    Ok(Whole { state, id, sealed })
}

/// What a file says of itself.
pub(crate) struct Whole {
    pub(crate) state: State,
    pub(crate) id: String,
    pub(crate) sealed: bool,
}

struct Reader<'s> {
    file: BufReader<File>,
    /// `None` for a file in clear.
    seal: Option<&'s Seal>,
    id: String,
    line: Vec<u8>,
    hash: Context,
    chunks: u64,
}

impl<'s> Reader<'s> {
    async fn open(path: &Path, seal: &'s Seal, plaintext: bool) -> Result<Self, Flaw> {
        let mut file = BufReader::with_capacity(BUFFER, File::open(path).await?);
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if line.len() > 128 {
                return Err(Flaw::Foreign);
            }
            line.push(file.read_u8().await.map_err(|_| Flaw::Foreign)?);
        }
        let text = std::str::from_utf8(&line).ok().and_then(|line| line.strip_prefix(NAME));
        let words: Vec<_> = text.ok_or(Flaw::Foreign)?.split_whitespace().collect();
        let (id, key) = match words[..] {
            [VERSION, id, key] => (id.to_owned(), key),
            [version, ..] if version != VERSION => return Err(Flaw::Version(version.to_owned())),
            _ => return Err(Flaw::Foreign),
        };
        let seal = match (key, seal.key_id()) {
            ("plain", Some(_)) if !plaintext => return Err(Flaw::NotSealed),
            ("plain", _) => None,
            (_, None) => return Err(SealError::NoKey { key: "CERT_KEY" }.into()),
            (key, Some(have)) if key != have => return Err(Flaw::WrongKey(key.to_owned())),
            _ => Some(seal),
        };
        let mut hash = Context::new(&SHA256);
        hash.update(&line);
        Ok(Self { file, seal, id, line, hash, chunks: 0 })
    }

    async fn chunk(&mut self) -> Result<(u8, Vec<u8>), Flaw> {
        let mut head = [0; 5];
        self.take(&mut head).await?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > LARGEST {
            return Err(Flaw::Damaged("a chunk's length"));
        }
        let mut content = vec![0; length];
        self.take(&mut content).await?;
        let place = context(&self.line, self.chunks, kind);
        self.chunks += 1;
        match self.seal {
            Some(seal) => Ok((kind, seal.open_bytes(&place, content)?)),
            None => Ok((kind, content)),
        }
    }

    async fn end(mut self) -> Result<(), Flaw> {
        let sum = self.hash.clone().finish();
        let mut stored = [0; 32];
        self.take(&mut stored).await?;
        if stored != sum.as_ref() {
            return Err(Flaw::Damaged("its checksum is wrong"));
        }
        match self.file.read(&mut [0]).await? {
            0 => Ok(()),
            _ => Err(Flaw::Damaged("it goes on behind its end")),
        }
    }

    async fn take(&mut self, into: &mut [u8]) -> Result<(), Flaw> {
        self.file.read_exact(into).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Flaw::Damaged("it ends too early"),
            _ => Flaw::Io(error),
        })?;
        self.hash.update(into);
        Ok(())
    }
}

fn context(line: &[u8], chunk: u64, kind: u8) -> Vec<u8> {
    [line, &chunk.to_be_bytes()[..], &[kind]].concat()
}

pub(super) fn put_record(to: &mut Vec<u8>, key: &Key, fields: &Fields) -> Result<(), Flaw> {
    let count = u32::try_from(fields.len()).map_err(|_| Flaw::Damaged("a record"))?;
    put_text(to, &key.to_string())?;
    to.extend(count.to_be_bytes());
    fields.iter().flat_map(|(name, value)| [name, value]).try_for_each(|part| put_text(to, part))
}

pub(super) fn put_text(to: &mut Vec<u8>, text: &str) -> Result<(), Flaw> {
    let length = u32::try_from(text.len()).map_err(|_| Flaw::Damaged("a record"))?;
    to.extend(length.to_be_bytes());
    to.extend(text.as_bytes());
    Ok(())
}

pub(super) fn take_record(rest: &mut &[u8]) -> Result<(String, Fields), Flaw> {
    let key = take_text(rest)?;
    let count = take_number(rest)?;
    let mut fields = Fields::new();
    for _ in 0..count {
        fields.insert(take_text(rest)?, take_text(rest)?);
    }
    Ok((key, fields))
}

pub(super) fn take_text(rest: &mut &[u8]) -> Result<String, Flaw> {
    let length = take_number(rest)? as usize;
    let (text, others) = rest.split_at_checked(length).ok_or(Flaw::Damaged("a record"))?;
    *rest = others;
    String::from_utf8(text.to_vec()).map_err(|_| Flaw::Damaged("a record"))
}

fn take_number(rest: &mut &[u8]) -> Result<u32, Flaw> {
    let (number, others) = rest.split_first_chunk().ok_or(Flaw::Damaged("a record"))?;
    *rest = others;
    Ok(u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use model::Secret;
    use store::{Collection, Sealer};

    use super::*;

    fn sealer(key: Option<&str>) -> Sealer {
        let key = key.map(|key| Secret::new(key.repeat(16)));
        Sealer::new(None, key.as_ref(), true).unwrap()
    }

    fn state() -> State {
        State { revision: "e-1:7".parse().unwrap(), accepted_at: None }
    }

    async fn write(path: &Path, seal: &Seal, records: u32) {
        let mut writer = Writer::create(path, seal, &state()).await.unwrap();
        for number in 0..records {
            let fields = [("ip".to_owned(), "10.0.0.1".to_owned())].into();
            let key = Key::new(Collection::Host, format!("h{number}.test"));
            writer.record(&key, &fields).await.unwrap();
        }
        writer.finish().await.unwrap();
    }

    async fn count(path: &Path, seal: &Seal) -> Result<usize, Flaw> {
        let mut seen = 0;
        let found = read(path, seal, false, |_, _| seen += 1).await?;
        assert_eq!(found.state, state());
        Ok(seen)
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_only_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let (one, two, none) = (sealer(Some("a")), sealer(Some("b")), sealer(None));
        for records in [0, 1, 20_000] {
            write(&path, one.cert_key(), records).await;
            assert_eq!(count(&path, one.cert_key()).await.unwrap(), records as usize);
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(7).any(|part| part == b"h0.test"), "it is sealed");
            assert!(matches!(count(&path, two.cert_key()).await, Err(Flaw::WrongKey(_))));
            assert!(matches!(count(&path, none.cert_key()).await, Err(Flaw::Seal(_))));
        }
        write(&path, none.cert_key(), 3).await;
        assert_eq!(count(&path, none.cert_key()).await.unwrap(), 3);
        assert!(matches!(count(&path, one.cert_key()).await, Err(Flaw::NotSealed)));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_file_that_is_not_whole_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for sealer in [sealer(Some("a")), sealer(None)] {
            let seal = sealer.cert_key();
            write(&path, seal, 2).await;
            let whole = std::fs::read(&path).unwrap();
            for at in 0..whole.len() {
                std::fs::write(&path, &whole[..at]).unwrap();
                assert!(count(&path, seal).await.is_err(), "cut at {at}");
                let mut altered = whole.clone();
                altered[at] ^= 1;
                std::fs::write(&path, &altered).unwrap();
                assert!(count(&path, seal).await.is_err(), "altered at {at}");
            }
            std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
            assert!(count(&path, seal).await.is_err(), "longer");
            let later = String::from_utf8_lossy(&whole).replacen("good 1", "good 2", 1);
            std::fs::write(&path, later.as_bytes()).unwrap();
            assert!(matches!(count(&path, seal).await, Err(Flaw::Version(_))));
        }
    }
}
