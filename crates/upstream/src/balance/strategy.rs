//! Which upstream of several is next: pure, by index.

use model::BalancePolicy;

use super::set::Set;

/// How one is chosen; made once per group.
#[derive(Debug)]
pub(crate) struct Strategy {
    policy: BalancePolicy,
    weights: Box<[u32]>,
    /// What each is told apart by, the same in every process.
    seeds: Box<[u64]>,
    even: bool,
}

/// Where one worker stands with a group.
#[derive(Debug)]
pub(crate) struct Turn {
    /// How far behind its share each is, negative: ahead.
    behind: Vec<i64>,
    random: u64,
}

impl Turn {
    /// `seed`: any number.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        Self { behind: vec![0; count], random: mixed(seed) | 1 }
    }

    /// Marsaglia's xorshift: what matters is only that it is even.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Strategy {
    /// `names`: what upstreams are told apart by; `weights`: one for each.
    pub(crate) fn new<'a>(
        policy: BalancePolicy,
        names: impl IntoIterator<Item = &'a str>,
        weights: impl IntoIterator<Item = u16>,
    ) -> Self {
        let weights: Box<[u32]> =
            weights.into_iter().map(|weight| u32::from(weight.max(1))).collect();
        Self {
            policy,
            seeds: names.into_iter().map(|name| hashed(name.as_bytes())).collect(),
            even: weights.windows(2).all(|pair| pair[0] == pair[1]),
            weights,
        }
    }

    pub(crate) fn policy(&self) -> BalancePolicy {
        self.policy
    }

    pub(crate) fn weight(&self, at: usize) -> u32 {
        self.weights.get(at).copied().unwrap_or(1)
    }

    /// Whether requests in flight have to be counted for it.
    pub(crate) fn counts(&self) -> bool {
        matches!(self.policy, BalancePolicy::LeastRequests | BalancePolicy::RandomTwo)
    }

    /// One of `among`; `None` if that is empty. `load` is the number of requests in flight, `key` the client's.
    pub(crate) fn pick(
        &self,
        turn: &mut Turn,
        among: Set,
        load: impl Fn(usize) -> u32,
        key: u64,
    ) -> Option<usize> {
        match self.policy {
            BalancePolicy::LeastRequests => self.in_turn(turn, self.least(among, load)),
            BalancePolicy::RandomTwo => {
                let one = self.random(turn, among)?;
                let other = self.random(turn, among.without(Set::default().with(one)));
                Some(match other {
                    Some(other) if self.is_lighter(other, one, &load) => other,
                    _ => one,
                })
            }
            BalancePolicy::ClientHash => self.by_key(among, key),
            // A browser without a cookie is new: it gets the one whose turn it is.
            _ => self.in_turn(turn, among),
        }
    }

    /// The one that is furthest behind its share (nginx's smooth weighted round robin): never many in a row.
    fn in_turn(&self, turn: &mut Turn, among: Set) -> Option<usize> {
        let (mut best, mut total) = (None, 0);
        for at in among.iter() {
            let weight = i64::from(self.weight(at));
            let behind = turn.behind.get_mut(at)?;
            *behind += weight;
            total += weight;
            if best.is_none_or(|(_, most)| *behind > most) {
                best = Some((at, *behind));
            }
        }
        let (best, _) = best?;
        *turn.behind.get_mut(best)? -= total;
        Some(best)
    }

    /// Those with the lowest load for their weight.
    fn least(&self, among: Set, load: impl Fn(usize) -> u32) -> Set {
        let mut least: Option<(usize, u32)> = None;
        let mut all = Set::default();
        for at in among.iter() {
            let load = load(at);
            let order = least.map(|(best, lowest)| self.compare((at, load), (best, lowest)));
            match order {
                Some(std::cmp::Ordering::Greater) => {}
                Some(std::cmp::Ordering::Equal) => all = all.with(at),
                _ => (least, all) = (Some((at, load)), Set::default().with(at)),
            }
        }
        all
    }

    fn is_lighter(&self, one: usize, other: usize, load: impl Fn(usize) -> u32) -> bool {
        self.compare((one, load(one)), (other, load(other))).is_lt()
    }

    /// `load / weight` of both, without rounding.
    fn compare(&self, (one, a): (usize, u32), (other, b): (usize, u32)) -> std::cmp::Ordering {
        (u64::from(a) * u64::from(self.weight(other)))
            .cmp(&(u64::from(b) * u64::from(self.weight(one))))
    }

    /// One at random, by weight.
    fn random(&self, turn: &mut Turn, among: Set) -> Option<usize> {
        let total: u64 = among.iter().map(|at| u64::from(self.weight(at))).sum();
        let mut left = turn.random().checked_rem(total)?;
        among.iter().find(|at| {
            let weight = u64::from(self.weight(*at));
            let is_it = left < weight;
            left = left.saturating_sub(weight);
            is_it
        })
    }

    /// The one that scores highest for this key (rendezvous hashing): taking another away changes nothing for it.
    #[expect(clippy::cast_precision_loss, reason = "54 bits are kept, and no more are needed")]
    fn by_key(&self, among: Set, key: u64) -> Option<usize> {
        let score = |at: usize| mixed(self.seeds.get(at).copied().unwrap_or(0) ^ key);
        if self.even {
            return among.iter().max_by_key(|at| score(*at));
        }
        let weighted = |at: usize| {
            let share = ((score(at) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            -f64::from(self.weight(at)) / share.ln()
        };
        among.iter().max_by(|a, b| weighted(*a).total_cmp(&weighted(*b)))
    }
}

/// FNV-1a and a finisher: the same in every process and version.
pub(crate) fn hashed(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mixed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The finisher of splitmix64: each bit of the result depends on all.
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::Strategy;
    use super::*;

    fn strategy(policy: BalancePolicy, weights: &[u16]) -> Strategy {
        let names: Vec<_> = (0..weights.len()).map(|n| format!("10.0.0.{n}:80")).collect();
        Strategy::new(policy, names.iter().map(String::as_str), weights.iter().copied())
    }

    fn picks(strategy: &Strategy, among: Set, turn: &mut Turn, count: usize) -> Vec<usize> {
        (0..count).map(|_| strategy.pick(turn, among, |_| 0, 0).unwrap()).collect()
    }

    #[test]
    fn equal_ones_take_turns() {
        let strategy = strategy(BalancePolicy::RoundRobin, &[1, 1, 1]);
        let turns = picks(&strategy, Set::all(3), &mut Turn::new(3, 1), 7);
        assert_eq!(turns, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(strategy.pick(&mut Turn::new(3, 1), Set::default(), |_| 0, 0), None);
    }

    #[test]
    fn heavier_ones_come_more_often_and_not_all_at_once() {
        let strategy = strategy(BalancePolicy::RoundRobin, &[5, 1, 1]);
        let turns = picks(&strategy, Set::all(3), &mut Turn::new(3, 1), 7);
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
    }

    fn count(picks: &[usize], at: usize) -> usize {
        picks.iter().filter(|pick| **pick == at).count()
    }

    proptest! {
        /// In each round of as many picks as all weights together each gets exactly its weight; and nowhere on the way is
        /// one further from its share than there are others.
        #[test]
        fn shares_are_exact_and_smooth(weights in vec(1u16..=20, 1..8), out in any::<u8>()) {
            let strategy = strategy(BalancePolicy::RoundRobin, &weights);
            let among: Set = (0..weights.len()).filter(|at| out >> at & 1 == 0).collect();
            let total: usize = among.iter().map(|at| usize::from(weights[at])).sum();
            let mut turn = Turn::new(weights.len(), 1);
            for _ in 0..3 {
                let round: Vec<_> = (0..total)
                    .map(|_| strategy.pick(&mut turn, among, |_| 0, 0).unwrap())
                    .collect();
                for at in among.iter() {
                    let weight = usize::from(weights[at]);
                    prop_assert_eq!(count(&round, at), weight);
                    for end in 0..=total {
                        let got = count(&round[..end], at) as f64;
                        let due = (end * weight) as f64 / total as f64;
                        prop_assert!((got - due).abs() <= weights.len() as f64, "{got} {due}");
                    }
                }
            }
        }

        /// Whoever is chosen by load has the lowest load for its weight, by the oracle of exact fractions.
        #[test]
        fn the_least_loaded_is_chosen(
            uppers in vec((1u16..=256, 0u32..50), 1..10),
            out in any::<u16>(),
        ) {
            let weights: Vec<_> = uppers.iter().map(|it| it.0).collect();
            let strategy = strategy(BalancePolicy::LeastRequests, &weights);
            let among: Set = (0..weights.len()).filter(|at| out >> at & 1 == 0).collect();
            let picked =
                strategy.pick(&mut Turn::new(weights.len(), 1), among, |at| uppers[at].1, 0);
            prop_assert_eq!(picked.is_none(), among.is_empty());
            let Some(picked) = picked else { return Ok(()) };
            prop_assert!(among.contains(picked));
            let share = |at: usize| (u128::from(uppers[at].1) << 64) / u128::from(weights[at]);
            for other in among.iter() {
                prop_assert!(share(picked) <= share(other) + 1);
            }
        }

        /// Of two at random the heavier one is never chosen; so the one with the highest load of all never is.
        #[test]
        fn the_most_loaded_is_never_chosen_of_two(
            mut loads in vec(0u32..50, 2..10),
            most in any::<prop::sample::Index>(),
            seed in any::<u64>(),
        ) {
            let most = most.index(loads.len());
            loads[most] = 50;
            let strategy = strategy(BalancePolicy::RandomTwo, &vec![1; loads.len()]);
            let mut turn = Turn::new(loads.len(), seed);
            for _ in 0..50 {
                let among = Set::all(loads.len());
                prop_assert_ne!(strategy.pick(&mut turn, among, |at| loads[at], 0), Some(most));
            }
        }

        /// A lost upstream moves its own clients and no others; one that comes back gets them back.
        #[test]
        fn a_lost_upstream_moves_only_its_own_clients(
            weights in vec(1u16..=9, 2..10),
            lost in any::<prop::sample::Index>(),
            clients in vec(any::<u64>(), 50),
        ) {
            let strategy = strategy(BalancePolicy::ClientHash, &weights);
            let (all, lost) = (Set::all(weights.len()), lost.index(weights.len()));
            let mut turn = Turn::new(weights.len(), 1);
            for client in clients {
                let before = strategy.pick(&mut turn, all, |_| 0, client).unwrap();
                let without = all.without(Set::default().with(lost));
                let after = strategy.pick(&mut turn, without, |_| 0, client).unwrap();
                prop_assert!(after != lost && (after == before || before == lost));
                prop_assert_eq!(strategy.pick(&mut turn, all, |_| 0, client), Some(before));
            }
        }
    }

    #[test]
    fn clients_are_shared_out_by_weight() {
        for (policy, weights) in [
            (BalancePolicy::ClientHash, [1, 1, 1]),
            (BalancePolicy::ClientHash, [1, 2, 5]),
            (BalancePolicy::RandomTwo, [1, 1, 1]),
        ] {
            let strategy = strategy(policy, &weights);
            let (mut turn, mut got) = (Turn::new(3, 7), [0u32; 3]);
            for client in 0..30_000u64 {
                let key = hashed(&client.to_be_bytes());
                got[strategy.pick(&mut turn, Set::all(3), |_| 0, key).unwrap()] += 1;
            }
            let total: u16 = weights.iter().sum();
            for (got, weight) in got.iter().zip(weights) {
                let due = 30_000.0 * f64::from(weight) / f64::from(total);
                assert!((f64::from(*got) / due - 1.0).abs() < 0.06, "{policy:?} {got} of {due}");
            }
        }
    }
}
