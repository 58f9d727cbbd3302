use fred::error::{Error as RedisError, ErrorKind};
use fred::types::Value;
use model::{Epoch, Revision};
use store::{Changes, Error, Fields, HistoryEntry, Key};

use crate::trouble::Reason;

/// What a failed command means to the caller.
pub(crate) fn failed(what: &str, error: RedisError) -> Error {
    if is_wrong_type(&error) {
        let what = format!("{what}: a key holds another type of value");
        return Error::Corrupt { what, source: Some(error.into()) };
    }
    let what = match Reason::of(&error) {
        Some(reason) => format!("{what}: {reason}"),
        None => what.to_owned(),
    };
    Error::Unavailable { what, source: Some(error.into()) }
}

/// Data that this crate did not write, or an answer that its scripts don't give.
pub(crate) fn corrupt(what: &str) -> Error {
    Error::Corrupt { what: what.to_owned(), source: None }
}

/// Whether the command met a key of another type.
fn is_wrong_type(error: &RedisError) -> bool {
    *error.kind() == ErrorKind::InvalidArgument && error.details().contains("WRONGTYPE")
}

/// Whether the server's user may not do it.
pub(crate) fn is_not_allowed(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<RedisError>();
    error.is_some_and(|error| Reason::of(error) == Some(Reason::Permission))
}

/// A hash as fields. Bytes that are no text are replaced, so that one bad record does not hide the others.
pub(crate) fn fields(hash: Value) -> Fields {
    let Ok(map) = hash.into_map() else { return Fields::new() };
    map.inner()
        .into_iter()
        .map(|(name, value)| (text(name.as_bytes()), value_text(&value)))
        .collect()
}

fn value_text(value: &Value) -> String {
    text(value.as_bytes().unwrap_or_default())
}

/// Bytes as text; those that are none are replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A revision from its stored parts.
pub(crate) fn epoch_and_n(epoch: String, n: &str) -> Result<Revision, Error> {
    let wrong = || corrupt("the revision is not an epoch and a number");
    let epoch = Epoch::new(epoch).map_err(|_| wrong())?;
    Ok(Revision { epoch, n: n.parse().map_err(|_| wrong())? })
}

/// The answer of the changes script.
pub(crate) fn read_changes(answer: Vec<Value>) -> Result<Changes, Error> {
    let mut answer = answer.into_iter();
    let mut word = || answer.next().and_then(|value| value.into_string());
    let (Some(kind), Some(epoch), Some(n)) = (word(), word(), word()) else {
        return Err(corrupt("an unknown answer about changes"));
    };
    let revision = epoch_and_n(epoch, &n)?;
    if kind == "reset" {
        return Ok(Changes::Reset { revision });
    }
    let names = answer.next().map(Value::into_array).unwrap_or_default();
    let names = names.into_iter().filter_map(Value::into_string);
    // A collection of a later version than this one is nothing to readers of this one.
    let keys = names.filter_map(|name| Key::parse(&name)).collect();
    Ok(Changes::Keys { revision, keys })
}

/// The answer of the history script: numbers and values in turn.
pub(crate) fn read_history(answer: &[String]) -> Result<Vec<HistoryEntry>, Error> {
    let wrong = || corrupt("an entry of the history is not a revision and a text");
    let entry = |pair: &[String]| {
        let (revision, text) = pair[1].split_once(' ').ok_or_else(wrong)?;
        Ok(HistoryEntry {
            number: pair[0].parse().map_err(|_| wrong())?,
            revision: revision.parse().map_err(|_| wrong())?,
            text: text.to_owned(),
        })
    };
    answer.chunks_exact(2).map(entry).collect()
}
