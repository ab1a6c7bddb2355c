//! The better one of two: nearly as good as the best of all, with two looks in place of one at each.
//!
//! Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.

use super::weighted::{Weights, from};
use crate::base::Rng;

/// How often one is drawn that is not let in, before whoever is found next is taken.
const DRAWS: usize = 32;

/// Picks one of the endpoints that have these weights. `admits` says how much of its share each is to get, from 0, which is
/// none, to 1; of two, the one with the lower `score` is picked, and if they are equal, the one that was drawn first.
///
/// The first is drawn by weight; the second evenly among the others, and let in as often as it weighs, compared with the
/// heaviest. So if the scores say nothing (they are equal, or each is the lower one as often), each is picked exactly as
/// often as it weighs.
pub(super) fn of_two(
    weights: &Weights,
    rng: &Rng,
    admits: impl Fn(usize) -> f64,
    score: impl Fn(usize) -> f64,
) -> Option<usize> {
    let first = draw(weights, rng, &admits)?;
    let Some(second) = other(weights.len(), first, rng) else { return Some(first) };
    let let_in = weights.to_heaviest(second) * admits(second);
    let is_better = happens(let_in, rng) && score(second) < score(first);
    Some(if is_better { second } else { first })
}

/// One by weight, as often as it is let in.
pub(super) fn draw(weights: &Weights, rng: &Rng, admits: impl Fn(usize) -> f64) -> Option<usize> {
    let mut drawn = 0;
    for _ in 0..DRAWS {
        drawn = weights.draw(rng);
        if happens(admits(drawn), rng) {
            return Some(drawn);
        }
    }
    from(drawn, weights.len()).find(|at| admits(*at) > 0.0)
}

/// One that is not `first`.
fn other(count: usize, first: usize, rng: &Rng) -> Option<usize> {
    let others = count.checked_sub(1).filter(|others| *others > 0)?;
    let drawn = rng.below(others as u64) as usize;
    Some(if drawn < first { drawn } else { drawn + 1 })
}

/// With this chance. What is certain takes no number from the stream.
pub(super) fn happens(chance: f64, rng: &Rng) -> bool {
    chance >= 1.0 || (chance > 0.0 && rng.unit() < chance)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const EACH: u32 = 100_000;

    fn picks(weights: &[u32], admits: impl Fn(usize) -> f64, score: impl Fn(usize) -> f64) -> Vec<u32> {
        let (table, rng) = (Weights::new(weights.iter().copied()), Rng::seeded(7));
        let mut picked = vec![0; weights.len()];
        for _ in 0..EACH {
            picked[of_two(&table, &rng, &admits, &score).expect("somebody")] += 1;
        }
        picked
    }

    /// More only once in ten thousand runs, for this many that are counted.
    fn is_fair(picked: &[u32], shares: &[f64]) -> bool {
        let sum: f64 = shares.iter().sum();
        let expected = |share: &f64| f64::from(EACH) * share / sum;
        let off =
            |(seen, share): (&u32, &f64)| (f64::from(*seen) - expected(share)).powi(2) / expected(share);
        let chi_square: f64 = picked.iter().zip(shares).map(off).sum();
        chi_square < [0.0, 0.0, 15.2, 18.5, 21.2, 23.6][picked.len()]
    }

    #[test]
    fn the_two_that_are_compared_are_never_the_same() {
        let rng = Rng::seeded(3);
        let mut seen = [[0_u32; 5]; 5];
        for _ in 0..EACH {
            let first = rng.below(5) as usize;
            seen[first][other(5, first, &rng).expect("another")] += 1;
        }
        for (first, row) in seen.iter().enumerate() {
            for (second, times) in row.iter().enumerate() {
                let expected = if first == second { 0..1 } else { 4_700..5_300 };
                assert!(expected.contains(times), "{first} and {second}: {times}");
            }
        }
        assert_eq!(other(1, 0, &rng), None);
    }

    #[test]
    fn where_scores_are_equal_or_tell_nothing_the_shares_are_the_weights() {
        let all: [&[u32]; 4] = [&[1, 1, 1, 1, 1], &[1, 3], &[1, 2, 7], &[10, 1, 1, 1]];
        let noise = Rng::seeded(8);
        for weights in all {
            let shares: Vec<f64> = weights.iter().copied().map(f64::from).collect();
            let equal = picks(weights, |_| 1.0, |_| 0.0);
            assert!(is_fair(&equal, &shares), "{weights:?}: {equal:?}");
            let noisy = picks(weights, |_| 1.0, |_| noise.unit());
            assert!(is_fair(&noisy, &shares), "{weights:?}: {noisy:?}");
        }
    }

    #[test]
    fn one_that_has_just_come_gets_the_share_that_it_may_have() {
        let admits = |at| if at == 2 { 0.1 } else { 1.0 };
        let picked = picks(&[1, 1, 1], admits, |_| 0.0);
        assert!(is_fair(&picked, &[1.0, 1.0, 0.1]), "{picked:?}");
        let picked = picks(&[1, 1], |at| if at == 1 { 0.5 } else { 1.0 }, |_| 0.0);
        assert!(is_fair(&picked, &[1.0, 0.5]), "{picked:?}");
    }

    #[test]
    fn the_worst_is_never_picked_where_another_is_drawn_with_it() {
        let picked = picks(&[1, 1, 1, 1], |_| 1.0, |at| at as f64);
        assert_eq!(picked[3], 0);
        assert!(is_fair(&picked, &[6.0, 4.0, 2.0, 1e-9]), "{picked:?}");
    }

    #[test]
    fn whoever_is_not_admitted_is_not_picked_also_if_it_is_nearly_all_there_is() {
        let (table, rng) = (Weights::new([1, 1_000_000]), Rng::seeded(1));
        let only_first = |at| if at == 0 { 1.0 } else { 0.0 };
        assert!((0..100).all(|_| of_two(&table, &rng, only_first, |_| 0.0) == Some(0)));
        assert_eq!(of_two(&table, &rng, |_| 0.0, |_| 0.0), None);
    }

    /// Balls into bins: a million into as many, each into the emptier of two.
    #[test]
    fn the_fullest_of_as_many_bins_as_balls_stays_small() {
        let count = 100_000;
        let (table, rng) = (Weights::new(vec![1; count]), Rng::seeded(5));
        let bins: Vec<Cell<u32>> = vec![Cell::new(0); count];
        for _ in 0..count {
            let at = of_two(&table, &rng, |_| 1.0, |at| f64::from(bins[at].get())).expect("one");
            bins[at].set(bins[at].get() + 1);
        }
        let fullest = bins.iter().map(Cell::get).max();
        assert!(fullest <= Some(5), "{fullest:?}, where one choice gives eight");
    }

    #[test]
    fn what_is_certain_takes_no_number_and_a_chance_is_what_lies_below_it() {
        let rng = Rng::seeded(9);
        assert!(happens(1.0, &rng) && !happens(0.0, &rng));
        let first = Rng::seeded(9).unit();
        assert_eq!(rng.unit(), first, "none was taken");
        assert!(!happens(first, &Rng::seeded(9)) && happens(first.next_up(), &Rng::seeded(9)));
    }
}
