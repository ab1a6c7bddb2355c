//! Shares that are those of the weights: by chance, and by turns.

use super::choice::happens;
use crate::base::Rng;

/// The weights of some endpoints, in their order; none is 0.
#[derive(Debug, Default)]
pub(super) struct Weights {
    weights: Box<[u32]>,
    /// The sum up to each and with it. Nothing if all weights are the same, as they mostly are.
    sums: Option<Box<[u64]>>,
    sum: u64,
    heaviest: u32,
}

impl Weights {
    pub(super) fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Box<[u32]> = weights.into_iter().map(|weight| weight.max(1)).collect();
        let heaviest = weights.iter().copied().max().unwrap_or(1);
        let mut sum = 0;
        let sums: Box<[u64]> = weights
            .iter()
            .map(|weight| {
                sum += u64::from(*weight);
                sum
            })
            .collect();
        let all_same = weights.iter().all(|weight| *weight == heaviest);
        Self { sums: (!all_same).then_some(sums), weights, sum, heaviest }
    }

    pub(super) fn len(&self) -> usize {
        self.weights.len()
    }

    /// The sum of all, as many as [`of`](Self::of) adds up to.
    pub(super) fn sum(&self) -> f64 {
        self.sum as f64
    }

    pub(super) fn of(&self, at: usize) -> f64 {
        f64::from(self.weight(at))
    }

    /// Where all are the same, none is read: of many, each would be a wait for memory.
    fn weight(&self, at: usize) -> u32 {
        if self.sums.is_none() { self.heaviest } else { self.weights[at] }
    }

    /// This weight where 1 is what there is on average.
    pub(super) fn to_average(&self, at: usize) -> f64 {
        self.of(at) * self.weights.len() as f64 / self.sum()
    }

    /// This weight where 1 is the largest.
    pub(super) fn to_heaviest(&self, at: usize) -> f64 {
        self.of(at) / f64::from(self.heaviest)
    }

    /// One of them by chance, each as often as it weighs.
    pub(super) fn draw(&self, rng: &Rng) -> usize {
        match &self.sums {
            None => rng.below(self.weights.len() as u64) as usize,
            Some(sums) => {
                let drawn = rng.below(self.sum);
                sums.partition_point(|sum| *sum <= drawn)
            }
        }
    }

    /// Whose turn it is, each as often as it weighs, and evenly spread: the static stride of gRFC A58. `next` counts up;
    /// `admits` says with which chance one may be picked, from 0 to 1.
    ///
    /// In round number `r`, over all of them in their order, one is passed over unless `weight · r` has gone past another
    /// multiple of the largest weight since the last round. So in any number of rounds none is more than one turn away from its
    /// share, and whoever asks needs to know nothing of the others but their count.
    pub(super) fn turn(
        &self,
        rng: &Rng,
        next: impl Fn() -> u64,
        admits: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        let count = self.weights.len() as u64;
        // The heaviest has a turn in every round; where that is not to be picked, the lightest may be far away.
        for _ in 0..4 * count {
            let turn = next();
            let (round, at) = (turn / count, (turn % count) as usize);
            if !self.has_turn(at, round) {
                continue;
            }
            if happens(admits(at), rng) {
                return Some(at);
            }
        }
        let first = (next() % count.max(1)) as usize;
        from(first, self.len()).find(|at| admits(*at) > 0.0)
    }

    /// Whether this one is not passed over in this round.
    fn has_turn(&self, at: usize, round: u64) -> bool {
        let (weight, heaviest) = (u64::from(self.weight(at)), u64::from(self.heaviest));
        if weight == heaviest {
            return true;
        }
        // Each begins elsewhere, so that those of one weight do not have their turns in the same rounds.
        let begun = at as u64 * heaviest / 2;
        let gone = (u128::from(weight) * u128::from(round) + u128::from(begun)) % u128::from(heaviest);
        gone >= u128::from(heaviest - weight)
    }
}

/// All of `count`, beginning with this one.
pub(super) fn from(first: usize, count: usize) -> impl Iterator<Item = usize> {
    (first..count).chain(0..first)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn chance_and_turns_follow_the_weights() {
        let all: [&[u32]; 5] = [&[1], &[1, 1, 1], &[1, 2, 3, 4], &[100, 1], &[7, 7, 7, 70]];
        for weights in all {
            let (table, rng, turn) = (Weights::new(weights.iter().copied()), Rng::seeded(1), Cell::new(0));
            let next = || turn.replace(turn.get() + 1);
            let sum = f64::from(weights.iter().sum::<u32>());
            let (mut drawn, mut turns) = (vec![0_u32; weights.len()], vec![0_u32; weights.len()]);
            for _ in 0..100_000 {
                drawn[table.draw(&rng)] += 1;
                turns[table.turn(&rng, next, |_| 1.0).unwrap()] += 1;
            }
            let mut chi_square = 0.0;
            for (at, weight) in weights.iter().enumerate() {
                let expected = 100_000.0 * f64::from(*weight) / sum;
                chi_square += (f64::from(drawn[at]) - expected).powi(2) / expected;
                assert!((f64::from(turns[at]) - expected).abs() < 3.0, "{weights:?}: {turns:?}");
            }
            // Three degrees of freedom at the most: once in a thousand runs it would be more.
            assert!(chi_square < 16.3, "{weights:?}: {drawn:?}");
        }
    }

    #[test]
    fn those_of_one_weight_do_not_have_their_turns_in_the_same_rounds() {
        for (weights, turns) in [
            (vec![4, 1, 1, 1], "0013002001300200130020013002"),
            (vec![5, 2, 3], "0012001202001200120200120012"),
        ] {
            let (table, rng, turn) = (Weights::new(weights), Rng::seeded(1), Cell::new(0));
            let next = || turn.replace(turn.get() + 1);
            let had: String = (0..28).map(|_| table.turn(&rng, next, |_| 1.0).unwrap().to_string()).collect();
            assert_eq!(had, turns);
        }
    }

    #[test]
    fn turns_are_spread_evenly() {
        let (table, rng, turn) = (Weights::new([3, 1]), Rng::seeded(1), Cell::new(0));
        let next = || turn.replace(turn.get() + 1);
        let turns: Vec<_> = (0..16).map(|_| table.turn(&rng, next, |_| 1.0).unwrap()).collect();
        let longest = turns.split(|at| *at == 1).map(<[usize]>::len).max();
        assert_eq!(longest, Some(3), "{turns:?}");
    }

    #[test]
    fn whoever_is_not_admitted_has_no_turn_and_the_others_still_have() {
        let (table, rng, turn) = (Weights::new([1_000_000, 1, 1]), Rng::seeded(1), Cell::new(0));
        let next = || turn.replace(turn.get() + 1);
        let mut seen = [0; 3];
        for _ in 0..1_000 {
            seen[table.turn(&rng, next, |at| if at == 0 { 0.0 } else { 1.0 }).unwrap()] += 1;
        }
        assert!(seen[0] == 0 && seen[1] > 300 && seen[2] > 300, "{seen:?}");
        let before = turn.get();
        assert_eq!(table.turn(&rng, next, |_| 0.0), None);
        assert_eq!(turn.get() - before, 13, "four rounds of three, and one to begin with");
    }

    #[test]
    fn a_weight_is_known_as_a_part_of_the_heaviest_and_of_the_average() {
        let table = Weights::new([1, 4, 4]);
        assert_eq!([0, 1, 2].map(|at| table.to_heaviest(at)), [0.25, 1.0, 1.0]);
        assert_eq!([0, 1, 2].map(|at| table.to_average(at)), [1.0 / 3.0, 4.0 / 3.0, 4.0 / 3.0]);
    }
}
