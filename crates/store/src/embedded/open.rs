use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use redb::{Builder, Database, DatabaseError, ReadableTable, TableDefinition};

use crate::{Error, new_epoch};

/// Records by collection and id: when they expire (milliseconds, 0: never), whether that counts as a change, and the
/// fields as JSON.
pub(super) const RECORDS: TableDefinition<'_, (&str, &str), (u64, bool, &[u8])> =
    TableDefinition::new("records");
/// What expires, by time, collection and id.
pub(super) const EXPIRIES: TableDefinition<'_, (u64, &str, &str), ()> =
    TableDefinition::new("expiries");
/// Which record changed, by revision and place in its transaction.
pub(super) const LOG: TableDefinition<'_, (u64, u32), (&str, &str)> = TableDefinition::new("log");
/// Entries of the history by number: the revision's number and the text.
pub(super) const HISTORY: TableDefinition<'_, u64, (u64, &str)> = TableDefinition::new("history");
/// Locks by name: fencing token and end.
pub(super) const LOCKS: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("locks");
/// Counters, by the names below.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// The epoch, under `epoch`.
pub(super) const TEXTS: TableDefinition<'_, &str, &str> = TableDefinition::new("texts");

/// The revision's number.
pub(super) const N: &str = "n";
/// The log has every change after this revision.
pub(super) const LOG_FROM: &str = "log_from";
/// The last fencing token given out.
pub(super) const FENCE: &str = "fence";
/// The epoch in [`TEXTS`].
pub(super) const EPOCH: &str = "epoch";
/// The version of this layout.
const FORMAT: (&str, u64) = ("format", 1);

const FILE: &str = "store.redb";
/// Pages kept in memory.
const CACHE: usize = 64 << 20;

/// Opens the database in `dir` and makes sure that it is one of ours.
pub(super) fn open(dir: &Path) -> Result<Database, Error> {
    let file = dir.join(FILE);
    make(dir, &file).map_err(|cause| Error::Unavailable {
        what: format!("making {}", file.display()),
        source: Some(cause.into()),
    })?;
    let database = create(&file).map_err(|cause| match cause {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse { dir: dir.to_owned() },
        DatabaseError::Storage(redb::StorageError::Io(cause)) if !is_about_content(&cause) => {
            Error::Unavailable {
                what: format!("opening {}", file.display()),
                source: Some(cause.into()),
            }
        }
        cause => foreign(&file, Some(cause.into())),
    })?;
    prepare(&database, &file)?;
    Ok(database)
}

fn make(dir: &Path, file: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file)?;
    // The file's content is synced with each commit; its name has to be on disk too.
    File::open(dir)?.sync_all()
}

/// On a thread of its own, since redb may panic over a file that was altered behind its back.
fn create(file: &Path) -> Result<Database, DatabaseError> {
    let file = file.to_owned();
    let opening = std::thread::spawn(move || Builder::new().set_cache_size(CACHE).create(file));
    opening.join().unwrap_or_else(|_| {
        Err(DatabaseError::Storage(redb::StorageError::Corrupted("opening it failed".to_owned())))
    })
}

/// Makes the tables, and the epoch of a store that is new.
pub(super) fn prepare(database: &Database, file: &Path) -> Result<(), Error> {
    let refused = |cause: redb::Error| foreign(file, Some(cause.into()));
    let write = || -> Result<(Option<u64>, redb::WriteTransaction), redb::Error> {
        let txn = database.begin_write()?;
        txn.open_table(RECORDS)?;
        txn.open_table(EXPIRIES)?;
        txn.open_table(LOG)?;
        txn.open_table(HISTORY)?;
        // Whoever held a lock is dead: the store serves one process.
        txn.delete_table(LOCKS)?;
        txn.open_table(LOCKS)?;
        let found = txn.open_table(NUMBERS)?.get(FORMAT.0)?.map(|version| version.value());
        Ok((found, txn))
    };
    let (found, txn) = write().map_err(refused)?;
    match found {
        Some(version) if version == FORMAT.1 => {}
        Some(_) => {
            let what = format!("{} was made by another version", file.display());
            return Err(Error::Corrupt { what, source: None });
        }
        None => {
            let epoch = new_epoch()?;
            let begin = || -> Result<(), redb::Error> {
                txn.open_table(NUMBERS)?.insert(FORMAT.0, FORMAT.1)?;
                txn.open_table(TEXTS)?.insert(EPOCH, epoch.as_str())?;
                Ok(())
            };
            begin().map_err(refused)?;
        }
    }
    txn.commit().map_err(|cause| refused(cause.into()))
}

fn foreign(file: &Path, source: Option<crate::Cause>) -> Error {
    Error::Corrupt { what: format!("{} can't be read as a store", file.display()), source }
}

fn is_about_content(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
