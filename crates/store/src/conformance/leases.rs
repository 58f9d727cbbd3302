use super::{Case, LONG, Outcome, Subject, TTL, changed, scan, value};
use crate::{Cause, Collection, Key, Lease, Txn};

pub(super) const CASES: &[Case] = &[
    ("a lock has one holder", |s| Box::pin(exclusive(s))),
    ("a lock ends by itself", |s| Box::pin(ends(s))),
    ("who lost a lock can't renew or release it", |s| Box::pin(lost(s))),
    ("a lease is a record outside the revision", |s| Box::pin(outside(s))),
    ("a lease ends by itself", |s| Box::pin(vanishes(s))),
];

async fn acquire(s: &Subject, name: &str, holder: &str) -> Result<Lease, Cause> {
    s.first.acquire(name, holder, LONG).await?.ok_or_else(|| "it is taken".into())
}

async fn exclusive(s: &Subject) -> Outcome {
    let before = s.first.revision().await?;
    let a = acquire(s, "x", "a").await?;
    assert_eq!((a.name.as_str(), a.holder.as_str()), ("x", "a"));
    assert_eq!(s.second.acquire("x", "b", LONG).await?, None);
    assert_eq!(s.first.acquire("x", "a", LONG).await?, None, "not even the holder again");
    let other = acquire(s, "*.example.com: y", "b").await?;
    assert!(other.fence > a.fence);
    assert!(s.second.renew(&a, LONG).await?);
    s.second.release(&a).await?;
    let b = acquire(s, "x", "b").await?;
    assert!(b.fence > other.fence);
    assert_eq!(s.first.revision().await?, before);
    Ok(())
}

async fn ends(s: &Subject) -> Outcome {
    let short = s.first.acquire("x", "a", TTL).await?.ok_or("taken")?;
    let long = s.first.acquire("y", "a", TTL).await?.ok_or("taken")?;
    assert!(s.first.renew(&long, LONG).await?);
    let next = std::cell::RefCell::new(None);
    s.expire(async || {
        let got = s.second.acquire("x", "b", LONG).await?;
        let is_got = got.is_some();
        next.replace(got);
        Ok(is_got)
    })
    .await?;
    let next = next.into_inner().ok_or("not acquired")?;
    assert!(next.fence > short.fence);
    assert!(!s.second.renew(&short, LONG).await?);
    assert_eq!(s.second.acquire("y", "b", LONG).await?, None, "a renewed lock ended");
    Ok(())
}

async fn lost(s: &Subject) -> Outcome {
    let old = acquire(s, "x", "a").await?;
    s.first.release(&old).await?;
    assert!(!s.first.renew(&old, LONG).await?);
    let new = acquire(s, "x", "a").await?;
    assert!(!s.first.renew(&old, LONG).await?);
    s.first.release(&old).await?;
    assert_eq!(s.second.acquire("x", "b", LONG).await?, None, "released by who lost it");
    assert!(s.second.renew(&new, LONG).await?);
    Ok(())
}

fn proxy(id: &str) -> Key {
    Key::new(Collection::Proxy, id)
}

async fn outside(s: &Subject) -> Outcome {
    s.first.commit(Txn::new().delete(proxy("none"), crate::Expect::Any)).await?;
    let before = s.first.revision().await?;
    s.first.put_lease(&proxy("one"), &value("1"), LONG).await?;
    s.first.put_lease(&proxy("two"), &value("2"), LONG).await?;
    s.second.put_lease(&proxy("one"), &value("3"), LONG).await?;
    assert_eq!(s.second.get(&proxy("one")).await?, Some(value("3")));
    let found = [("one".to_owned(), value("3")), ("two".to_owned(), value("2"))];
    assert_eq!(scan(&*s.second, Collection::Proxy, 1).await?, found);
    s.second.delete_lease(&proxy("one")).await?;
    s.second.delete_lease(&proxy("never")).await?;
    assert_eq!(s.first.get(&proxy("one")).await?, None);
    assert_eq!(scan(&*s.first, Collection::Proxy, 9).await?, found[1..]);
    assert_eq!(s.first.revision().await?, before);
    assert_eq!(changed(&*s.first, &before).await?, []);
    Ok(())
}

async fn vanishes(s: &Subject) -> Outcome {
    let before = s.first.commit(Txn::new().put(proxy("x"), value("x"), crate::Expect::Any)).await?;
    s.first.put_lease(&proxy("short"), &value("1"), TTL).await?;
    s.first.put_lease(&proxy("long"), &value("2"), TTL).await?;
    s.first.put_lease(&proxy("long"), &value("3"), LONG).await?;
    s.expire(async || Ok(s.second.get(&proxy("short")).await?.is_none())).await?;
    let found = [("long".to_owned(), value("3")), ("x".to_owned(), value("x"))];
    assert_eq!(scan(&*s.second, Collection::Proxy, 9).await?, found);
    assert_eq!(changed(&*s.second, &before).await?, []);
    Ok(())
}
