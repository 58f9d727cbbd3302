//! The history that commits append to.

use tokio::task::JoinSet;

use super::{Case, Outcome, PATIENCE, Subject, changed, key, put};
use crate::{Backend, Cause, Error, Expect, HistoryEntry, Txn};

pub(super) const CASES: &[Case] = &[
    ("an entry comes with its commit or not at all", |s| Box::pin(together(s))),
    ("the history is read newest first, page by page", |s| Box::pin(paged(s))),
    ("the history is bounded, whatever the bound was before", |s| Box::pin(bounded(s))),
    ("an entry is no change of its own", |s| Box::pin(quiet(s))),
    ("writers at once get an entry each", |s| Box::pin(at_once(s))),
    ("an entry may hold any text", |s| Box::pin(odd(s))),
];

fn told(id: &str, text: &str, keep: usize) -> Txn {
    put(id, text).entry(text.to_owned(), keep)
}

/// Everything, oldest first, read in pages.
async fn all(backend: &dyn Backend, page: usize) -> Result<Vec<HistoryEntry>, Cause> {
    let mut entries: Vec<HistoryEntry> = Vec::new();
    loop {
        let before = entries.last().map(|entry| entry.number);
        let next = backend.history(before, page).await?;
        assert!(next.len() <= page, "a page of {}", next.len());
        if next.is_empty() {
            entries.reverse();
            return Ok(entries);
        }
        entries.extend(next);
    }
}

fn numbers(entries: &[HistoryEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.number).collect()
}

async fn together(s: &Subject) -> Outcome {
    assert_eq!(s.first.history(None, 10).await?, []);
    let one = s.first.commit(told("a", "one", 10)).await?;
    s.first.commit(put("a", "not told")).await?;
    let wrong = Txn::new().put(key("a"), super::value("x"), Expect::Absent);
    let wrong = s.second.commit(wrong.entry("refused".to_owned(), 10)).await;
    assert!(matches!(wrong, Err(Error::Conflict { .. })), "{wrong:?}");
    s.first.commit(Txn::new().entry("of nothing".to_owned(), 10)).await?;
    s.first.commit(put("a", "no room").entry("kept by nobody".to_owned(), 0)).await?;
    let two = Txn::new().delete(key("a"), Expect::Exists);
    let two = two.entry("two".to_owned(), 10).entry("three".to_owned(), 10);
    let two = s.second.commit(two).await?;
    let entry = |number, revision: &model::Revision, text: &str| HistoryEntry {
        number,
        revision: revision.clone(),
        text: text.to_owned(),
    };
    let expected = [entry(1, &one, "one"), entry(2, &two, "two"), entry(3, &two, "three")];
    assert_eq!(all(&*s.first, 10).await?, expected);
    assert_eq!(all(&*s.second, 1).await?, expected);
    Ok(())
}

async fn paged(s: &Subject) -> Outcome {
    for number in 1..=25 {
        s.first.commit(told("a", &number.to_string(), 100)).await?;
    }
    for page in [1, 7, 25, 26] {
        assert_eq!(numbers(&all(&*s.second, page).await?), (1..=25).collect::<Vec<_>>());
    }
    let some = s.first.history(Some(20), 3).await?;
    assert_eq!(numbers(&some), [19, 18, 17]);
    assert_eq!(some[0].text, "19");
    assert_eq!(numbers(&s.first.history(Some(1000), 1).await?), [25]);
    for before in [0, 1] {
        assert_eq!(s.first.history(Some(before), 5).await?, []);
    }
    assert_eq!(s.first.history(None, 0).await?, []);
    Ok(())
}

async fn bounded(s: &Subject) -> Outcome {
    for number in 1..=200 {
        s.first.commit(told("a", &number.to_string(), 150)).await?;
        let kept = s.second.history(None, 1000).await?.len();
        assert_eq!(kept, number.min(150), "after {number}");
    }
    assert_eq!(numbers(&all(&*s.first, 40).await?), (51..=200).collect::<Vec<_>>());
    // A lower bound is reached within a few commits, none of which does all the work.
    s.first.commit(told("a", "201", 5)).await?;
    let kept = s.first.history(None, 1000).await?.len();
    assert!((5..150).contains(&kept), "{kept} kept");
    for number in 202..=210 {
        s.first.commit(told("a", &number.to_string(), 5)).await?;
    }
    assert_eq!(numbers(&all(&*s.second, 3).await?), [206, 207, 208, 209, 210]);
    // More at once than are kept.
    let many = (0..12).fold(put("a", "many"), |txn, n| txn.entry(n.to_string(), 5));
    s.first.commit(many).await?;
    assert_eq!(numbers(&all(&*s.second, 100).await?), [218, 219, 220, 221, 222]);
    Ok(())
}

async fn quiet(s: &Subject) -> Outcome {
    let before = s.first.commit(put("a", "0")).await?;
    let mut hints = s.second.watch();
    let after = s.first.commit(told("a", "1", 10)).await?;
    assert_eq!(after.n, before.n + 1);
    assert_eq!(changed(&*s.second, &before).await?, [key("a")]);
    tokio::time::timeout(PATIENCE, hints.next()).await?;
    Ok(())
}

async fn at_once(s: &Subject) -> Outcome {
    const EACH: usize = 20;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let backend = if writer % 2 == 0 { s.first.clone() } else { s.second.clone() };
        writers.spawn(async move {
            for _ in 0..EACH {
                backend.commit(told(&writer.to_string(), &writer.to_string(), 1000)).await?;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    let entries = all(&*s.first, 500).await?;
    assert_eq!(numbers(&entries), (1..=8 * EACH as u64).collect::<Vec<_>>());
    assert!(entries.windows(2).all(|two| two[0].revision.n < two[1].revision.n));
    for writer in 0..8 {
        let theirs = entries.iter().filter(|entry| entry.text == writer.to_string()).count();
        assert_eq!(theirs, EACH, "of {writer}");
    }
    Ok(())
}

async fn odd(s: &Subject) -> Outcome {
    let texts = ["", " ", "a b c", "{\"a\":\"é\"}", "a\nb", "\u{0}", "x:1 y"];
    for text in texts {
        s.first.commit(put("a", "x").entry(text.to_owned(), 100)).await?;
    }
    let big = "é".repeat(64 << 10);
    s.first.commit(put("a", "x").entry(big.clone(), 100)).await?;
    let found: Vec<_> = all(&*s.second, 3).await?.into_iter().map(|entry| entry.text).collect();
    assert_eq!(found[..texts.len()], texts);
    assert!(found[texts.len()] == big);
    Ok(())
}
