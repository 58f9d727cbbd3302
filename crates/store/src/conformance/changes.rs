use model::{Epoch, Revision};
use tokio::task::JoinSet;

use super::{
    Case, LONG, Outcome, PATIENCE, Subject, TTL, changed, eventually, key, put, scan, value,
};
use crate::{Changes, Collection, Error, Expect, Txn, etag};

pub(super) const CASES: &[Case] = &[
    ("revisions grow by one, for all handles", |s| Box::pin(grows(s))),
    ("changes are listed once each", |s| Box::pin(listed(s))),
    ("a revision of another store is a reset", |s| Box::pin(foreign(s))),
    ("a revision before the log is a reset", |s| Box::pin(too_old(s))),
    ("a hint comes after a commit by another handle", |s| Box::pin(hinted(s))),
    ("an expiring record vanishes, which is a change", |s| Box::pin(expires(s))),
    ("a record that is written again stays", |s| Box::pin(rewritten(s))),
    ("of those who make a record one wins", |s| Box::pin(one_wins(s))),
    ("no increment is lost", |s| Box::pin(increments(s))),
];

async fn grows(s: &Subject) -> Outcome {
    let mut last = s.first.commit(put("a", "0")).await?;
    for i in 1..20 {
        let backend = if i % 2 == 0 { &s.first } else { &s.second };
        let next = backend.commit(put("a", &i.to_string())).await?;
        assert_eq!(next, Revision { epoch: last.epoch, n: last.n + 1 });
        assert_eq!(s.first.revision().await?, next);
        assert_eq!(s.second.revision().await?, next);
        last = next;
    }
    Ok(())
}

async fn listed(s: &Subject) -> Outcome {
    let start = s.first.commit(put("a", "0")).await?;
    assert_eq!(changed(&*s.second, &start).await?, []);
    s.first.commit(put("b", "1")).await?;
    let middle = s.first.commit(put("a", "1")).await?;
    s.second.commit(put("b", "2")).await?;
    s.second.commit(Txn::new().delete(key("a"), Expect::Any)).await?;
    s.second.commit(put("c", "1")).await?;
    assert_eq!(changed(&*s.first, &start).await?, [key("a"), key("b"), key("c")]);
    assert_eq!(changed(&*s.first, &middle).await?, [key("a"), key("b"), key("c")]);
    let end = s.first.revision().await?;
    let answer = s.second.changes_since(&end).await?;
    assert_eq!(answer, Changes::Keys { revision: end, keys: Vec::new() });
    Ok(())
}

async fn foreign(s: &Subject) -> Outcome {
    let revision = s.first.commit(put("a", "0")).await?;
    let reset = Changes::Reset { revision: revision.clone() };
    let other = Revision { epoch: Epoch::new("another")?, n: revision.n };
    assert_eq!(s.first.changes_since(&other).await?, reset);
    assert_eq!(s.first.changes_since(&crate::unborn()).await?, reset);
    let future = Revision { n: revision.n + 1, ..revision };
    assert_eq!(s.second.changes_since(&future).await?, reset);
    Ok(())
}

async fn too_old(s: &Subject) -> Outcome {
    let start = s.first.commit(put("start", "0")).await?;
    let mut revisions = vec![start.clone()];
    for i in 0..s.log_limit + 5 {
        revisions.push(s.first.commit(put(&format!("id-{i}"), "0")).await?);
    }
    let now = s.first.revision().await?;
    assert_eq!(s.second.changes_since(&start).await?, Changes::Reset { revision: now });
    // From some point on there is a list, and it lacks nothing.
    let mut listing = false;
    for (place, revision) in revisions.iter().enumerate() {
        match s.second.changes_since(revision).await? {
            Changes::Keys { keys, .. } => {
                assert_eq!(keys.len(), revisions.len() - 1 - place);
                listing = true;
            }
            Changes::Reset { .. } => assert!(!listing, "a reset after a list"),
        }
    }
    assert!(listing);
    Ok(())
}

async fn hinted(s: &Subject) -> Outcome {
    s.first.commit(put("a", "0")).await?;
    let mut hints = s.second.watch();
    for i in 1..5 {
        let before = s.second.revision().await?;
        let committed = s.first.commit(put("a", &i.to_string())).await?;
        // A hint of something earlier may come first.
        while !s.second.revision().await?.includes(&committed) {
            tokio::time::timeout(PATIENCE, hints.next()).await?;
        }
        assert_eq!(changed(&*s.second, &before).await?, [key("a")]);
    }
    let mut late = s.second.watch();
    s.first.commit(put("a", "9")).await?;
    tokio::time::timeout(PATIENCE, late.next()).await?;
    Ok(())
}

async fn expires(s: &Subject) -> Outcome {
    let txn = Txn::new()
        .put_expiring(key("short"), value("s"), TTL, Expect::Absent)
        .put_expiring(key("long"), value("l"), LONG, Expect::Absent)
        .put(key("stays"), value("k"), Expect::Absent);
    let start = s.first.commit(txn).await?;
    assert_eq!(scan(&*s.first, Collection::Host, 9).await?.len(), 3);
    s.expire(async || Ok(s.second.get(&key("short")).await?.is_none())).await?;
    eventually(async || Ok(changed(&*s.second, &start).await? == [key("short")])).await?;
    let left = [("long".to_owned(), value("l")), ("stays".to_owned(), value("k"))];
    assert_eq!(scan(&*s.first, Collection::Host, 9).await?, left);
    // Gone for expectations too.
    let again = Txn::new().put(key("short"), value("again"), Expect::Absent);
    s.first.commit(again).await?;
    assert_eq!(s.second.get(&key("short")).await?, Some(value("again")));
    Ok(())
}

async fn rewritten(s: &Subject) -> Outcome {
    let expiring = |id: &str, ttl| Txn::new().put_expiring(key(id), value("1"), ttl, Expect::Any);
    for id in ["kept", "longer", "marker"] {
        s.first.commit(expiring(id, TTL)).await?;
    }
    s.first.commit(put("kept", "2")).await?;
    let start = s.first.commit(expiring("longer", LONG)).await?;
    s.expire(async || Ok(s.second.get(&key("marker")).await?.is_none())).await?;
    eventually(async || Ok(changed(&*s.second, &start).await? == [key("marker")])).await?;
    assert_eq!(s.first.get(&key("kept")).await?, Some(value("2")));
    assert_eq!(s.first.get(&key("longer")).await?, Some(value("1")));
    Ok(())
}

async fn one_wins(s: &Subject) -> Outcome {
    for round in 0..10 {
        let id = format!("id-{round}");
        let mut writers = JoinSet::new();
        for i in 0..8 {
            let backend = if i % 2 == 0 { s.first.clone() } else { s.second.clone() };
            let txn = Txn::new().put(key(&id), value(&i.to_string()), Expect::Absent);
            writers.spawn(async move { (i, backend.commit(txn).await) });
        }
        let mut winner = None;
        while let Some(done) = writers.join_next().await {
            match done? {
                (i, Ok(_)) => assert_eq!(winner.replace(i), None, "two winners"),
                (_, Err(Error::Conflict { .. })) => {}
                (_, Err(other)) => return Err(other.into()),
            }
        }
        let winner = winner.ok_or("no winner")?;
        assert_eq!(s.first.get(&key(&id)).await?, Some(value(&winner.to_string())));
    }
    Ok(())
}

/// Eight writers add to one number, each by what it has read.
async fn increments(s: &Subject) -> Outcome {
    const EACH: usize = 10;
    s.first.commit(put("sum", "0")).await?;
    let mut writers = JoinSet::new();
    for i in 0..8 {
        let backend = if i % 2 == 0 { s.first.clone() } else { s.second.clone() };
        writers.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let now = backend.get(&key("sum")).await?.ok_or("gone")?;
                let sum: usize = now["value"].parse()?;
                let expect = Expect::ETag(etag(&now));
                let txn = Txn::new().put(key("sum"), value(&(sum + 1).to_string()), expect);
                match backend.commit(txn).await {
                    Ok(_) => done += 1,
                    Err(Error::Conflict { .. }) => {}
                    Err(other) => return Err(other.into()),
                }
            }
            Ok::<(), crate::Cause>(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    assert_eq!(s.first.get(&key("sum")).await?, Some(value(&(8 * EACH).to_string())));
    Ok(())
}
