use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Outcome, Subject, changed, key, scan, value};
use crate::{Action, Collection, Error, Expect, Fields, Key, Txn, etag};

pub(super) const CASES: &[Case] =
    &[("a random history reads as a plain map says", |s| Box::pin(history(s)))];

/// Transactions of random changes with random expectations, judged beside the store by a map.
async fn history(s: &Subject) -> Outcome {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut model: BTreeMap<Key, Fields> = BTreeMap::new();
    let mut before = s.first.commit(super::put("first", "0")).await?;
    model.insert(key("first"), value("0"));
    let mut dirty = BTreeSet::new();
    for step in 0..300 {
        let txn = transaction(&mut random, &model);
        let backend = if random.below(2) == 0 { &s.first } else { &s.second };
        let wrong = txn.ops().iter().filter(|op| !op.expect.holds(model.get(&op.key)));
        let wrong: Vec<Key> = wrong.map(|op| op.key.clone()).collect();
        match (backend.commit(txn.clone()).await, wrong) {
            (Err(Error::Conflict { key: found }), wrong) => assert!(wrong.contains(&found)),
            (Ok(_), wrong) if wrong.is_empty() => apply(txn, &mut model, &mut dirty),
            (outcome, wrong) => {
                return Err(format!("step {step}: {outcome:?}, expected {wrong:?}").into());
            }
        }
        if step % 10 == 9 {
            assert_eq!(changed(&*s.first, &before).await?, Vec::from_iter(dirty.clone()));
            before = s.second.revision().await?;
            dirty.clear();
        }
    }
    for collection in [Collection::Host, Collection::Cert] {
        let ours = model.iter().filter(|(key, _)| key.collection == collection);
        let ours: Vec<_> = ours.map(|(key, fields)| (key.id.clone(), fields.clone())).collect();
        assert_eq!(scan(&*s.second, collection, 5).await?, ours);
    }
    Ok(())
}

fn transaction(random: &mut Random, model: &BTreeMap<Key, Fields>) -> Txn {
    let mut txn = Txn::new();
    for _ in 0..=random.below(3) {
        let collection = [Collection::Host, Collection::Cert][random.below(2)];
        let key = Key::new(collection, format!("id-{}", random.below(8)));
        let expect = match (random.below(6), model.get(&key)) {
            (0, _) => Expect::Absent,
            (1, _) => Expect::Exists,
            (2 | 3, Some(fields)) => Expect::ETag(etag(fields)),
            (2, None) => Expect::ETag(etag(&value("nothing"))),
            _ => Expect::Any,
        };
        txn = match random.below(3) {
            0 => txn.delete(key, expect),
            _ => txn.put(key, value(&random.below(1000).to_string()), expect),
        };
    }
    txn
}

fn apply(txn: Txn, model: &mut BTreeMap<Key, Fields>, dirty: &mut BTreeSet<Key>) {
    for op in txn.into_ops() {
        dirty.insert(op.key.clone());
        match op.action {
            Action::Delete => drop(model.remove(&op.key)),
            Action::Put { fields, .. } => drop(model.insert(op.key, fields)),
        }
    }
}

/// Xorshift: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % end
    }
}
