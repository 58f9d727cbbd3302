//! Records as the script `read.lua` packs them: the few forms of MessagePack that it comes to.

use store::{Error, Fields};

use crate::answer::{corrupt, text};

/// The records in turn; `None` for what is no hash.
pub(crate) fn records(packed: &[u8]) -> Result<Vec<Option<Fields>>, Error> {
    let mut rest = packed;
    let found = take_list(&mut rest, |rest| match *rest {
        [0xc2, others @ ..] => {
            *rest = others;
            Some(None)
        }
        _ => take_fields(rest).map(Some),
    });
    match found {
        Some(found) if rest.is_empty() => Ok(found),
        _ => Err(corrupt("records that are packed in an unknown way")),
    }
}

fn take_fields(rest: &mut &[u8]) -> Option<Fields> {
    let mut name = None;
    let pairs = take_list(rest, |rest| {
        let found = take_text(rest)?;
        Some(match name.take() {
            None => {
                name = Some(found);
                None
            }
            Some(name) => Some((name, found)),
        })
    })?;
    name.is_none().then(|| pairs.into_iter().flatten().collect())
}

/// A list: its length, then what `take` takes, over and over.
fn take_list<T>(rest: &mut &[u8], mut take: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let (kind, others) = rest.split_first()?;
    *rest = others;
    let length = match kind {
        // An empty table is a map to some versions.
        0x80 => 0,
        0x90..=0x9f => usize::from(kind & 0x0f),
        0xdc => take_number::<2>(rest)?,
        0xdd => take_number::<4>(rest)?,
        _ => return None,
    };
    // Each takes a byte at least: a length that lies reserves no more than was sent.
    let mut list = Vec::with_capacity(length.min(rest.len()));
    for _ in 0..length {
        list.push(take(rest)?);
    }
    Some(list)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let (kind, others) = rest.split_first()?;
    *rest = others;
    let length = match kind {
        0xa0..=0xbf => usize::from(kind & 0x1f),
        0xd9 => take_number::<1>(rest)?,
        0xda => take_number::<2>(rest)?,
        0xdb => take_number::<4>(rest)?,
        _ => return None,
    };
    let (found, others) = rest.split_at_checked(length)?;
    *rest = others;
    Some(text(found))
}

/// A number of so many bytes, the highest first.
fn take_number<const N: usize>(rest: &mut &[u8]) -> Option<usize> {
    let (bytes, others) = rest.split_first_chunk::<N>()?;
    *rest = others;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_form_is_read() {
        let (short, middle, long) = ("v".repeat(31), "v".repeat(255), "v".repeat(256));
        let mut packed = vec![0xdc, 0, 4, 0xc2, 0x80, 0x90, 0x98];
        let forms: [(u8, &[u8], &str); 3] =
            [(b'a', &[0xbf], &short), (b'b', &[0xd9, 255], &middle), (b'c', &[0xda, 1, 0], &long)];
        for (name, head, value) in forms {
            packed.extend([0xa1, name]);
            packed.extend(head);
            packed.extend(value.as_bytes());
        }
        packed.extend([0xa1, b'z', 0xdb, 0, 0, 0, 1, 0xff]);
        let found = records(&packed).unwrap();
        assert_eq!(found[..3], [None, Some(Fields::new()), Some(Fields::new())]);
        let last = found[3].as_ref().unwrap();
        assert_eq!(last.len(), 4);
        assert_eq!(last["z"], "\u{fffd}", "bytes that are no text");
        assert_eq!((&last["a"], &last["b"], &last["c"]), (&short, &middle, &long));
        let one = [0xdd, 0, 0, 0, 1, 0x92, 0xa1, b'a', 0xa1, b'b'];
        assert_eq!(records(&one).unwrap(), [Some(fields(&[("a", "b")]))]);
    }

    #[test]
    fn what_the_script_does_not_say_is_refused() {
        let whole = [0x91, 0x92, 0xa1, b'a', 0xa1, b'b'];
        assert!(records(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(records(&whole[..end]).is_err(), "cut at {end}");
        }
        let odd: [&[u8]; 5] = [
            &[0x91, 0x91, 0xa1, b'a'],
            &[0x91, 0x92, 0xa1, b'a', 0x01],
            &[0x90, 0x90],
            &[0xdd, 0xff, 0xff, 0xff, 0xff],
            &[0x91, 0xc0],
        ];
        for odd in odd {
            assert!(records(odd).is_err(), "{odd:?}");
        }
    }
}
