use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use store::{Collection, Error, Fields, Key, NewEntries, ScanPage};

use crate::backend::Link;
use crate::script::Change;
use crate::{legacy, packed};

/// How many ids to ask for at once. The same for every page: a page that ends inside a batch is continued by asking
/// for that batch again.
const BATCH: usize = 512;

/// What there is to list page by page.
#[derive(Clone, Copy)]
pub(crate) enum Listing {
    /// The records of a collection.
    Records(Collection),
    /// The certificates that others wrote for hosts.
    Copies,
}

/// One page of it, of at most `limit` ids. Its cursor is `<cursor of SSCAN>[:<last id taken of that batch>]`.
pub(crate) async fn page(
    link: &Link,
    listing: Listing,
    cursor: Option<&str>,
    limit: usize,
) -> Result<ScanPage, Error> {
    let (mut at, mut after) = match cursor.and_then(|cursor| cursor.split_once(':')) {
        Some((at, id)) => (at.to_owned(), Some(id.to_owned())),
        None => (cursor.unwrap_or("0").to_owned(), None),
    };
    let mut page = ScanPage::default();
    let collection = match listing {
        Listing::Records(collection) => collection,
        Listing::Copies => Collection::Host,
    };
    let mut room = limit;
    let (mut next, mut ids) = batch(link, collection, &at).await?;
    loop {
        // In order, so that there is a place to go on from.
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| after.as_ref().is_none_or(|after| id > after));
        let (some, rest) = ids.split_at(ids.len().min(room));
        room -= some.len();
        // No room for another batch: better a shorter page than to ask for that batch twice.
        let goes_on = rest.is_empty() && next != "0" && room >= BATCH;
        let reading = Box::pin(async {
            match listing {
                Listing::Records(collection) => records(link, collection, some).await,
                Listing::Copies => legacy::of_hosts(link, some).await,
            }
        });
        // Redis has the next batch ready by the time these records are read.
        let following = Box::pin(async {
            match goes_on {
                true => batch(link, collection, &next).await.map(Some),
                false => Ok(None),
            }
        });
        let (found, following) = tokio::try_join!(reading, following)?;
        page.records.extend(found);
        if !rest.is_empty() {
            // At least one was taken: there is room at the start, and a batch that follows has room.
            page.next = some.last().map(|after| format!("{at}:{after}"));
            return Ok(page);
        }
        let Some(following) = following else {
            page.next = (next != "0").then_some(next);
            return Ok(page);
        };
        at = std::mem::replace(&mut next, following.0);
        (ids, after) = (following.1, None);
    }
}

async fn batch(
    link: &Link,
    collection: Collection,
    cursor: &str,
) -> Result<(String, Vec<String>), Error> {
    let command = CustomCommand::new_static("SSCAN", ClusterHash::FirstKey, false);
    let index = link.layout.index(collection);
    let count = BATCH.to_string();
    let arguments = vec![index.as_str(), cursor, "COUNT", count.as_str()];
    let answer = link.connection.client.custom(command, arguments).await;
    answer.map_err(|error| link.failed("listing a collection", error))
}

/// The records of these ids that are there.
async fn records(
    link: &Link,
    collection: Collection,
    ids: &[String],
) -> Result<Vec<(String, Fields)>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let names = ids.iter().map(|id| link.layout.record(&Key::new(collection, id.as_str())));
    let answer = link.connection.read(&link.scripts.read, names.collect(), Vec::new()).await;
    let answer: Value = answer.map_err(|error| link.failed("reading records", error))?;
    let mut found = Vec::with_capacity(ids.len());
    let mut dangling = Vec::new();
    for (id, fields) in ids.iter().zip(packed::records(answer.as_bytes().unwrap_or_default())?) {
        match fields {
            Some(fields) if fields.is_empty() => {
                dangling.push(Key::new(collection, id.as_str()));
            }
            // Something else under a record's name: to the reader a record without fields.
            fields => found.push((id.clone(), fields.unwrap_or_default())),
        }
    }
    forget(link, &dangling).await;
    Ok(found)
}

/// Drops index entries whose record is gone: those of expired leases, and those that other programs left behind.
async fn forget(link: &Link, dangling: &[Key]) {
    if dangling.is_empty() {
        return;
    }
    let changes: Vec<_> = dangling.iter().map(|key| Change::forget(&link.layout, key)).collect();
    if let Err(error) = link.run_changes(&changes, &NewEntries::default()).await {
        // A proxy may not be allowed to; somebody else will.
        tracing::debug!(%error, "dangling index entries stay");
    }
}
