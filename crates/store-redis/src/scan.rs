use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use store::{Collection, Error, Fields, Key, NewEntries, ScanPage};

use crate::answer::listed_fields;
use crate::backend::Link;
use crate::script::Change;

/// How many ids to ask for at once. The same for every page: a page that ends inside a batch is continued by asking
/// for that batch again.
const BATCH: usize = 512;

/// One page of a collection. Its cursor is `<cursor of SSCAN>[:<last id taken of that batch>]`.
pub(crate) async fn page(
    link: &Link,
    collection: Collection,
    cursor: Option<&str>,
    limit: usize,
) -> Result<ScanPage, Error> {
    let (mut at, mut after) = match cursor.and_then(|cursor| cursor.split_once(':')) {
        Some((at, id)) => (at.to_owned(), Some(id.to_owned())),
        None => (cursor.unwrap_or("0").to_owned(), None),
    };
    let mut page = ScanPage::default();
    loop {
        let (next, mut ids) = batch(link, collection, &at).await?;
        // In order, so that there is a place to go on from.
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| after.as_ref().is_none_or(|after| id > after));
        let mut rest = ids.as_slice();
        while !rest.is_empty() && page.records.len() < limit {
            let (some, others) = rest.split_at(rest.len().min(limit - page.records.len()));
            page.records.extend(records(link, collection, some).await?);
            after = some.last().cloned();
            rest = others;
        }
        if let (false, Some(after)) = (rest.is_empty(), after) {
            page.next = Some(format!("{at}:{after}"));
            return Ok(page);
        }
        if next == "0" {
            return Ok(page);
        }
        // No room for another batch: better a shorter page than to ask for that batch twice.
        if page.records.len() + BATCH > limit {
            page.next = Some(next);
            return Ok(page);
        }
        (at, after) = (next, None);
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
    let names = ids.iter().map(|id| link.layout.record(&Key::new(collection, id.as_str())));
    let answer = link.connection.read(&link.scripts.read, names.collect(), Vec::new()).await;
    let answer: Vec<Value> = answer.map_err(|error| link.failed("reading records", error))?;
    let mut found = Vec::with_capacity(ids.len());
    let mut dangling = Vec::new();
    for (id, hash) in ids.iter().zip(answer) {
        // Something else under a record's name: to the reader a record without fields.
        let is_hash = !hash.is_null();
        let fields = listed_fields(hash);
        if is_hash && fields.is_empty() {
            dangling.push(Key::new(collection, id.as_str()));
        } else {
            found.push((id.clone(), fields));
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
