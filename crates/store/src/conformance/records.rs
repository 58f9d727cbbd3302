use std::collections::BTreeSet;

use super::{Case, Outcome, Subject, changed, fields, key, put, scan, value};
use crate::{Collection, Error, Expect, Fields, Key, Txn, etag};

pub(super) const CASES: &[Case] = &[
    ("a record is read as written, until replaced or deleted", |s| Box::pin(kept(s))),
    ("a scan gives each record of its collection once", |s| Box::pin(scanned(s))),
    ("ten thousand records are scanned", |s| Box::pin(many(s))),
    ("ids and values may have any characters", |s| Box::pin(odd(s))),
    ("a value may be large", |s| Box::pin(large(s))),
    ("expectations hold or don't", |s| Box::pin(expected(s))),
    ("a conflict leaves nothing behind", |s| Box::pin(conflict(s))),
    ("a transaction spans collections", |s| Box::pin(spans(s))),
    ("an empty transaction changes nothing", |s| Box::pin(empty(s))),
];

async fn kept(s: &Subject) -> Outcome {
    assert_eq!(s.first.get(&key("a")).await?, None);
    let first = fields(&[("one", "1"), ("two", "2")]);
    s.first.commit(Txn::new().put(key("a"), first.clone(), Expect::Any)).await?;
    assert_eq!(s.second.get(&key("a")).await?, Some(first));
    // Replaced as a whole: a field that is not named is gone.
    let next = fields(&[("two", "3")]);
    s.second.commit(Txn::new().put(key("a"), next.clone(), Expect::Any)).await?;
    assert_eq!(s.first.get(&key("a")).await?, Some(next));
    s.first.commit(Txn::new().delete(key("a"), Expect::Any)).await?;
    assert_eq!(s.second.get(&key("a")).await?, None);
    assert_eq!(scan(&*s.first, Collection::Host, 10).await?, []);
    Ok(())
}

async fn scanned(s: &Subject) -> Outcome {
    assert_eq!(scan(&*s.first, Collection::Host, 1).await?, []);
    let mut txn = Txn::new().put(Key::new(Collection::User, "x"), value("user"), Expect::Any);
    let mut expected = Vec::new();
    for i in 0..250 {
        let id = format!("host-{i:03}");
        expected.push((id.clone(), value(&id)));
        txn = txn.put(key(&id), value(&id), Expect::Any);
    }
    s.first.commit(txn).await?;
    for limit in [1, 7, 249, 250, 251, 1000] {
        assert_eq!(scan(&*s.second, Collection::Host, limit).await?, expected, "by {limit}");
    }
    assert_eq!(scan(&*s.second, Collection::User, 7).await?, [("x".to_owned(), value("user"))]);
    assert_eq!(scan(&*s.second, Collection::Cert, 7).await?, []);
    Ok(())
}

async fn many(s: &Subject) -> Outcome {
    const RECORDS: usize = 10_000;
    for start in (0..RECORDS).step_by(1000) {
        let mut txn = Txn::new();
        for i in start..start + 1000 {
            txn = txn.put(key(&i.to_string()), value("v"), Expect::Any);
        }
        s.first.commit(txn).await?;
    }
    for limit in [500, 20_000] {
        let ids: BTreeSet<_> =
            scan(&*s.first, Collection::Host, limit).await?.into_iter().collect();
        assert_eq!(ids.len(), RECORDS, "by {limit}");
    }
    Ok(())
}

async fn odd(s: &Subject) -> Outcome {
    let odd = [
        "*.example.com",
        "**",
        "**.*.x",
        "[::1]",
        "a b",
        "a:b:c",
        "a_b",
        "Host_a",
        "é",
        "a\nb",
        "\"'\\",
        "{tag}",
        "",
        "0:x",
        "%",
        "\u{0}",
    ];
    let mut txn = Txn::new();
    for id in odd {
        txn = txn.put(key(id), fields(&[(id, id), ("other", "")]), Expect::Absent);
    }
    let before = s.first.commit(Txn::new().delete(key("*"), Expect::Any)).await?;
    s.first.commit(txn).await?;
    let mut expected: Vec<(String, Fields)> =
        odd.iter().map(|id| ((*id).to_owned(), fields(&[(id, id), ("other", "")]))).collect();
    expected.sort();
    for (id, fields) in &expected {
        assert_eq!(s.second.get(&key(id)).await?.as_ref(), Some(fields), "{id:?}");
    }
    for limit in [1, 3, 100] {
        assert_eq!(scan(&*s.second, Collection::Host, limit).await?, expected);
    }
    let ids: Vec<_> = expected.iter().map(|(id, _)| key(id)).collect();
    assert_eq!(changed(&*s.second, &before).await?, ids);
    Ok(())
}

async fn large(s: &Subject) -> Outcome {
    let text = "é".repeat(512 << 10);
    s.first.commit(put("big", &text)).await?;
    let found = s.second.get(&key("big")).await?.ok_or("gone")?;
    assert!(found == value(&text), "another value");
    let expect = Expect::ETag(etag(&found));
    s.second.commit(Txn::new().put(key("big"), value("small"), expect)).await?;
    assert_eq!(s.first.get(&key("big")).await?, Some(value("small")));
    Ok(())
}

async fn expected(s: &Subject) -> Outcome {
    let now = value("now");
    let right = Expect::ETag(etag(&now));
    let wrong = Expect::ETag(etag(&value("then")));
    let empty = Expect::ETag(etag(&Fields::new()));
    let table = [
        // expectation, holds without a record, holds with one
        (Expect::Any, true, true),
        (Expect::Absent, true, false),
        (Expect::Exists, false, true),
        (right, false, true),
        (wrong, false, false),
        (empty, false, false),
    ];
    for (expect, without, with) in table {
        for (there, holds) in [(false, without), (true, with)] {
            for delete in [false, true] {
                let start = match there {
                    true => Txn::new().put(key("a"), now.clone(), Expect::Any),
                    false => Txn::new().delete(key("a"), Expect::Any),
                };
                s.first.commit(start).await?;
                let txn = match delete {
                    true => Txn::new().delete(key("a"), expect.clone()),
                    false => Txn::new().put(key("a"), value("next"), expect.clone()),
                };
                let outcome = s.second.commit(txn).await;
                let case = format!("{expect:?}, there: {there}, delete: {delete}: {outcome:?}");
                match outcome {
                    Ok(_) => assert!(holds, "{case}"),
                    Err(Error::Conflict { key: found }) => {
                        assert!(!holds && found == key("a"), "{case}");
                    }
                    Err(other) => return Err(other.into()),
                }
                let left = match (holds, delete, there) {
                    (true, true, _) | (false, _, false) => None,
                    (true, false, _) => Some(value("next")),
                    (false, _, true) => Some(now.clone()),
                };
                assert_eq!(s.first.get(&key("a")).await?, left, "{case}");
            }
        }
    }
    Ok(())
}

async fn conflict(s: &Subject) -> Outcome {
    s.first.commit(put("there", "1")).await?;
    let before = s.first.revision().await?;
    let txn = Txn::new()
        .put(key("new"), value("2"), Expect::Absent)
        .put(key("there"), value("2"), Expect::Exists)
        .delete(key("there"), Expect::Any)
        .put(key("missing"), value("2"), Expect::Exists);
    let outcome = s.first.commit(txn).await;
    let missing =
        |error| matches!(error, Error::Conflict { key: found } if found == key("missing"));
    assert!(outcome.is_err_and(missing));
    assert_eq!(s.second.get(&key("new")).await?, None);
    assert_eq!(s.second.get(&key("there")).await?, Some(value("1")));
    assert_eq!(scan(&*s.second, Collection::Host, 9).await?, [("there".to_owned(), value("1"))]);
    assert_eq!(s.second.revision().await?, before);
    assert_eq!(changed(&*s.second, &before).await?, []);
    Ok(())
}

async fn spans(s: &Subject) -> Outcome {
    s.first.commit(put("old", "1")).await?;
    let before = s.first.revision().await?;
    let user = Key::new(Collection::User, "ann");
    let txn = Txn::new()
        .put(user.clone(), value("u"), Expect::Absent)
        .put(key("new"), value("h"), Expect::Absent)
        .delete(key("old"), Expect::Exists);
    let after = s.first.commit(txn).await?;
    assert_eq!(after.n, before.n + 1, "one transaction is one step");
    assert_eq!(s.second.get(&user).await?, Some(value("u")));
    assert_eq!(s.second.get(&key("new")).await?, Some(value("h")));
    assert_eq!(s.second.get(&key("old")).await?, None);
    assert_eq!(changed(&*s.second, &before).await?, [key("new"), key("old"), user]);
    Ok(())
}

async fn empty(s: &Subject) -> Outcome {
    let before = s.first.commit(put("a", "1")).await?;
    assert_eq!(s.second.commit(Txn::new()).await?, before);
    assert_eq!(s.first.revision().await?, before);
    Ok(())
}
